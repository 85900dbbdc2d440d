package main

import (
	"fmt"

	. "github.com/nasc-dev/nasc/backends/cpu/kernels/a64"
)

// gemmNEON writes the matrix kernels: tiles of up to 6 rows and 16 columns or 8
// rows and 8 columns, which leave room for a register of each row's x.
func gemmNEON(w *Writer) {
	for _, shape := range [][2]int{{6, 16}, {8, 8}} {
		for rows := 1; rows <= shape[0]; rows++ {
			gemmTile(w, fmt.Sprintf("gemmDot%dx%d", rows, shape[1]), rows, shape[1], dotSteps)
		}
	}
	for _, shape := range [][2]int{{6, 16}, {8, 8}} {
		for rows := 1; rows <= shape[0]; rows++ {
			gemmTile(w, fmt.Sprintf("gemmNEON%dx%d", rows, shape[1]), rows, shape[1], laneSteps)
		}
	}
}

// gemmTile writes the kernel of one height: registers of x from v0 on, then
// two of weights, then the sums.
func gemmTile(w *Writer, name string, rows, cols int, steps func(w *Writer, x []V, px []X, weights []V, pw, quads X, sums [][]V)) {
	const (
		x, xStep, runs, numRuns, quads, weights, init, sums, sumStep, tiles = X(1), X(2), X(3), X(4), X(5), X(6), X(7), X(8), X(9), X(10)

		run, runsLeft, left, pw, out = X(11), X(12), X(13), X(14), X(15)
	)
	px := []X{16, 17, 19, 20, 21, 22, 23, 24}[:rows]
	xs := vs(0, rows)
	vectors := cols / 4
	acc := make([][]V, rows)
	for r := range acc {
		acc[r] = vs(V(rows+2+r*vectors), vectors)
	}
	w.Func(name, "gemmArgs", fmt.Sprintf("multiplies tiles of %s with %d columns.", plural(rows, "row"), cols))
	w.Fields(map[int]X{
		gemmX: x, gemmXStep: xStep, gemmRuns: runs, gemmNumRuns: numRuns, gemmQuads: quads, gemmW: weights,
		gemmInit: init, gemmSums: sums, gemmSumStep: sumStep, gemmTiles: tiles,
	})
	w.Loop("tile", tiles, func() {
		for c := range vectors {
			w.Put(Load(Q, acc[0][c], init, uint32(16*c)))
			for r := 1; r < rows; r++ {
				w.Put(Mov(acc[r][c], acc[0][c]))
			}
		}
		w.Op("MOVD R%d, R%d", runs, run)
		w.Op("MOVD R%d, R%d", numRuns, runsLeft)
		w.Op("MOVD R%d, R%d", weights, pw)
		w.Loop("run", runsLeft, func() {
			w.Op("MOVD.P 8(R%d), R%d", run, px[0])
			w.Op("ADD R%d, R%d", x, px[0])
			for r := 1; r < rows; r++ {
				w.Op("ADD R%d, R%d, R%d", xStep, px[r-1], px[r])
			}
			w.Op("MOVD R%d, R%d", quads, left)
			steps(w, xs, px, vs(V(rows), 2), pw, left, acc)
		})
		w.Op("MOVD R%d, R%d", sums, out)
		for r := range rows {
			for c, v := range acc[r] {
				w.Put(Store(Q, v, out, uint32(16*c)))
			}
			w.Op("ADD R%d, R%d", sumStep, out)
		}
		w.Op("MOVD R%d, R%d", out, sums)
		w.Op("MOVD $%d, R%d", rows, out)
		w.Op("MADD R%d, R%d, R%d, R%d", xStep, x, out, x)
	})
	w.Op("RET")
}

// dotSteps multiplies bytes: four steps of four with one register of x a row,
// whose top bits are flipped, then step by step.
func dotSteps(w *Writer, x []V, px []X, weights []V, pw, quads X, sums [][]V) {
	step := func(lane uint32) {
		for c := range sums[0] {
			wv := weights[c%2]
			w.Put(LoadPost(Q, wv, pw, 16))
			for r := range sums {
				w.Put(DotLane(sums[r][c], wv, x[r], lane))
			}
		}
	}
	read := func(size Size, bytes int) {
		for r := range x {
			w.Put(LoadPost(size, x[r], px[r], bytes))
		}
		w.Put(Movi(weights[0], 0x80))
		for r := range x {
			w.Put(Three("eor", B16, x[r], x[r], weights[0]))
		}
	}
	w.LoopBy("four", quads, 4, func() {
		read(Q, 16)
		for lane := range uint32(4) {
			step(lane)
		}
	})
	w.Loop("step", quads, func() {
		read(S, 4)
		step(0)
	})
}

// laneSteps multiplies 16-bit words: each step has four of x and as many rows
// of weights.
func laneSteps(w *Writer, x []V, px []X, weights []V, pw, quads X, sums [][]V) {
	w.Loop("step", quads, func() {
		for r := range x {
			w.Put(LoadPost(D, x[r], px[r], 8))
		}
		for lane := range uint32(4) {
			for c := range len(sums[0]) / 2 {
				wv := weights[c%2]
				w.Put(LoadPost(Q, wv, pw, 16))
				for r := range sums {
					w.Put(LongLane(H4, sums[r][2*c], wv, x[r], lane), LongLane(H8, sums[r][2*c+1], wv, x[r], lane))
				}
			}
		}
	})
}
