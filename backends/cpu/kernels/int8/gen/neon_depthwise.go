package main

import . "github.com/nasc-dev/nasc/backends/cpu/kernels/a64"

// depthwiseNEON writes the depthwise kernels of 16 channels.
func depthwiseNEON(w *Writer) {
	depthwiseTile(w, "depthwiseNEON", "multiplies tap by tap in 16 bits.", 4, false, depthwiseWords)
	depthwiseTile(w, "depthwiseSumsNEON", "is depthwiseNEON that leaves the sums.", 4, true, depthwiseWords)
	depthwiseTile(w, "depthwiseDot", "multiplies four taps at once.", 2, false, depthwiseDots)
	depthwiseTile(w, "depthwiseSumsDot", "is depthwiseDot that leaves the sums.", 2, true, depthwiseDots)
}

// Registers that a group of taps uses.
const (
	dwTap, dwTapW X = 10, 12
	dwPixel       X = 19 // and up: addresses of the pixels' first taps
)

// depthwiseTile writes a kernel that takes most pixels at once, then one by one.
// The sums of pixel p are in the registers 16+4p to 19+4p; group adds one group
// of taps to them.
func depthwiseTile(w *Writer, name, doc string, most int, sums bool, group func(w *Writer, acc [][]V)) {
	const x, taps, groups, n, xStep, weights, init, y, yStep, mult, left = X(1), X(2), X(3), X(4), X(5), X(6), X(7), X(8), X(9), X(14), X(11)
	w.Func(name, "dwArgs", doc)
	w.Fields(map[int]X{
		dwX: x, dwTaps: taps, dwQuads: groups, dwN: n, dwXStep: xStep, dwW: weights, dwInit: init, dwY: y, dwYStep: yStep, dwMult: mult,
	})
	factors, p := vs(8, 4), packer{12, 13, 14, 15}
	if !sums {
		p.load(w, dwZero, dwLeast, dwMost, dwYFlip)
		for i, v := range factors {
			w.Put(Load(Q, v, mult, uint32(16*i)))
		}
	}
	pixels := func(count int) {
		acc := make([][]V, count)
		for i := range acc {
			acc[i] = vs(V(16+4*i), 4)
			for c, v := range acc[i] {
				if i == 0 {
					w.Put(Load(Q, v, init, uint32(16*c)))
				} else {
					w.Put(Mov(v, acc[0][c]))
				}
			}
			if i == 0 {
				w.Op("MOVD R%d, R%d", x, dwPixel)
			} else {
				w.Op("ADD R%d, R%d, R%d", xStep, dwPixel+X(i)-1, dwPixel+X(i))
			}
		}
		w.Op("ADD R%d, R%d, R%d", xStep, dwPixel+X(count)-1, x)
		w.Op("MOVD R%d, R%d", taps, dwTap)
		w.Op("MOVD R%d, R%d", weights, dwTapW)
		w.Op("MOVD R%d, R%d", groups, left)
		w.Loop("taps", left, func() { group(w, acc) })
		for _, s := range acc {
			if sums {
				for c, v := range s {
					w.Put(Store(Q, v, y, uint32(16*c)))
				}
			} else {
				scale(w, s, factors)
				p.bytes(w, s[:2])
				w.Put(Store(Q, s[0], y, 0))
			}
			w.Op("ADD R%d, R%d", yStep, y)
		}
	}
	w.LoopBy("pixels", n, most, func() { pixels(most) })
	w.Loop("pixel", n, func() { pixels(1) })
	w.Op("RET")
}

// depthwiseWords widens the bytes of one tap.
func depthwiseWords(w *Writer, acc [][]V) {
	const w0, w1, x, lo, hi V = 0, 1, 2, 3, 4
	w.Op("MOVD.P 8(R%d), R13", dwTap)
	w.Put(LoadPost(Q, w0, dwTapW, 16), LoadPost(Q, w1, dwTapW, 16))
	for i, s := range acc {
		w.Put(LoadAt(Q, x, dwPixel+X(i), 13), Extend("ushll", B8, lo, x), Extend("ushll", B16, hi, x))
		w.Put(Long("smlal", H4, s[0], lo, w0), Long("smlal", H8, s[1], lo, w0))
		w.Put(Long("smlal", H4, s[2], hi, w1), Long("smlal", H8, s[3], hi, w1))
	}
}

// depthwiseDots interleaves the bytes of four taps, whose top bits it flips.
func depthwiseDots(w *Writer, acc [][]V) {
	const flip V = 24
	weights, x, z := vs(0, 4), vs(4, 4), vs(25, 4)
	offsets := []X{13, 15, 16, 17}
	for i, r := range offsets {
		w.Op("MOVD.P 8(R%d), R%d", dwTap, r)
		w.Put(LoadPost(Q, weights[i], dwTapW, 16))
	}
	w.Put(Movi(flip, 0x80))
	for i, s := range acc {
		for t, r := range offsets {
			w.Put(LoadAt(Q, x[t], dwPixel+X(i), r), Three("eor", B16, x[t], x[t], flip))
		}
		for t := range 2 {
			w.Put(Three("zip1", B16, z[t], x[2*t], x[2*t+1]), Three("zip2", B16, z[2+t], x[2*t], x[2*t+1]))
		}
		for t := range 2 {
			w.Put(Three("zip1", H8, x[2*t], z[2*t], z[2*t+1]), Three("zip2", H8, x[2*t+1], z[2*t], z[2*t+1]))
		}
		for c, v := range s {
			w.Put(Dot(v, weights[c], x[c]))
		}
	}
}
