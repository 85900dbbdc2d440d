package main

import . "github.com/nasc-dev/nasc/backends/cpu/kernels/a64"

// rowsNEON writes the kernels of elementwise operators, tables and pools. They
// take whole vectors.
func rowsNEON(w *Writer) {
	lookupNEON(w)
	pairNEON(w, "addBytesNEON", "adds vectors of 8.", addProducts)
	pairNEON(w, "multiplyBytesNEON", "multiplies vectors of 8.", func(w *Writer, acc []V, a, b V) {
		w.Put(Long("smull", H4, acc[0], a, b), Long("smull", H8, acc[1], a, b))
	})
	quantizeVector(w)
	dequantizeVector(w)
	widenVector(w)
	maxVector(w)
	sumVector(w)
}

func lookupNEON(w *Writer) {
	const y, x, n, table, idx, out, step = X(1), X(2), X(3), X(4), V(0), V(1), V(2)
	w.Func("lookupNEON", "lookupArgs", "maps vectors of 16 bytes.")
	w.Fields(map[int]X{lookY: y, lookX: x, lookN: n, lookTable: table})
	for i := range 16 {
		w.Put(Load(Q, V(16+i), table, uint32(16*i)))
	}
	w.Put(Movi(step, 64))
	w.LoopBy("bytes", n, 16, func() {
		w.Put(LoadPost(Q, idx, x, 16), Table("tbl", out, 16, 4, idx))
		for i := 1; i < 4; i++ {
			w.Put(Three("sub", B16, idx, idx, step), Table("tbx", out, V(16+4*i), 4, idx))
		}
		w.Put(StorePost(Q, out, y, 16))
	})
	w.Op("RET")
}

const pairFactorA, pairFactorB V = 26, 27

func addProducts(w *Writer, acc []V, a, b V) {
	for i, half := range []Arr{H4, H8} {
		w.Put(Long("smull", half, acc[i], a, pairFactorA), Long("smlal", half, acc[i], b, pairFactorB))
	}
}

// rounder is the registers of a result that is clamped as float32 and whose
// bits above the byte do not matter.
type rounder struct{ mult, lo, hi, zero V }

// bytes brings the products of two registers of float32 and mult to 8 bytes in
// s[0].
func (r rounder) bytes(w *Writer, s []V) {
	for _, v := range s {
		w.Put(Three("fmul", S4, v, v, r.mult))
	}
	r.round(w, s)
}

// round brings two registers of float32 to 8 bytes in s[0].
func (r rounder) round(w *Writer, s []V) {
	for _, v := range s {
		w.Put(Three("fmax", S4, v, v, r.lo))
	}
	for _, v := range s {
		w.Put(Three("fmin", S4, v, v, r.hi))
	}
	for _, v := range s {
		w.Put(Two("fcvtns", S4, v, v))
	}
	w.Put(Narrow("xtn", H4, s[0], s[0]), Narrow("xtn", H8, s[0], s[1]), Three("add", H8, s[0], s[0], r.zero), Narrow("xtn", B8, s[0], s[0]))
}

// pairNEON writes a kernel of pairs, with b a vector or one value.
func pairNEON(w *Writer, name, doc string, combine func(w *Writer, acc []V, a, b V)) {
	const (
		y, a, b, n, scalar = X(1), X(2), X(3), X(4), X(5)

		va, vb, aFlip, aZero, bFlip, bZero = V(4), V(5), V(22), V(23), V(24), V(25)
	)
	r := rounder{28, 29, 30, 31}
	w.Func(name, "pairArgs", doc)
	w.Fields(map[int]X{pairY: y, pairA: a, pairB: b, pairN: n})
	dup32(w, B16, aFlip, pairAFlip)
	dup32(w, B16, bFlip, pairBFlip)
	dup32(w, H8, aZero, pairAZero)
	dup32(w, H8, bZero, pairBZero)
	dup32(w, H8, pairFactorA, pairPair)
	w.Op("MOVHU %d(R0), R26", pairPair+2)
	w.Put(DupX(H8, pairFactorB, 26))
	dup32(w, S4, r.mult, pairMult)
	dup32(w, S4, r.lo, pairLo)
	dup32(w, S4, r.hi, pairHi)
	dup32(w, H8, r.zero, pairZero)
	w.Op("MOVWU %d(R0), R%d", pairScalarB, scalar)
	widen := func(v, flip, zero V) {
		w.Put(Three("eor", B8, v, v, flip), Extend("ushll", B8, v, v), Three("sub", H8, v, v, zero))
	}
	step := func() {
		w.Put(LoadPost(D, va, a, 8))
		widen(va, aFlip, aZero)
		acc := vs(0, 2)
		combine(w, acc, va, vb)
		w.Put(Two("scvtf", S4, 0, 0), Two("scvtf", S4, 1, 1))
		r.bytes(w, acc)
		w.Put(StorePost(D, 0, y, 8))
	}
	one := w.NewLabel("one")
	w.Op("CBNZ R%d, %s", scalar, one)
	w.LoopBy("pairs", n, 8, func() {
		w.Put(LoadPost(D, vb, b, 8))
		widen(vb, bFlip, bZero)
		step()
	})
	w.Op("RET")
	w.Label(one)
	w.Put(LoadDup(B8, vb, b))
	widen(vb, bFlip, bZero)
	w.LoopBy("values", n, 8, step)
	w.Op("RET")
}

