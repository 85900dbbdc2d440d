package main

import . "github.com/nasc-dev/nasc/backends/cpu/kernels/a64"

// finishNEON writes the kernels that finish rows of sums: whole vectors of 16
// and then of 8 columns. They saturate everywhere and so take any sums.
func finishNEON(w *Writer) {
	finishRows(w, "finishBytesNEON", "brings sums to bytes.", func() func(n int) {
		p := packer{28, 29, 30, 31}
		p.load(w, finZero, finLeast, finMost, finYFlip)
		return func(n int) {
			s := vs(0, n/4)
			scale(w, s, vs(8, n/4))
			p.bytes(w, s[:n/8])
			storeBytes(w, n)
		}
	})
	finishRows(w, "finishResidualNEON", "brings sums to bytes and adds others.", func() func(n int) {
		const (
			leastQ, mostQ, flip, zeroX2, a, b, mult2 = V(21), V(22), V(23), V(24), V(25), V(26), V(27)

			x2, words V = 16, 17
		)
		p := packer{28, 29, 30, 31}
		p.load(w, finZero2, finLeast, finMost, finYFlip)
		dup32(w, H8, leastQ, finLeastQ)
		dup32(w, H8, mostQ, finMostQ)
		dup32(w, B16, flip, finFlip)
		dup32(w, H8, zeroX2, finZeroX2)
		dup32(w, H8, a, finPair)
		w.Op("MOVHU %d(R0), R26", finPair+2)
		w.Put(DupX(H8, b, 26))
		dup32(w, S4, mult2, finMult2)
		return func(n int) {
			s := vs(0, n/4)
			scale(w, s, vs(8, n/4))
			for i := range n / 8 {
				w.Put(Three("smax", H8, s[i], s[i], leastQ), Three("smin", H8, s[i], s[i], mostQ))
			}
			// The 16-bit results move out of the way of the products.
			q := vs(18, 2)
			for i := range n / 8 {
				w.Put(Mov(q[i], s[i]))
			}
			w.Put(LoadPost(map[int]Size{16: Q, 8: D}[n], x2, finNextX2, n), Three("eor", B16, x2, x2, flip))
			for i := range n / 8 {
				w.Put(Extend("ushll", []Arr{B8, B16}[i], words, x2), Three("sub", H8, words, words, zeroX2))
				for h, half := range []Arr{H4, H8} {
					v := s[2*i+h]
					w.Put(Long("smull", half, v, q[i], a), Long("smlal", half, v, words, b))
				}
			}
			scale(w, s, []V{mult2, mult2, mult2, mult2})
			p.bytes(w, s[:n/8])
			storeBytes(w, n)
		}
	})
	finishRows(w, "finishFloatsNEON", "multiplies sums with their factors.", func() func(n int) {
		return func(n int) {
			for i, v := range vs(0, n/4) {
				w.Put(Two("scvtf", S4, v, v), Three("fmul", S4, v, v, V(8+i)))
			}
			for _, v := range vs(0, n/4) {
				w.Put(StorePost(Q, v, finNextY, 16))
			}
		}
	})
}

// Addresses that move along a row.
const finNextS, finNextM, finNextY, finNextX2 X = 8, 9, 10, 11

func storeBytes(w *Writer, n int) {
	if n == 16 {
		w.Put(StorePost(Q, 0, finNextY, 16))
	} else {
		w.Put(StorePost(D, 0, finNextY, 8))
	}
}

// finishRows writes a kernel: constants fills registers and gives what finishes
// n columns, whose sums lie from v0 on and factors from v8.
func finishRows(w *Writer, name, doc string, constants func() func(n int)) {
	const sums, sumStep, y, yStep, rows, cols, mult, rowAdd, x2, x2Step, left = X(1), X(2), X(3), X(4), X(5), X(6), X(7), X(12), X(13), X(14), X(15)
	w.Func(name, "finishArgs", doc)
	w.Fields(map[int]X{
		finSums: sums, finSumStep: sumStep, finY: y, finYStep: yStep, finRows: rows, finCols: cols, finMult: mult,
		finRowAdd: rowAdd, finX2: x2, finX2Step: x2Step,
	})
	finish := constants()
	const add = V(20)
	w.Put(Movi(add, 0))
	step := func(n int) {
		for i := range n / 4 {
			w.Put(LoadPost(Q, V(i), finNextS, 16), LoadPost(Q, V(8+i), finNextM, 16))
		}
		for i := range n / 4 {
			w.Put(Three("add", S4, V(i), V(i), add))
		}
		finish(n)
	}
	w.Loop("row", rows, func() {
		same := w.NewLabel("same")
		w.Op("CBZ R%d, %s", rowAdd, same)
		w.Put(LoadDup(S4, add, rowAdd))
		w.Op("ADD $4, R%d", rowAdd)
		w.Label(same)
		w.Op("MOVD R%d, R%d", sums, finNextS)
		w.Op("MOVD R%d, R%d", mult, finNextM)
		w.Op("MOVD R%d, R%d", y, finNextY)
		w.Op("MOVD R%d, R%d", x2, finNextX2)
		w.Op("MOVD R%d, R%d", cols, left)
		w.LoopBy("cols", left, 16, func() { step(16) })
		w.LoopBy("cols", left, 8, func() { step(8) })
		w.Op("ADD R%d, R%d", sumStep, sums)
		w.Op("ADD R%d, R%d", yStep, y)
		w.Op("ADD R%d, R%d", x2Step, x2)
	})
	w.Op("RET")
}
