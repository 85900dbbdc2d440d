package int8

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

//go:generate go run ./gen -set gemm_vnni -out gemm_vnni_amd64.s
//go:generate go run ./gen -set finish_vnni -out finish_vnni_amd64.s
//go:generate go run ./gen -set depthwise_vnni -out depthwise_vnni_amd64.s

func vectorGemm() []gemmKernel {
	vnni := func(name string, cols int, run ...func(*gemmArgs)) gemmKernel {
		return gemmKernel{kernel: kernel{name, isa.VNNI}, cols: cols, rows: len(run), quad: 4, format: bytesFormat, run: run}
	}
	return []gemmKernel{
		vnni("gemm_u8s8s32_7x64c4_avx512vnni", 64, gemmVNNI1x64, gemmVNNI2x64, gemmVNNI3x64, gemmVNNI4x64, gemmVNNI5x64, gemmVNNI6x64, gemmVNNI7x64),
		vnni("gemm_u8s8s32_8x48c4_avx512vnni", 48, gemmVNNI1x48, gemmVNNI2x48, gemmVNNI3x48, gemmVNNI4x48, gemmVNNI5x48, gemmVNNI6x48, gemmVNNI7x48, gemmVNNI8x48),
		vnni("gemm_u8s8s32_14x32c4_avx512vnni", 32, gemmVNNI1x32, gemmVNNI2x32, gemmVNNI3x32, gemmVNNI4x32, gemmVNNI5x32, gemmVNNI6x32, gemmVNNI7x32, gemmVNNI8x32, gemmVNNI9x32, gemmVNNI10x32, gemmVNNI11x32, gemmVNNI12x32, gemmVNNI13x32, gemmVNNI14x32),
		vnni("gemm_u8s8s32_14x16c4_avx512vnni", 16, gemmVNNI1x16, gemmVNNI2x16, gemmVNNI3x16, gemmVNNI4x16, gemmVNNI5x16, gemmVNNI6x16, gemmVNNI7x16, gemmVNNI8x16, gemmVNNI9x16, gemmVNNI10x16, gemmVNNI11x16, gemmVNNI12x16, gemmVNNI13x16, gemmVNNI14x16),
	}
}

func vectorFinish() [][]finishKernel {
	return [][]finishKernel{
		finishBytes:    {{kernel{"finish_bytes_avx512", isa.VNNI}, finishBytesVNNI}},
		finishResidual: {{kernel{"finish_residual_avx512", isa.VNNI}, finishResidualVNNI}},
		finishFloats:   {{kernel{"finish_f32_avx512", isa.VNNI}, finishFloatsVNNI}},
	}
}

func vectorDepthwise() []dwKernel {
	return []dwKernel{
		{kernel{"dw_u8s8u8_3x3_64_avx512vnni", isa.VNNI}, 64, 9, true, depthwise9VNNI},
		{kernel{"dw_u8s8u8_64_avx512vnni", isa.VNNI}, 64, 0, true, depthwiseVNNI},
	}
}

func vectorLookup() []lookupKernel         { return nil }
func vectorAdd() [][]pairKernel            { return nil }
func vectorMultiply() [][]pairKernel       { return nil }
func vectorQuantize() []quantizeKernel     { return nil }
func vectorDequantize() []dequantizeKernel { return nil }
func vectorMax() []maxKernel               { return nil }
func vectorSum() []sumKernel               { return nil }
