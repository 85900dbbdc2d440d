package int8

import (
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

//go:generate go run ./gen -set dynamic_vnni -out dynamic_vnni_amd64.s
//go:generate go run ./gen -set dynamic_avx2 -out dynamic_avx2_amd64.s

func vectorRange() []rangeKernel {
	return []rangeKernel{
		{kernel{"range_avx512", isa.VNNI}, rangeVNNI},
		{kernel{"range_avx2", isa.AVX2}, rangeWholeAVX2},
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
		{kernel{"finish_rows_avx2", isa.AVX2}, finishRowsWholeAVX2},
	}
}

// The kernels on 256 bits take whole vectors; plain Go takes the rest.

func rangeWholeAVX2(a *rangeArgs) {
	n, x := a.n, a.x
	a.n = n &^ 7
	rangeAVX2(a)
	if a.n < n {
		lo, hi, top := a.lo, a.hi, a.top
		a.x, a.n = unsafe.Add(x, 4*a.n), n-a.n
		rangePortable(a)
		a.lo, a.hi, a.top = min(a.lo, lo), max(a.hi, hi), max(a.top, top)
	}
	a.x, a.n = x, n
}

func finishRowsWholeAVX2(a *rowsArgs) {
	finishRowsAVX2(a)
	if done := a.cols &^ 7; done < a.cols {
		b := *a
		b.sums, b.y = unsafe.Add(a.sums, 4*done), unsafe.Add(a.y, 4*done)
		b.mult, b.bias, b.colSums = unsafe.Add(a.mult, 4*done), unsafe.Add(a.bias, 4*done), unsafe.Add(a.colSums, 4*done)
		b.cols -= done
		*a, b = b, *a
		finishRowsPortable(a)
		*a = b
	}
}
