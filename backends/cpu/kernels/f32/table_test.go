package f32

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa/isatest"
)

// TestTileLayout holds the argument blocks to the offsets that gen/ writes.
func TestTileLayout(t *testing.T) {
	var a tile
	var d dwTile
	var w winogradTile
	for _, f := range []struct {
		name      string
		got, want uintptr
	}{
		{"a", unsafe.Offsetof(a.a), 0},
		{"b", unsafe.Offsetof(a.b), 8},
		{"stride", unsafe.Offsetof(a.stride), 16},
		{"kstep", unsafe.Offsetof(a.kstep), 24},
		{"w", unsafe.Offsetof(a.w), 32},
		{"ldw", unsafe.Offsetof(a.ldw), 40},
		{"off", unsafe.Offsetof(a.off), 48},
		{"segs", unsafe.Offsetof(a.segs), 56},
		{"seg", unsafe.Offsetof(a.seg), 64},
		{"y", unsafe.Offsetof(a.y), 72},
		{"yb", unsafe.Offsetof(a.yb), 80},
		{"ldy", unsafe.Offsetof(a.ldy), 88},
		{"res", unsafe.Offsetof(a.res), 96},
		{"resb", unsafe.Offsetof(a.resb), 104},
		{"bias", unsafe.Offsetof(a.bias), 112},
		{"lo", unsafe.Offsetof(a.lo), 120},
		{"hi", unsafe.Offsetof(a.hi), 124},
		{"mask", unsafe.Offsetof(a.mask), 128},
		{"flags", unsafe.Offsetof(a.flags), 136},
		{"next", unsafe.Offsetof(a.next), 144},
		{"nextStep", unsafe.Offsetof(a.nextStep), 168},
		{"dw x", unsafe.Offsetof(d.x), 0},
		{"dw w", unsafe.Offsetof(d.w), 8},
		{"dw y", unsafe.Offsetof(d.y), 16},
		{"dw bias", unsafe.Offsetof(d.bias), 24},
		{"dw res", unsafe.Offsetof(d.res), 32},
		{"dw c", unsafe.Offsetof(d.c), 40},
		{"dw pixels", unsafe.Offsetof(d.pixels), 48},
		{"dw kh", unsafe.Offsetof(d.kh), 56},
		{"dw kw", unsafe.Offsetof(d.kw), 64},
		{"dw xkh", unsafe.Offsetof(d.xkh), 72},
		{"dw xkw", unsafe.Offsetof(d.xkw), 80},
		{"dw wkh", unsafe.Offsetof(d.wkh), 88},
		{"dw wkw", unsafe.Offsetof(d.wkw), 96},
		{"dw xpix", unsafe.Offsetof(d.xpix), 104},
		{"dw ypix", unsafe.Offsetof(d.ypix), 112},
		{"dw lo", unsafe.Offsetof(d.lo), 120},
		{"dw hi", unsafe.Offsetof(d.hi), 124},
		{"dw left", unsafe.Offsetof(d.left), 128},
		{"dw right", unsafe.Offsetof(d.right), 136},
		{"dw sevens", unsafe.Offsetof(d.sevens), 144},
		{"winograd x", unsafe.Offsetof(w.x), 0},
		{"winograd y", unsafe.Offsetof(w.y), 8},
		{"winograd row", unsafe.Offsetof(w.row), 16},
		{"winograd step", unsafe.Offsetof(w.step), 24},
		{"winograd tile", unsafe.Offsetof(w.tile), 32},
		{"winograd pos", unsafe.Offsetof(w.pos), 40},
		{"winograd tmp", unsafe.Offsetof(w.tmp), 48},
		{"winograd n", unsafe.Offsetof(w.n), 56},
		{"winograd c", unsafe.Offsetof(w.c), 64},
		{"winograd bias", unsafe.Offsetof(w.bias), 72},
		{"winograd res", unsafe.Offsetof(w.res), 80},
		{"winograd lo", unsafe.Offsetof(w.lo), 88},
		{"winograd hi", unsafe.Offsetof(w.hi), 92},
	} {
		if f.got != f.want {
			t.Errorf("field %s lies at %d, gen/ has %d", f.name, f.got, f.want)
		}
	}
}

