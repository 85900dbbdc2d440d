package f32

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

var neonGemm = gemmSet{name: "neon", lanes: 4, run: gemmNEON}

func vectorGemm(l isa.Level) *gemmSet {
	if l.Has(isa.NEON) {
		return &neonGemm
	}
	return nil
}

func vectorRows(isa.Level) *rowFuncs { return nil }

func vectorUnary(string, Params, isa.Level) func(y, x []float32) { return nil }

func vectorBinary(string, isa.Level) binaryRun { return nil }

func vectorDepthwise(l isa.Level) func(*dwTile) { return windowKernel(l, depthwiseNEON) }

func vectorMaxPool(l isa.Level) func(*dwTile) { return windowKernel(l, maxPoolNEON) }

func vectorAddPool(l isa.Level) func(*dwTile) { return windowKernel(l, addPoolNEON) }

func vectorDepthwiseRow(int, int, isa.Level) func(*dwTile) { return nil }

func windowKernel(l isa.Level, f func(*dwTile)) func(*dwTile) {
	if l.Has(isa.NEON) {
		return f
	}
	return nil
}
