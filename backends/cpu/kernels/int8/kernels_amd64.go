package int8

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

//go:generate go run ./gen -set gemm_amx -out gemm_amx_amd64.s
//go:generate go run ./gen -set gemm_vnni -out gemm_vnni_amd64.s
//go:generate go run ./gen -set finish_vnni -out finish_vnni_amd64.s
//go:generate go run ./gen -set depthwise_vnni -out depthwise_vnni_amd64.s
//go:generate go run ./gen -set elementwise_vnni -out elementwise_vnni_amd64.s
//go:generate go run ./gen -set norm_vnni -out norm_vnni_amd64.s
//go:generate go run ./gen -set lookup_vbmi -out lookup_vbmi_amd64.s
//go:generate go run ./gen -set gemm_avx2 -out gemm_avx2_amd64.s
//go:generate go run ./gen -set rows_avx2 -out rows_avx2_amd64.s
//go:generate go run ./gen -set depthwise_avx2 -out depthwise_avx2_amd64.s
//go:generate go run ./gen -set winograd_avx2 -out winograd_avx2_amd64.s

func vectorGemm() []gemmKernel {
	row := func(name string, l isa.Level, cols, quad int, f format, run ...func(*gemmArgs)) gemmKernel {
		all := l == isa.VNNI
		return gemmKernel{kernel: kernel{name, l}, cols: cols, rows: len(run), quad: quad, format: f, fuses: all, more: all, short: all, run: run}
	}
	return append(tileGemm(), []gemmKernel{
		row("gemm_u8s8s32_7x64c4_avx512vnni", isa.VNNI, 64, 4, bytesFormat, gemmVNNI1x64, gemmVNNI2x64, gemmVNNI3x64, gemmVNNI4x64, gemmVNNI5x64, gemmVNNI6x64, gemmVNNI7x64),
		row("gemm_u8s8s32_8x48c4_avx512vnni", isa.VNNI, 48, 4, bytesFormat, gemmVNNI1x48, gemmVNNI2x48, gemmVNNI3x48, gemmVNNI4x48, gemmVNNI5x48, gemmVNNI6x48, gemmVNNI7x48, gemmVNNI8x48),
		row("gemm_u8s8s32_14x32c4_avx512vnni", isa.VNNI, 32, 4, bytesFormat, gemmVNNI1x32, gemmVNNI2x32, gemmVNNI3x32, gemmVNNI4x32, gemmVNNI5x32, gemmVNNI6x32, gemmVNNI7x32, gemmVNNI8x32, gemmVNNI9x32, gemmVNNI10x32, gemmVNNI11x32, gemmVNNI12x32, gemmVNNI13x32, gemmVNNI14x32),
		row("gemm_u8s8s32_14x16c4_avx512vnni", isa.VNNI, 16, 4, bytesFormat, gemmVNNI1x16, gemmVNNI2x16, gemmVNNI3x16, gemmVNNI4x16, gemmVNNI5x16, gemmVNNI6x16, gemmVNNI7x16, gemmVNNI8x16, gemmVNNI9x16, gemmVNNI10x16, gemmVNNI11x16, gemmVNNI12x16, gemmVNNI13x16, gemmVNNI14x16),
		row("gemm_u8s8s32_6x16c4_avxvnni", isa.AVXVNNI, 16, 4, bytesFormat, gemmAVXVNNI1x16, gemmAVXVNNI2x16, gemmAVXVNNI3x16, gemmAVXVNNI4x16, gemmAVXVNNI5x16, gemmAVXVNNI6x16),
		row("gemm_u8s8s32_12x8c4_avxvnni", isa.AVXVNNI, 8, 4, bytesFormat, gemmAVXVNNI1x8, gemmAVXVNNI2x8, gemmAVXVNNI3x8, gemmAVXVNNI4x8, gemmAVXVNNI5x8, gemmAVXVNNI6x8, gemmAVXVNNI7x8, gemmAVXVNNI8x8, gemmAVXVNNI9x8, gemmAVXVNNI10x8, gemmAVXVNNI11x8, gemmAVXVNNI12x8),
		row("gemm_s16s16s32_6x16c2_avx2", isa.AVX2, 16, 2, wordsFormat, gemmAVX21x16, gemmAVX22x16, gemmAVX23x16, gemmAVX24x16, gemmAVX25x16, gemmAVX26x16),
		row("gemm_s16s16s32_12x8c2_avx2", isa.AVX2, 8, 2, wordsFormat, gemmAVX21x8, gemmAVX22x8, gemmAVX23x8, gemmAVX24x8, gemmAVX25x8, gemmAVX26x8, gemmAVX27x8, gemmAVX28x8, gemmAVX29x8, gemmAVX210x8, gemmAVX211x8, gemmAVX212x8),
	}...)
}

