//go:build !amd64

package f32

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

func vectorSplit(isa.Level) *splitFuncs { return nil }
