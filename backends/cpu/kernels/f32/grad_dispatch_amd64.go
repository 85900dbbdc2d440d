package f32

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

var vectorNorms = map[string]*normFuncs{
	"avx512": {16, normSumsAVX512, normGradSumsAVX512, normApplyAVX512, normGradApplyAVX512, clampGradAVX512},
	"avx2":   {8, normSumsAVX2, normGradSumsAVX2, normApplyAVX2, normGradApplyAVX2, clampGradAVX2},
}

func vectorNorm(l isa.Level) *normFuncs { return vectorNorms[vectorISA(l)] }

// vectorFakes are tried one after the other on the channels that are left.
func vectorFakes(l isa.Level) []fakeFuncs {
	avx2 := fakeFuncs{8, fakeQuantizeAVX2, fakeGradAVX2}
	switch vectorISA(l) {
	case "avx512":
		return []fakeFuncs{{16, fakeQuantizeAVX512, fakeGradAVX512}, avx2}
	case "avx2":
		return []fakeFuncs{avx2}
	}
	return nil
}
