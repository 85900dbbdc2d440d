package f32

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

// vectorISA names the vector instructions that a level stands for here: the
// integer extensions do not matter.
func vectorISA(l isa.Level) string {
	switch l {
	case isa.VNNI:
		return "avx512"
	case isa.AVX2, isa.AVXVNNI:
		return "avx2"
	}
	return ""
}

var vectorGemms = []gemmSet{
	{name: "avx512", lanes: 16, run: gemmAVX512},
	{name: "avx2", lanes: 8, run: gemmAVX2},
}

func vectorGemm(l isa.Level) *gemmSet {
	for i := range vectorGemms {
		if vectorGemms[i].name == vectorISA(l) {
			return &vectorGemms[i]
		}
	}
	return nil
}

func vectorRows(l isa.Level) *rowFuncs { return nil }

func vectorUnary(name string, p Params, l isa.Level) func(y, x []float32) { return nil }

func vectorBinary(name string, l isa.Level) binaryRun { return nil }

func vectorDepthwise(l isa.Level) func(*dwTile) {
	return windowKernel(l, depthwiseAVX512, depthwiseAVX2)
}

func vectorMaxPool(l isa.Level) func(*dwTile) { return windowKernel(l, maxPoolAVX512, maxPoolAVX2) }

func vectorAddPool(l isa.Level) func(*dwTile) { return windowKernel(l, addPoolAVX512, addPoolAVX2) }

func windowKernel(l isa.Level, avx512, avx2 func(*dwTile)) func(*dwTile) {
	switch vectorISA(l) {
	case "avx512":
		return avx512
	case "avx2":
		return avx2
	}
	return nil
}
