//go:build !amd64

package f32

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

func vectorNorm(isa.Level) *normFuncs { return nil }

func vectorFakes(isa.Level) []fakeFuncs { return nil }
