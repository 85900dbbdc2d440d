package int8

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

func vectorRange() []rangeKernel {
	return []rangeKernel{{kernel{"range_neon", isa.NEON}, wholeRange(rangeNEON)}}
}

func vectorQuantizeBy() []convertKernel {
	return []convertKernel{{kernel{"quantize_by_neon", isa.NEON}, wholeConvert(quantizeByNEON, quantizeByPortable, 8, 4, 1)}}
}

func vectorFinishRows() []rowsKernel {
	return []rowsKernel{{kernel{"finish_rows_neon", isa.NEON}, wholeFinishRows(finishRowsNEON, 4)}}
}

func vectorAttention() []attentionKernel { return nil }
