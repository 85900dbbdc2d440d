package int8

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

//go:generate go run ./gen -set dynamic_vnni -out dynamic_vnni_amd64.s
//go:generate go run ./gen -set dynamic_avx2 -out dynamic_avx2_amd64.s

func vectorRange() []rangeKernel {
	return []rangeKernel{
		{kernel{"range_avx512", isa.VNNI}, rangeVNNI},
		{kernel{"range_avx2", isa.AVX2}, wholeRange(rangeAVX2)},
	}
}

func vectorQuantizeBy() []convertKernel {
	return []convertKernel{
		{kernel{"quantize_by_avx512", isa.VNNI}, quantizeByVNNI},
		{kernel{"quantize_by_avx2", isa.AVX2}, wholeConvert(quantizeByAVX2, quantizeByPortable, 8, 4, 1)},
	}
}

func vectorFinishRows() []rowsKernel {
	return []rowsKernel{
		{kernel{"finish_rows_avx512", isa.VNNI}, finishRowsVNNI},
		{kernel{"finish_rows_avx2", isa.AVX2}, wholeFinishRows(finishRowsAVX2, 8)},
	}
}
