package f32

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

var vectorNorms = map[string]*normFuncs{
	"avx512": {16, normSumsAVX512, normGradSumsAVX512, normApplyAVX512, normGradApplyAVX512, clampGradAVX512},
	"avx2":   {8, normSumsAVX2, normGradSumsAVX2, normApplyAVX2, normGradApplyAVX2, clampGradAVX2},
}

func vectorNorm(l isa.Level) *normFuncs { return vectorNorms[vectorISA(l)] }
