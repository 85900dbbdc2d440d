package main

import . "github.com/nasc-dev/nasc/backends/cpu/kernels/a64"

// dynamicNEON writes the kernels of rows whose scales are found while they run.
func dynamicNEON(w *Writer) {
	rangeVector(w)
	quantizeByVector(w)
	finishRowsVector(w)
}

// rangeVector: NaN is never beyond a bound, and its bits are beyond those of
// all numbers.
func rangeVector(w *Writer) {
	const x, n X = 1, 2
	lo, hi, top := vs(16, 2), vs(18, 2), vs(20, 2)
	w.Func("rangeNEON", "rangeArgs", "looks at vectors of 8.")
	w.Fields(map[int]X{rngX: x, rngN: n})
	for _, v := range vs(16, 6) {
		w.Put(Movi(v, 0))
	}
	w.LoopBy("floats", n, 8, func() {
		for i, v := range vs(0, 2) {
			less, more := V(2+2*i), V(3+2*i)
			w.Put(LoadPost(Q, v, x, 16), Three("fcmgt", S4, less, lo[i], v), Three("fcmgt", S4, more, v, hi[i]))
			w.Put(Three("bit", B16, lo[i], v, less), Three("bit", B16, hi[i], v, more))
			w.Put(Two("fabs", S4, v, v), Three("umax", S4, top[i], top[i], v))
		}
	})
	w.Put(Three("fmin", S4, lo[0], lo[0], lo[1]), Three("fmax", S4, hi[0], hi[0], hi[1]), Three("umax", S4, top[0], top[0], top[1]))
	w.Put(Across("fminv", 0, lo[0]), Across("fmaxv", 1, hi[0]), Across("umaxv", 2, top[0]))
	w.Put(Store(S, 0, args, rngLo), Store(S, 1, args, rngHi), Store(S, 2, args, rngTop))
	w.Op("RET")
}

func quantizeByVector(w *Writer) {
	const y, x, n, by = X(1), X(2), X(3), V(27)
	r := rounder{28, 29, 30, 31}
	w.Func("quantizeByNEON", "convertArgs", "divides by the scale and rounds vectors of 8.")
	w.Fields(map[int]X{cvtY: y, cvtX: x, cvtN: n})
	dup32(w, S4, by, cvtScale)
	dup32(w, S4, r.lo, cvtLo)
	dup32(w, S4, r.hi, cvtHi)
	dup32(w, H8, r.zero, cvtZero)
	w.LoopBy("floats", n, 8, func() {
		for _, v := range vs(0, 2) {
			w.Put(LoadPost(Q, v, x, 16), Three("fdiv", S4, v, v, by))
		}
		r.round(w, vs(0, 2))
		w.Put(StorePost(D, 0, y, 8))
	})
	w.Op("RET")
}

func finishRowsVector(w *Writer) {
	const (
		sums, sumStep, y, yStep, rows, cols, mult, bias, colSums, params = X(1), X(2), X(3), X(4), X(5), X(6), X(7), X(8), X(9), X(10)
		ps, py, pm, pb, pc, left                                         = X(11), X(12), X(13), X(14), X(15), X(16)

		scale, zero, s, c, m, b = V(16), V(17), V(0), V(1), V(2), V(3)
	)
	w.Func("finishRowsNEON", "rowsArgs", "finishes vectors of 4 columns.")
	w.Fields(map[int]X{
		rowSums: sums, rowSumStep: sumStep, rowY: y, rowYStep: yStep, rowRows: rows, rowCols: cols,
		rowMult: mult, rowBias: bias, rowColSums: colSums, rowParams: params,
	})
	w.Loop("row", rows, func() {
		w.Put(LoadDup(S4, scale, params))
		w.Op("ADD $4, R%d", params)
		w.Put(LoadDup(S4, zero, params))
		w.Op("ADD $4, R%d", params)
		for _, p := range [][2]X{{sums, ps}, {y, py}, {mult, pm}, {bias, pb}, {colSums, pc}, {cols, left}} {
			w.Op("MOVD R%d, R%d", p[0], p[1])
		}
		w.LoopBy("cols", left, 4, func() {
			w.Put(LoadPost(Q, s, ps, 16), LoadPost(Q, c, pc, 16), LoadPost(Q, m, pm, 16), LoadPost(Q, b, pb, 16))
			w.Put(Three("mul", S4, c, c, zero), Three("sub", S4, s, s, c), Three("fmul", S4, m, m, scale))
			w.Put(Two("scvtf", S4, s, s), Three("fmul", S4, s, s, m), Three("fadd", S4, s, s, b), StorePost(Q, s, py, 16))
		})
		w.Op("ADD R%d, R%d", sumStep, sums)
		w.Op("ADD R%d, R%d", yStep, y)
	})
	w.Op("RET")
}
