//go:build !amd64 && !arm64

package f32

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

// Other processors run the portable kernels.

func vectorGemm(isa.Level) *gemmSet { return nil }

func vectorRows(isa.Level) *rowFuncs { return nil }

func vectorUnary(string, Params, isa.Level) func(y, x []float32) { return nil }

func vectorBinary(string, isa.Level) binaryRun { return nil }

func vectorDepthwise(isa.Level) func(*dwTile) { return nil }

func vectorMaxPool(isa.Level) func(*dwTile) { return nil }

func vectorAddPool(isa.Level) func(*dwTile) { return nil }

func vectorWinograd(int, isa.Level) winogradFuncs { return winogradFuncs{} }

func vectorDepthwiseRow(int, int, isa.Level) func(*dwTile) { return nil }
