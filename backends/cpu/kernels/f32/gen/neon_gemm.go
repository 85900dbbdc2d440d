package main

import (
	"fmt"

	. "github.com/nasc-dev/nasc/backends/cpu/kernels/a64"
)

func gemmNEON(w *Writer) {
	for vecs := 1; vecs <= neonVecs; vecs++ {
		for rows := 1; rows <= neonRows; rows++ {
			gemmTileNEON(w, rows, vecs)
		}
	}
	w.Declare("// gemmNEON is the micro-kernels by vectors-1 and rows-1.\nvar gemmNEON = [][]func(*tile){\n")
	for vecs := 1; vecs <= neonVecs; vecs++ {
		for rows := 1; rows <= neonRows; rows++ {
			sep := map[bool]string{true: "{", false: ""}[rows == 1]
			w.Declare("%sgemm%dx%dNEON,", sep, rows, 4*vecs)
		}
		w.Declare("},\n")
	}
	w.Declare("}\n")
}

// gemmTileNEON writes the micro-kernel of rows x vecs registers described at
// f32.tile: the values of A in v0 to v5, weights from v6 on, sums from v8 on.
func gemmTileNEON(w *Writer, rows, vecs int) {
	const kstep, wptr, ldw, off, segs, count, step, bias, mask = X(1), X(2), X(3), X(4), X(5), X(6), X(7), X(8), X(9)
	ptr := []X{10, 11, 12, 13, 14, 15}[:rows]
	res := []X{16, 17, 19, 20, 21, 22}[:rows]
	half := (rows + 1) / 2
	acc := func(r, c int) V { return V(8 + r*vecs + c) }
	label := func(s string) string { return w.NewLabel(s) }
	w.Func(fmt.Sprintf("gemm%dx%dNEON", rows, 4*vecs), "tile", fmt.Sprintf("computes a tile of %d rows and up to %d columns.", rows, 4*vecs))
	// rowsAt points registers to the rows of a tile.
	rowsAt := func(p []X, a, b, stride int) {
		loadField(w, stride, step)
		loadField(w, a, p[0])
		if rows > half {
			loadField(w, b, p[half])
		}
		for r := 1; r < rows; r++ {
			if r != half {
				w.Op("ADD R%d, R%d, R%d", step, p[r-1], p[r])
			}
		}
	}
	// last runs part for each row's last register, once for each lane of the mask
	// where it is not whole.
	last := func(whole func(r int), lane func(r int, lane uint32)) {
		partial, done := label("partial"), label("done")
		w.Op("CMP $15, R%d", mask)
		w.Op("BNE %s", partial)
		for r := range rows {
			whole(r)
		}
		w.Op("B %s", done)
		w.Label(partial)
		for i := range uint32(3) {
			if i > 0 {
				w.Op("TBZ $%d, R%d, %s", i, mask, done)
			}
			for r := range rows {
				lane(r, i)
			}
		}
		w.Label(done)
	}
	start := label("start")
	loadField(w, tileMask, mask)
	for r := range rows {
		for c := range vecs {
			w.Put(Movi(acc(r, c), 0))
		}
	}
	loadField(w, tileFlags, count)
	w.Op("TBZ $0, R%d, %s", count, start)
	rowsAt(ptr, tileY, tileYB, tileLdy)
	for r := range rows {
		for c := range vecs - 1 {
			w.Put(Load(Q, acc(r, c), ptr[r], uint32(16*c)))
		}
		w.Op("ADD $%d, R%d", 16*(vecs-1), ptr[r])
	}
	last(func(r int) { w.Put(Load(Q, acc(r, vecs-1), ptr[r], 0)) }, func(r int, lane uint32) {
		w.Put(LoadLane(acc(r, vecs-1), lane, ptr[r]))
		w.Op("ADD $4, R%d", ptr[r])
	})

	w.Label(start)
	for _, f := range []struct {
		offset int
		r      X
	}{{tileKstep, kstep}, {tileW, wptr}, {tileLdw, ldw}, {tileOff, off}, {tileSegs, segs}} {
		loadField(w, f.offset, f.r)
	}
	w.Loop("segment", segs, func() {
		rowsAt(ptr, tileA, tileB, tileStride)
		w.Op("MOVD.P 8(R%d), R%d", off, step)
		for _, p := range ptr {
			w.Op("ADD R%d, R%d", step, p)
		}
		loadField(w, tileSeg, count)
		w.Loop("k", count, func() {
			for r, p := range ptr {
				w.Put(LoadDupPost(S4, V(r), p, kstep))
			}
			for c := range vecs {
				wv := V(6 + c%2)
				w.Put(Load(Q, wv, wptr, uint32(16*c)))
				for r := range rows {
					w.Put(Three("fmla", S4, acc(r, c), wv, V(r)))
				}
			}
			w.Op("ADD R%d, R%d", ldw, wptr)
		})
	})

	store, act := label("store"), label("act")
	rowsAt(ptr, tileY, tileYB, tileLdy)
	loadField(w, tileFlags, count)
	w.Op("TBNZ $1, R%d, %s", count, store)
	loadField(w, tileBias, bias)
	for c := range vecs {
		w.Put(Load(Q, 6, bias, uint32(16*c)))
		for r := range rows {
			w.Put(Three("fadd", S4, acc(r, c), acc(r, c), 6))
		}
	}
	loadField(w, tileRes, count)
	w.Op("CBZ R%d, %s", count, act)
	rowsAt(res, tileRes, tileResB, tileLdy)
	for r := range rows {
		for c := range vecs - 1 {
			w.Put(Load(Q, 6, res[r], uint32(16*c)), Three("fadd", S4, acc(r, c), acc(r, c), 6))
		}
		w.Op("ADD $%d, R%d", 16*(vecs-1), res[r])
	}
	// What is added to lanes that are not stored does not matter.
	last(func(r int) { w.Put(Load(Q, V(r), res[r], 0)) }, func(r int, lane uint32) {
		if lane == 0 {
			w.Put(Movi(V(r), 0))
		}
		w.Put(LoadLane(V(r), lane, res[r]))
		w.Op("ADD $4, R%d", res[r])
	})
	for r := range rows {
		w.Put(Three("fadd", S4, acc(r, vecs-1), acc(r, vecs-1), V(r)))
	}
	w.Label(act)
	dupField(w, tileLo, 6)
	dupField(w, tileHi, 7)
	for r := range rows {
		for c := range vecs {
			clampNEON(w, acc(r, c), 0, 6, 7)
		}
	}
	w.Label(store)
	for r := range rows {
		for c := range vecs - 1 {
			w.Put(Store(Q, acc(r, c), ptr[r], uint32(16*c)))
		}
		w.Op("ADD $%d, R%d", 16*(vecs-1), ptr[r])
	}
	last(func(r int) { w.Put(Store(Q, acc(r, vecs-1), ptr[r], 0)) }, func(r int, lane uint32) {
		w.Put(StoreLane(acc(r, vecs-1), lane, ptr[r]))
		w.Op("ADD $4, R%d", ptr[r])
	})
	w.Op("RET")
}

// clampNEON is fmath.Clamp of x, with a register for comparisons: FMAX would
// not keep -0 beside a bound of 0.
func clampNEON(w *Writer, x, tmp, lo, hi V) {
	w.Put(Three("fcmgt", S4, tmp, lo, x), Three("bit", B16, x, lo, tmp))
	w.Put(Three("fcmgt", S4, tmp, x, hi), Three("bit", B16, x, hi, tmp))
}
