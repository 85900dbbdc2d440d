package f32

import (
	"math"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// vectorArgs is the argument block of the kernels that walk rows: n values of a
// and b to y. gen/ knows this layout; TestVectorLayout compares.
type vectorArgs struct {
	y, a, b *float32
	p       *float32 // parameters, partial results or a third operand
	n       int
	c, d    float32
}

// vectorFunc is a row of the table of functions of one variable.
type vectorFunc struct {
	name string
	run  func(a *vectorArgs)
}

// vectorCall bounds the values of one assembly call, and so its duration.
const vectorCall = 8192

var neonGemm = gemmSet{name: "neon", lanes: 4, wide: len(gemmNEON), run: gemmNEON}

func vectorGemm(l isa.Level) *gemmSet {
	if l.Has(isa.NEON) {
		return &neonGemm
	}
	return nil
}

func vectorUnary(name string, p Params, l isa.Level) func(y, x []float32) {
	for _, u := range vectorUnaries {
		if u.name != name || !l.Has(isa.NEON) {
			continue
		}
		return func(y, x []float32) {
			for i := 0; i < len(x); i += vectorCall {
				u.run(hide(&vectorArgs{y: &y[i], a: &x[i], p: &p.Alpha, n: min(vectorCall, len(x)-i)}))
			}
		}
	}
	return nil
}

func vectorBinary(name string, l isa.Level) binaryRun {
	for _, u := range vectorBinaries {
		if u.name != name || !l.Has(isa.NEON) {
			continue
		}
		return func(y, a, b []float32, aone, bone bool) {
			if len(y) == 0 {
				return
			}
			v := vectorArgs{y: &y[0], a: &a[0], b: &b[0], n: len(y)}
			switch {
			case aone && bone:
				// One value each: make the row by the whole form of one element.
				v.n = 1
				u.run[0](hide(&v))
				for i := range y {
					y[i] = y[0]
				}
			case aone:
				u.run[2](hide(&v))
			case bone:
				u.run[1](hide(&v))
			default:
				u.run[0](hide(&v))
			}
		}
	}
	return nil
}

func vectorDepthwise(l isa.Level) func(*dwTile) { return windowKernel(l, depthwiseNEON) }

func vectorMaxPool(l isa.Level) func(*dwTile) { return windowKernel(l, maxPoolNEON) }

func vectorAddPool(l isa.Level) func(*dwTile) { return windowKernel(l, addPoolNEON) }

func vectorWinograd(int, isa.Level) winogradFuncs { return winogradFuncs{} }

func vectorDepthwiseRow(int, int, isa.Level) func(*dwTile) { return nil }

func windowKernel(l isa.Level, f func(*dwTile)) func(*dwTile) {
	if l.Has(isa.NEON) {
		return f
	}
	return nil
}

func vectorRows(l isa.Level) *rowFuncs {
	if l.Has(isa.NEON) {
		return &neonRows
	}
	return nil
}

var neonRows = rowFuncs{
	sum:        neonSum,
	sumSq:      neonSumSq,
	max:        neonMax,
	min:        func(x []float32) float32 { return neonFold(min16NEON, x, float32(math.Inf(1)), fmath.Min) },
	softmax:    neonSoftmax,
	logSoftmax: neonLogSoftmax,
	layerNorm: func(y, x, scale, bias []float32, n int, eps float32) {
		inv := fmath.InvCount(n)
		for ; len(x) > 0; y, x = y[n:], x[n:] {
			mean := float32(neonSum(x[:n]) * inv)
			neonNorm(y, x[:n], scale, bias, mean, fmath.Rstd(float32(neonSumSq(x[:n], mean)*inv), eps))
		}
	},
	rmsNorm: func(y, x, scale []float32, eps float32) {
		neonNorm(y, x, scale, nil, 0, fmath.Rstd(float32(neonSumSq(x, 0)*fmath.InvCount(len(x))), eps))
	},
}

// neonPart runs a kernel on a's vectors of sixteen values and then on those that
// are left, filled up with what changes nothing.
func neonPart(run func(*vectorArgs), p *[fmath.Partials]float32, y, x []float32, c, neutral float32) {
	whole := len(x) &^ (fmath.Partials - 1)
	v := vectorArgs{p: &p[0], c: c}
	for i := 0; i < whole; i += vectorCall {
		v.a, v.n = &x[i], min(vectorCall, whole-i)
		if y != nil {
			v.y = &y[i]
		}
		run(hide(&v))
	}
	if whole == len(x) {
		return
	}
	var rest [fmath.Partials]float32
	for i := copy(rest[:], x[whole:]); i < len(rest); i++ {
		rest[i] = neutral
	}
	v.y, v.a, v.n = &rest[0], &rest[0], len(rest)
	run(hide(&v))
	if y != nil {
		copy(y[whole:len(x)], rest[:])
	}
}

func neonSum(x []float32) float32 {
	var p [fmath.Partials]float32
	neonPart(sum16NEON, &p, nil, x, 0, 0)
	return fmath.Tree(&p)
}

func neonSumSq(x []float32, c float32) float32 {
	var p [fmath.Partials]float32
	whole := len(x) &^ (fmath.Partials - 1)
	neonPart(sumSq16NEON, &p, nil, x[:whole], c, 0)
	for i, v := range x[whole:] {
		d := v - c
		p[i] += float32(d * d)
	}
	return fmath.Tree(&p)
}

func neonMax(x []float32) float32 {
	return neonFold(max16NEON, x, float32(math.Inf(-1)), fmath.Max)
}

// neonFold folds x by a kernel and ends with the tree of fmath.Max16; neutral
// is the infinity to start from.
func neonFold(part func(*vectorArgs), x []float32, neutral float32, f func(a, b float32) float32) float32 {
	var p [fmath.Partials]float32
	for i := range p {
		p[i] = neutral
	}
	neonPart(part, &p, nil, x, 0, neutral)
	for h := fmath.Partials / 2; h > 0; h /= 2 {
		for i := range h {
			p[i] = f(p[i], p[i+h])
		}
	}
	return p[0]
}

// neonExps writes Exp(x-m) with m = Max16(x) and gives m and the sum. What fills
// up the last vector is 0 after Exp, or NaN where the others are NaN, too.
func neonExps(y, x []float32) (m, s float32) {
	var p [fmath.Partials]float32
	m = neonMax(x)
	neonPart(expSumNEON, &p, y, x, m, float32(math.Inf(-1)))
	return m, fmath.Tree(&p)
}

func neonSoftmax(y, x, bias []float32, n int) {
	for ; len(x) > 0; y, x = y[n:], x[n:] {
		in := x[:n]
		if bias != nil {
			in = y[:n]
			addNEON(&vectorArgs{y: &in[0], a: &x[0], b: &bias[0], n: n})
		}
		_, s := neonExps(y, in)
		r := 1 / s
		mulRightNEON(&vectorArgs{y: &y[0], a: &y[0], b: &r, n: n})
	}
}

func neonLogSoftmax(y, x []float32) {
	if len(x) == 0 {
		return
	}
	m, s := neonExps(y, x)
	l := fmath.Log(s)
	for i, v := range x {
		y[i] = (v - m) - l
	}
}

// neonNorm writes (x-mean)*rstd, times scale and plus bias where they are not nil.
func neonNorm(y, x, scale, bias []float32, mean, rstd float32) {
	v := vectorArgs{y: &y[0], a: &x[0], b: unsafe.SliceData(scale), p: unsafe.SliceData(bias), n: len(x), c: mean, d: rstd}
	switch {
	case scale != nil && bias != nil:
		normScaleBiasNEON(&v)
	case scale != nil:
		normScaleNEON(&v)
	default:
		normNEON(&v)
		if bias != nil {
			addNEON(&vectorArgs{y: &y[0], a: &y[0], b: &bias[0], n: len(x)})
		}
	}
}
