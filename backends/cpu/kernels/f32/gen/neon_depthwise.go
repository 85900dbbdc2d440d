package main

import . "github.com/nasc-dev/nasc/backends/cpu/kernels/a64"

// depthwiseNEON writes the kernels over windows of pixels, channels across the
// lanes: a depthwise convolution and the pools.
func depthwiseNEON(w *Writer) {
	windowNEON(w, "dw", "depthwiseNEON", "computes pixels of a depthwise convolution.")
	windowNEON(w, "max", "maxPoolNEON", "computes pixels of a maximum pool (lo: unused, hi: -Inf).")
	windowNEON(w, "add", "addPoolNEON", "computes pixels of a sum pool times lo (hi: 0).")
}

func windowNEON(w *Writer, op, name, doc string) {
	const (
		pixels, x, y, res, wbase, bias    = X(1), X(2), X(3), X(4), X(5), X(6)
		co, end, tap, wtap, row, wrow     = X(7), X(8), X(9), X(10), X(11), X(12)
		khLeft, kwLeft, xpix, ypix, xkw   = X(13), X(14), X(15), X(16), X(17)
		wkw, kh, kw, scratch, xkh         = X(19), X(20), X(21), X(22), X(23)
		wv, lo, hi, t0, t1, acc0, x0    V = 0, 28, 29, 30, 31, 16, 4
	)
	at := []X{24, 25}
	const most = 4
	w.Func(name, "dwTile", doc)
	for _, f := range []struct {
		offset int
		r      X
	}{
		{dwPixels, pixels},
		{dwX, x},
		{dwY, y},
		{dwRes, res},
		{dwW, wbase},
		{dwBias, bias},
		{dwXPix, xpix},
		{dwYPix, ypix},
		{dwXKW, xkw},
		{dwWKW, wkw},
		{dwKH, kh},
		{dwKW, kw},
		{dwXKH, xkh},
	} {
		loadField(w, f.offset, f.r)
	}
	dupField(w, dwLo, lo)
	dupField(w, dwHi, hi)

	// advance adds n times step to r.
	advance := func(r, step X, n int) {
		w.Op("ADD R%d<<%d, R%d", step, map[int]int{1: 0, 4: 2}[n], r)
	}
	// block computes p pixels of vecs registers, or of one channel, at offset co.
	block := func(p, vecs int, size Size) {
		acc := func(i, v int) V { return acc0 + V(i*vecs+v) }
		for i := range p {
			for v := range vecs {
				if op == "dw" {
					w.Put(Movi(acc(i, v), 0))
				} else {
					w.Put(Mov(acc(i, v), hi))
				}
			}
		}
		w.Op("MOVD R%d, R%d", co, row)
		w.Op("MOVD R%d, R%d", co, wrow)
		w.Op("MOVD R%d, R%d", kh, khLeft)
		w.Loop("kh", khLeft, func() {
			w.Op("MOVD R%d, R%d", row, tap)
			w.Op("MOVD R%d, R%d", wrow, wtap)
			w.Op("MOVD R%d, R%d", kw, kwLeft)
			w.Loop("kw", kwLeft, func() {
				if op == "dw" {
					w.Op("ADD R%d, R%d, R%d", wtap, wbase, at[0])
					for v := range vecs {
						w.Put(Load(size, wv+V(v), at[0], uint32(16*v)))
					}
					w.Op("ADD R%d, R%d", wkw, wtap)
				}
				w.Op("ADD R%d, R%d, R%d", tap, x, at[0])
				for i := range p {
					for v := range vecs {
						xv := x0 + V(i*vecs+v)
						w.Put(Load(size, xv, at[0], uint32(16*v)))
						switch op {
						case "dw":
							w.Put(Three("fmla", S4, acc(i, v), xv, wv+V(v)))
						case "add":
							w.Put(Three("fadd", S4, acc(i, v), acc(i, v), xv))
						case "max":
							maxNEON(w, acc(i, v), xv, t0, t1)
						}
					}
					if i < p-1 {
						w.Op("ADD R%d, R%d", xpix, at[0])
					}
				}
				w.Op("ADD R%d, R%d", xkw, tap)
			})
			w.Op("ADD R%d, R%d", xkh, row)
			loadField(w, dwWKH, scratch)
			w.Op("ADD R%d, R%d", scratch, wrow)
		})
		if op == "dw" {
			w.Op("ADD R%d, R%d, R%d", co, bias, at[0])
			for v := range vecs {
				w.Put(Load(size, wv+V(v), at[0], uint32(16*v)))
				for i := range p {
					w.Put(Three("fadd", S4, acc(i, v), acc(i, v), wv+V(v)))
				}
			}
			act := w.NewLabel("act")
			w.Op("CBZ R%d, %s", res, act)
			w.Op("ADD R%d, R%d, R%d", co, res, at[0])
			for i := range p {
				for v := range vecs {
					w.Put(Load(size, x0, at[0], uint32(16*v)), Three("fadd", S4, acc(i, v), acc(i, v), x0))
				}
				w.Op("ADD R%d, R%d", ypix, at[0])
			}
			w.Label(act)
		}
		w.Op("ADD R%d, R%d, R%d", co, y, at[0])
		for i := range p {
			for v := range vecs {
				switch op {
				case "dw":
					clampNEON(w, acc(i, v), t0, lo, hi)
				case "add":
					w.Put(Three("fmul", S4, acc(i, v), acc(i, v), lo))
				}
				w.Put(Store(size, acc(i, v), at[0], uint32(16*v)))
			}
			w.Op("ADD R%d, R%d", ypix, at[0])
		}
	}
	// group computes all channels of p pixels and moves on.
	group := func(p int) {
		w.Op("MOVD $0, R%d", co)
		loadField(w, dwC, end)
		for _, b := range []struct {
			channels, vecs int
			size           Size
		}{{8, 2, Q}, {4, 1, Q}, {1, 1, S}} {
			w.LoopBy("channels", end, b.channels, func() {
				block(p, b.vecs, b.size)
				w.Op("ADD $%d, R%d", 4*b.channels, co)
			})
		}
		advance(x, xpix, p)
		advance(y, ypix, p)
		same := w.NewLabel("same")
		w.Op("CBZ R%d, %s", res, same) // a residual that is not there stays nil
		advance(res, ypix, p)
		w.Label(same)
	}
	w.LoopBy("pixels", pixels, most, func() { group(most) })
	w.Loop("pixel", pixels, func() { group(1) })
	w.Op("RET")
}

// maxNEON is fmath.Max of a and b: a where it is greater or NaN, else b.
func maxNEON(w *Writer, a, b, t0, t1 V) {
	w.Put(Three("fcmgt", S4, t0, a, b), Three("fcmeq", S4, t1, a, a), Three("bic", B16, t1, t1, t0), Three("bit", B16, a, b, t1))
}