func vectorFinish() [][]finishKernel {
	row := func(name string, l isa.Level, f func(*finishArgs)) finishKernel {
		return finishKernel{kernel{name, l}, f}
	}
	bytes2 := row("finish_bytes_avx2", isa.AVX2, finishBytesAVX2)
	residual2 := row("finish_residual_avx2", isa.AVX2, finishResidualAVX2)
	bytesAny2 := row("finish_bytes_any_avx2", isa.AVX2, finishBytesAnyAVX2)
	residualAny2 := row("finish_residual_any_avx2", isa.AVX2, finishResidualAnyAVX2)
	return [][]finishKernel{
		finishBytes:       {row("finish_bytes_avx512", isa.VNNI, finishBytesVNNI), bytes2},
		finishResidual:    {row("finish_residual_avx512", isa.VNNI, finishResidualVNNI), residual2},
		finishBytesAny:    {row("finish_bytes_any_avx512", isa.VNNI, finishBytesAnyVNNI), bytesAny2},
		finishResidualAny: {row("finish_residual_any_avx512", isa.VNNI, finishResidualAnyVNNI), residualAny2},
		finishFloats: {
			row("finish_f32_avx512", isa.VNNI, finishFloatsVNNI),
			row("finish_f32_avx2", isa.AVX2, wholeFinish(finishFloatsAVX2, finishFloatsPortable, 4)),
		},
	}
}

func vectorDepthwise() []dwKernel {
	return []dwKernel{
		{kernel: kernel{"dw_u8s8u8_9x64_avx512vnni", isa.VNNI}, width: 64, taps: 9, group: 4, masked: true, run: depthwise9VNNI},
		{kernel: kernel{"dw_u8s8u8_2x64_avx512vnni", isa.VNNI}, width: 64, group: 4, masked: true, pairs: true, run: depthwisePairVNNI},
		{kernel: kernel{"dw_u8s8u8_1x64_avx512vnni", isa.VNNI}, width: 64, group: 4, masked: true, run: depthwiseVNNI},
		{kernel: kernel{"dw_u8s8u8_1x32_avxvnni", isa.AVXVNNI}, width: 32, group: 4, run: depthwiseAVXVNNI},
		{kernel: kernel{"dw_u8s8u8_1x32_avx2", isa.AVX2}, width: 32, group: 2, run: depthwiseAVX2},
		{kernel: kernel{"dw_u8s8s32_1x64_avx512vnni", isa.VNNI}, width: 64, group: 4, sums: true, run: depthwiseSumsVNNI},
		{kernel: kernel{"dw_u8s8s32_1x32_avxvnni", isa.AVXVNNI}, width: 32, group: 4, sums: true, run: depthwiseSumsAVXVNNI},
		{kernel: kernel{"dw_u8s8s32_1x32_avx2", isa.AVX2}, width: 32, group: 2, sums: true, run: depthwiseSumsAVX2},
	}
}

