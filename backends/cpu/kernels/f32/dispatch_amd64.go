package f32

import (
	"math"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// vectorISA names the vector instructions that a level stands for here: the
// integer extensions do not matter.
func vectorISA(l isa.Level) string {
	switch l {
	case isa.VNNI, isa.AMX:
		return "avx512"
	case isa.AVX2, isa.AVXVNNI:
		return "avx2"
	}
	return ""
}

var vectorGemms = []gemmSet{
	{name: "avx512", lanes: 16, wide: 2, fetch: 2, run: gemmAVX512, hardSwish: true, transpose8: transpose8},
	{name: "avx2", lanes: 8, wide: 2, fetch: 2, run: gemmAVX2, hardSwish: true, transpose8: transpose8},
}

func vectorGemm(l isa.Level) *gemmSet {
	for i := range vectorGemms {
		if vectorGemms[i].name == vectorISA(l) {
			return &vectorGemms[i]
		}
	}
	return nil
}

var vectorRowFuncs = map[string]*rowFuncs{
	"avx512": rowFuncsOf(sum16AVX512, sumSq16AVX512, rowMaxAVX512, expSumAVX512, softmaxAVX512, layerNorm1AVX512, layerNorm4AVX512, normRowAVX512, max16AVX512, min16AVX512),
	"avx2":   rowFuncsOf(sum16AVX2, sumSq16AVX2, rowMaxAVX2, expSumAVX2, softmaxAVX2, layerNorm1AVX2, layerNorm4AVX2, normRowAVX2, max16AVX2, min16AVX2),
}

func vectorRows(l isa.Level) *rowFuncs { return vectorRowFuncs[vectorISA(l)] }

// rowFuncsOf composes the row operations of fmath from vector kernels.
func rowFuncsOf(
	sum func(x *float32, n int) float32,
	sumSq func(x *float32, n int, c float32) float32,
	rowMax func(x *float32, n int) float32,
	expSum func(y, x *float32, n int, m float32) float32,
	softmax func(y, x, bias *float32, rows, n int),
	layerNorm1, layerNorm4 func(y, x, scale, bias *float32, n int, inv, eps float32),
	norm func(y, x, scale, bias *float32, n int, mean, rstd float32),
	max16, min16 func(p, x *float32, n int),
) *rowFuncs {
	exps := func(y, x []float32) (m, s float32) {
		m = rowMax(&x[0], len(x))
		return m, expSum(&y[0], &x[0], len(x), m)
	}
	return &rowFuncs{
		sum:   func(x []float32) float32 { return sum(unsafe.SliceData(x), len(x)) },
		sumSq: func(x []float32, c float32) float32 { return sumSq(unsafe.SliceData(x), len(x), c) },
		max:   fold16(max16, fmath.Max, -1),
		min:   fold16(min16, fmath.Min, 1),
		softmax: func(y, x, bias []float32, n int) {
			for per := max(1, vectorCall/max(n, 1)) * n; len(x) > 0; {
				c := min(per, len(x))
				softmax(&y[0], &x[0], unsafe.SliceData(bias), c/n, n)
				y, x = y[c:], x[c:]
			}
		},
		logSoftmax: func(y, x []float32) {
			if len(x) == 0 {
				return
			}
			m, s := exps(y, x)
			l := fmath.Log(s)
			for i, v := range x {
				y[i] = (v - m) - l
			}
		},
		layerNorm: func(y, x, scale, bias []float32, n int, eps float32) {
			inv := fmath.InvCount(n)
			for len(x) > 0 {
				f, c := layerNorm1, n
				if 4*n <= len(x) {
					f, c = layerNorm4, 4*n
				}
				f(&y[0], &x[0], unsafe.SliceData(scale), unsafe.SliceData(bias), n, inv, eps)
				y, x = y[c:], x[c:]
			}
		},
		rmsNorm: func(y, x, scale []float32, eps float32) {
			rstd := fmath.Rstd(float32(sumSq(&x[0], len(x), 0)*fmath.InvCount(len(x))), eps)
			norm(&y[0], &x[0], unsafe.SliceData(scale), nil, len(x), 0, rstd)
		},
	}
}

// fold16 folds partial results by a vector kernel and ends with the tree of
// fmath.Max16, where the sign of zeros matters; sign is that of the infinity to
// start from.
func fold16(part func(p, x *float32, n int), f func(a, b float32) float32, sign int) func(x []float32) float32 {
	first := float32(math.Inf(sign))
	return func(x []float32) float32 {
		var p [fmath.Partials]float32
		for i := range p {
			p[i] = first
		}
		if len(x) > 0 {
			part(hide(&p[0]), &x[0], len(x))
		}
		for h := fmath.Partials / 2; h > 0; h /= 2 {
			for i := range h {
				p[i] = f(p[i], p[i+h])
			}
		}
		return p[0]
	}
}

// vectorCall bounds the values of one assembly call, and so its duration.
const vectorCall = 16384

func vectorUnary(name string, p Params, l isa.Level) func(y, x []float32) {
	for _, u := range vectorUnaries {
		if u.name != name {
			continue
		}
		var f func(y, x *float32, n int, p *Params)
		switch vectorISA(l) {
		case "avx512":
			f = u.avx512
		case "avx2":
			f = u.avx2
		default:
			return nil
		}
		return func(y, x []float32) {
			for i := 0; i < len(x); i += vectorCall {
				f(&y[i], &x[i], min(vectorCall, len(x)-i), &p)
			}
		}
	}
	return nil
}

func vectorBinary(name string, l isa.Level) binaryRun {
	for _, u := range vectorBinaries {
		if u.name != name {
			continue
		}
		var f [3]func(y, a, b *float32, n int)
		switch vectorISA(l) {
		case "avx512":
			f = u.avx512
		case "avx2":
			f = u.avx2
		default:
			return nil
		}
		return func(y, a, b []float32, aone, bone bool) {
			if len(y) == 0 {
				return
			}
			switch {
			case aone && bone:
				// One value each: make the row by the whole form of one element.
				f[0](&y[0], &a[0], &b[0], 1)
				for i := range y {
					y[i] = y[0]
				}
			case aone:
				f[2](&y[0], &a[0], &b[0], len(y))
			case bone:
				f[1](&y[0], &a[0], &b[0], len(y))
			default:
				f[0](&y[0], &a[0], &b[0], len(y))
			}
		}
	}
	return nil
}

func vectorDepthwise(l isa.Level) func(*dwTile) {
	return windowKernel(l, depthwiseAVX512, depthwiseAVX2)
}

func vectorDepthwiseRow(kw, stride int, l isa.Level) func(*dwTile) {
	for _, k := range depthwiseRows {
		if k.kw == kw && k.stride == stride {
			return windowKernel(l, k.avx512, k.avx2)
		}
	}
	return nil
}

func vectorWinograd(m int, l isa.Level) winogradFuncs {
	for _, k := range vectorWinograds {
		if k.m == m {
			switch vectorISA(l) {
			case "avx512":
				return k.avx512
			case "avx2":
				return k.avx2
			}
		}
	}
	return winogradFuncs{}
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