// TestGemmTable runs every matrix micro-kernel against the portable one, with
// all flags, with and without residual, whole and partial last vectors, rows
// from two bases and with special values.
func TestGemmTable(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		g := gemmFor(l)
		r := rand.New(rand.NewPCG(7, 1))
		for v := range g.run {
			for rows := 1; rows <= len(g.run[v]); rows++ {
				for trial := range 36 {
					lanes := (v + 1) * g.lanes
					cols := lanes - r.IntN(g.lanes)
					if trial < 4 {
						cols = lanes
					}
					seg, segs, kstep := 1+r.IntN(20), 1+r.IntN(3), 1+trial/13%2
					half, stride, ldy := (rows+1)/2, kstep*seg+r.IntN(5), cols+r.IntN(7)
					x := randFloats(r, 2*((half+1)*stride+segs*seg*kstep))
					w := randFloats(r, segs*seg*lanes)
					if trial%12 == 11 || trial == 24 {
						x[r.IntN(len(x))] = float32(math.Inf(1))
						w[r.IntN(len(w))] = float32(math.NaN())
					}
					off := make([]int64, segs)
					for i := range off {
						off[i] = int64(4 * i * seg * kstep)
					}
					bias, res := randFloats(r, lanes), randFloats(r, 2*(half+1)*ldy)
					yv, yp := randFloats(r, 2*(half+1)*ldy), alignedFloats(2*(half+1)*ldy)
					copy(yp, yv)
					at := func(x []float32, i int) uintptr { return uintptr(unsafe.Pointer(&x[i])) }
					tl := tile{
						a: at(x, 0), b: at(x, len(x)/2), stride: uintptr(4 * stride), kstep: uintptr(4 * kstep), w: unsafe.Pointer(&w[0]), ldw: uintptr(4 * lanes),
						off: unsafe.Pointer(&off[0]), segs: uintptr(segs), seg: uintptr(seg), ldy: uintptr(4 * ldy), bias: unsafe.Pointer(&bias[0]),
						lo: -1, hi: 1, mask: 1<<(cols-v*g.lanes) - 1, flags: uint64(trial % 4), rows: rows, cols: cols, next: at(w, 0),
					}
					if trial%3 == 0 {
						tl.lo, tl.hi = float32(math.Inf(-1)), float32(math.Inf(1))
						tl.res, tl.resb = at(res, 0), at(res, len(res)/2)
						switch {
						case trial/3%3 == 1:
							tl.flags |= tilePlain
						case trial/3%3 == 2 && g.hardSwish:
							tl.flags |= tileHardSwish
						}
					}
					tl.y, tl.yb = at(yv, 0), at(yv, len(yv)/2)
					g.run[v][rows-1](&tl)
					tp := tl
					tp.y, tp.yb = at(yp, 0), at(yp, len(yp)/2)
					// The portable kernel takes sixteen columns at a time.
					for c := 0; c < cols; c += 16 {
						tq := tp
						tq.cols = min(16, cols-c)
						tq.y, tq.yb = tp.y+uintptr(4*c), tp.yb+uintptr(4*c)
						tq.w, tq.bias = unsafe.Pointer(&w[c]), unsafe.Pointer(&bias[c])
						if tp.res != 0 {
							tq.res, tq.resb = tp.res+uintptr(4*c), tp.resb+uintptr(4*c)
						}
						gemmPortable(&tq)
					}
					runtime.KeepAlive([][]float32{x, w, res, bias})
					sameBits(t, fmt.Sprintf("%d rows of %d", rows, lanes), yv, yp)
				}
			}
		}
	})
}

func TestTable(t *testing.T) {
	for _, l := range isa.Available() {
		seen := map[string]bool{}
		for _, m := range Table(l) {
			if seen[m.Name] {
				t.Errorf("%v lists %s twice", l, m.Name)
			}
			seen[m.Name] = true
		}
		if len(seen) < 30 {
			t.Errorf("%v lists only %d micro-kernels", l, len(seen))
		}
	}
}