func vectorDepthwiseLines() []dwLineKernel {
	return []dwLineKernel{
		{kernel: kernel{"dw_u8s8u8_line1x64_avx512vnni", isa.VNNI}, width: 64, stride: 1, run: depthwiseLine1VNNI},
		{kernel: kernel{"dw_u8s8u8_line2x64_avx512vnni", isa.VNNI}, width: 64, stride: 2, run: depthwiseLine2VNNI},
	}
}

func vectorLookup() []lookupKernel {
	var rows []lookupKernel
	if isa.HasVBMI() {
		rows = append(rows, lookupKernel{kernel{"avx512vbmi", isa.VNNI}, lookupVBMI, 1, lookupRowsVBMI})
	}
	return append(rows, lookupKernel{kernel{"avx2", isa.AVX2}, lookupWholeAVX2, 64, nil})
}

func lookupVBMI(dst, src []byte, table *[256]uint8) {
	if len(src) > 0 {
		lookupBytesVBMI(&lookupArgs{y: base(dst), x: base(src), n: len(src), table: table})
	}
}

func lookupWholeAVX2(dst, src []byte, table *[256]uint8) {
	n := len(src) &^ 63
	lookupAVX2(&lookupArgs{y: base(dst), x: base(src), n: n, table: table})
	lookupPortable(dst[n:], src[n:], table)
}

func vectorAdd() [][]pairKernel {
	return [][]pairKernel{{
		{kernel{"add_bytes_avx512", isa.VNNI}, addBytesVNNI},
		{kernel{"add_bytes_avx2", isa.AVX2}, wholePairs(addBytesAVX2, (*pairArgs).sum)},
	}}
}

func vectorMultiply() [][]pairKernel {
	return [][]pairKernel{{
		{kernel{"multiply_bytes_avx512", isa.VNNI}, multiplyBytesVNNI},
		{kernel{"multiply_bytes_avx2", isa.AVX2}, wholePairs(multiplyBytesAVX2, (*pairArgs).product)},
	}}
}

func vectorQuantize() []convertKernel {
	return []convertKernel{
		{kernel{"quantize_avx512", isa.VNNI}, quantizeVNNI},
		{kernel{"quantize_avx2", isa.AVX2}, wholeConvert(quantizeAVX2, quantizePortable, 8, 4, 1)},
	}
}

func vectorDequantize() []convertKernel {
	return []convertKernel{
		{kernel{"dequantize_avx512", isa.VNNI}, dequantizeVNNI},
		{kernel{"dequantize_avx2", isa.AVX2}, wholeConvert(dequantizeAVX2, dequantizePortable, 8, 1, 4)},
	}
}

func vectorMax() []windowKernel {
	return []windowKernel{
		{kernel{"avx512", isa.VNNI}, maxVNNI},
		{kernel{"avx2", isa.AVX2}, wholeMax(maxAVX2, maxEightsAVX2)},
	}
}

func vectorSum() []windowKernel {
	return []windowKernel{
		{kernel{"avx512", isa.VNNI}, sumVNNI},
		{kernel{"avx2", isa.AVX2}, wholeWindow(sumAVX2, sumPortable, 8, 4)},
	}
}

func vectorSoftmax() []softmaxKernel {
	if !isa.HasVBMI() {
		return nil
	}
	return []softmaxKernel{{kernel{"avx512vbmi", isa.VNNI}, softmaxVBMI}}
}

func vectorWiden() []convertKernel {
	return []convertKernel{{kernel{"widen_avx2", isa.AVX2}, wholeConvert(widenAVX2, widenPortable, 16, 1, 2)}}
}

func vectorWinograd() []winogradKernel {
	return []winogradKernel{{kernel{"winograd_s16_2x2_avx2", isa.AVX2}, winogradInputAVX2, winogradOutputAVX2}}
}

func vectorNorm() []normKernel {
	return []normKernel{{kernel{"avx512", isa.VNNI}, normRows4VNNI, normRowsVNNI}}
}