func quantizeVector(w *Writer) {
	const y, x, n X = 1, 2, 3
	r := rounder{28, 29, 30, 31}
	w.Func("quantizeNEON", "convertArgs", "rounds vectors of 8; NaN becomes 0 when it is converted.")
	w.Fields(map[int]X{cvtY: y, cvtX: x, cvtN: n})
	dup32(w, S4, r.mult, cvtScale)
	dup32(w, S4, r.lo, cvtLo)
	dup32(w, S4, r.hi, cvtHi)
	dup32(w, H8, r.zero, cvtZero)
	w.LoopBy("floats", n, 8, func() {
		w.Put(LoadPost(Q, 0, x, 16), LoadPost(Q, 1, x, 16))
		r.bytes(w, vs(0, 2))
		w.Put(StorePost(D, 0, y, 8))
	})
	w.Op("RET")
}

func dequantizeVector(w *Writer) {
	const y, x, n, flip, zero, factor = X(1), X(2), X(3), V(28), V(29), V(30)
	w.Func("dequantizeNEON", "convertArgs", "brings vectors of 8 bytes to float32.")
	w.Fields(map[int]X{cvtY: y, cvtX: x, cvtN: n})
	dup32(w, S4, factor, cvtScale)
	dup32(w, H8, zero, cvtZero)
	dup32(w, B16, flip, cvtFlip)
	w.LoopBy("bytes", n, 8, func() {
		w.Put(LoadPost(D, 0, x, 8), Three("eor", B8, 0, 0, flip), Extend("ushll", B8, 0, 0), Three("sub", H8, 0, 0, zero))
		w.Put(Extend("sshll", H4, 1, 0), Extend("sshll", H8, 2, 0))
		for _, v := range vs(1, 2) {
			w.Put(Two("scvtf", S4, v, v), Three("fmul", S4, v, v, factor), StorePost(Q, v, y, 16))
		}
	})
	w.Op("RET")
}

func widenVector(w *Writer) {
	const y, x, n, flip, zero = X(1), X(2), X(3), V(28), V(29)
	w.Func("widenNEON", "convertArgs", "brings vectors of 16 bytes to int16.")
	w.Fields(map[int]X{cvtY: y, cvtX: x, cvtN: n})
	dup32(w, H8, zero, cvtZero)
	dup32(w, B16, flip, cvtFlip)
	w.LoopBy("bytes", n, 16, func() {
		w.Put(LoadPost(Q, 0, x, 16), Three("eor", B16, 0, 0, flip), Extend("ushll", B8, 1, 0), Extend("ushll", B16, 2, 0))
		for _, v := range vs(1, 2) {
			w.Put(Three("sub", H8, v, v, zero), StorePost(Q, v, y, 16))
		}
	})
	w.Op("RET")
}

func maxVector(w *Writer) {
	windows(w, "maxNEON", "takes the greatest of vectors of 16 bytes.", 16, 16, func(X) { w.Put(Movi(0, 0)) }, func(x X, flip V) {
		w.Put(Load(Q, 1, x, 0), Three("eor", B16, 1, 1, flip), Three("umax", B16, 0, 0, 1))
	}, func(y X, flip V) {
		w.Put(Three("eor", B16, 0, 0, flip), Store(Q, 0, y, 0))
	})
}

func sumVector(w *Writer) {
	windows(w, "sumNEON", "adds vectors of 8 bytes to their sums.", 8, 32, func(y X) {
		w.Put(Load(Q, 2, y, 0), Load(Q, 3, y, 16))
	}, func(x X, flip V) {
		w.Put(Load(D, 1, x, 0), Three("eor", B8, 1, 1, flip), Extend("ushll", B8, 1, 1))
		w.Put(AddWide("uaddw", H4, 2, 2, 1), AddWide("uaddw", H8, 3, 3, 1))
	}, func(y X, _ V) {
		w.Put(Store(Q, 2, y, 0), Store(Q, 3, y, 16))
	})
}

// windows writes a kernel of pixels of windows: vectors of per bytes, each with
// all its taps, whose results have size bytes.
func windows(w *Writer, name, doc string, per, size int, begin func(y X), tap func(x X, flip V), end func(y X, flip V)) {
	const (
		y, x, n, ny, nx, yStep, xStep, count, xMove, yMove = X(1), X(2), X(3), X(4), X(5), X(6), X(7), X(8), X(9), X(10)
		py, px, left, row, rows, at, cols                  = X(11), X(12), X(13), X(14), X(15), X(16), X(17)
		flip                                               = V(31)
	)
	w.Func(name, "windowArgs", doc)
	w.Fields(map[int]X{winY: y, winX: x, winN: n, winNY: ny, winNX: nx, winYStep: yStep, winXStep: xStep, winCount: count, winXMove: xMove, winYMove: yMove})
	dup32(w, B16, flip, winFlip)
	w.Loop("pixel", count, func() {
		w.Op("MOVD R%d, R%d", y, py)
		w.Op("MOVD R%d, R%d", x, px)
		w.Op("MOVD R%d, R%d", n, left)
		w.LoopBy("vector", left, per, func() {
			begin(py)
			w.Op("MOVD R%d, R%d", px, row)
			w.Op("MOVD R%d, R%d", ny, rows)
			w.Loop("rows", rows, func() {
				w.Op("MOVD R%d, R%d", row, at)
				w.Op("MOVD R%d, R%d", nx, cols)
				w.Loop("taps", cols, func() {
					tap(at, flip)
					w.Op("ADD R%d, R%d", xStep, at)
				})
				w.Op("ADD R%d, R%d", yStep, row)
			})
			end(py, flip)
			w.Op("ADD $%d, R%d", size, py)
			w.Op("ADD $%d, R%d", per, px)
		})
		w.Op("ADD R%d, R%d", yMove, y)
		w.Op("ADD R%d, R%d", xMove, x)
	})
	w.Op("RET")
}
