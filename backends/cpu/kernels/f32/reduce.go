package f32

import (
	"fmt"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// ReduceSpec reduces Axes (not negative) of Shape; Op is sum, mean, max, min or
// prod. The elements of one result, in row-major order of the reduced axes, are
// the elements of fmath.Sum16 (Max16, ...); mean is the sum times InvCount.
type ReduceSpec struct {
	Op    string
	Shape []int
	Axes  []int
}

var reductions = []struct {
	name, fold string // fold: the binary function
	init       float32
	row        func(x []float32) float32
}{
	{"sum", "add", 0, fmath.Sum16},
	{"mean", "add", 0, fmath.Sum16},
	{"max", "maximum", float32(math.Inf(-1)), fmath.Max16},
	{"min", "minimum", float32(math.Inf(1)), fmath.Min16},
	{"prod", "multiply", 1, fmath.Prod16},
}

// span is a run of axes that are all reduced or all kept.
type span struct {
	n       int
	reduced bool
}

// spans joins neighbouring axes of one kind and drops those of extent 1.
func spans(shape, axes []int) []span {
	var out []span
	for i, d := range shape {
		r := slices.Contains(axes, i)
		switch k := len(out) - 1; {
		case d == 1:
		case k >= 0 && out[k].reduced == r:
			out[k].n *= d
		default:
			out = append(out, span{d, r})
		}
	}
	return out
}

// Reduce prepares a reduction.
func Reduce(s ReduceSpec, l isa.Level) (Kernel, error) {
	i := slices.IndexFunc(reductions, func(r struct {
		name, fold string
		init       float32
		row        func(x []float32) float32
	},
	) bool {
		return r.name == s.Op
	})
	if i < 0 {
		return nil, specError("reduce", fmt.Sprintf("operation %q", s.Op), "sum, mean, max, min or prod")
	}
	for _, a := range s.Axes {
		if a < 0 || a >= len(s.Shape) {
			return nil, specError("reduce", fmt.Sprintf("axis %d", a), "an axis of %v", s.Shape)
		}
	}
	red := reductions[i]
	fold, err := binaryFunc(red.fold, l)
	if err != nil {
		return nil, err
	}
	row := red.row
	switch s.Op {
	case "sum", "mean":
		row = rowsFor(l).sum
	case "max":
		row = rowsFor(l).max
	case "min":
		row = rowsFor(l).min
	}
	n := 1
	for i, d := range s.Shape {
		if slices.Contains(s.Axes, i) {
			n *= d
		}
	}
	total := product(s.Shape) / max(n, 1)
	scale := float32(1)
	if s.Op == "mean" {
		scale = fmath.InvCount(n)
	}
	k := &op{name: fmt.Sprintf("reduce_%s_f32_%v_%v_%s", s.Op, s.Shape, s.Axes, l)}
	sp := spans(s.Shape, s.Axes)
	if len(sp) == 0 {
		sp = []span{{1, true}}
	}
	if !sp[0].reduced {
		sp = append([]span{}, sp...)
	} else {
		sp = append([]span{{1, false}}, sp...) // outer, reduced, ...
	}
	switch {
	case n == 1 || len(sp) == 1:
		// Every result is one element: fold it with the initial value, as the
		// definition does.
		k.tiles = ceilDiv(total, elementUnit)
		k.run = func(lo, hi int, a *Args) {
			for j := lo * elementUnit; j < min(hi*elementUnit, total); j++ {
				floats(a.Y)[j] = float32(row(floats(a.X)[j:j+1]) * scale)
			}
		}
	case len(sp) == 2:
		per := rowUnit(n)
		k.tiles = ceilDiv(total, per)
		k.run = func(lo, hi int, a *Args) {
			x, y := floats(a.X), floats(a.Y)
			for r := lo * per; r < min(hi*per, total); r++ {
				y[r] = float32(row(x[r*n:(r+1)*n]) * scale)
			}
		}
	case len(sp) == 3:
		reduceMiddle(k, sp[0].n, n, sp[2].n, red.init, scale, s.Op == "mean", fold, l)
	default:
		k.tiles, k.scratch = ceilDiv(total, 64), align64(n*4)
		kept, reduced := walkers(s.Shape, s.Axes)
		k.run = func(lo, hi int, a *Args) {
			x, y, buf := floats(a.X), floats(a.Y), floats(a.Scratch)[:n]
			for r := lo * 64; r < min(hi*64, total); r++ {
				at := kept.offset(r)
				for i := range buf {
					buf[i] = x[at+reduced.offset(i)]
				}
				y[r] = float32(row(buf) * scale)
			}
		}
	}
	return k, nil
}

// reduceMiddle reduces the middle axis of [outer, n, inner]: sixteen partial rows
// of up to middleCols columns, then the tree.
func reduceMiddle(k *op, outer, n, inner int, init, scale float32, mean bool, fold binaryRun, l isa.Level) {
	const p = fmath.Partials
	cols := min(inner, middleCols)
	parts := ceilDiv(inner, cols)
	mul, err := binaryFunc("multiply", l)
	if err != nil {
		panic("BUG: no multiply: " + err.Error())
	}
	scales := []float32{scale}
	k.tiles, k.scratch = outer*parts, align64(p*cols*4)
	k.run = func(lo, hi int, a *Args) {
		buf := floats(a.Scratch)
		for u := lo; u < hi; u++ {
			c0, c1 := cut(inner, parts, u%parts), cut(inner, parts, u%parts+1)
			w := c1 - c0
			x, y := floats(a.X)[u/parts*n*inner:], floats(a.Y)[u/parts*inner+c0:u/parts*inner+c1]
			for i := range buf[:p*w] {
				buf[i] = init
			}
			i := 0
			if w == inner { // the rows of sixteen partial results follow each other
				for ; i+p <= n; i += p {
					fold(buf[:p*w], buf[:p*w], x[i*w:(i+p)*w], false, false)
				}
			}
			for ; i < n; i++ {
				acc := buf[i%p*w : (i%p+1)*w]
				fold(acc, acc, x[i*inner+c0:i*inner+c1], false, false)
			}
			for h := p / 2; h > 0; h /= 2 {
				fold(buf[:h*w], buf[:h*w], buf[h*w:2*h*w], false, false)
			}
			copy(y, buf[:w])
			if mean {
				mul(y, y, scales, false, true)
			}
		}
	}
}

// middleCols bounds the columns of one unit, so that the partial rows stay in
// the first level cache.
const middleCols = 512

// walker turns a flat index over some axes into an element offset.
type walker struct{ n, stride []int }

func (w *walker) offset(i int) int {
	at := 0
	for a := len(w.n) - 1; a >= 0; a-- {
		at += i % w.n[a] * w.stride[a]
		i /= w.n[a]
	}
	return at
}

func walkers(shape, axes []int) (kept, reduced walker) {
	stride := product(shape)
	for i, d := range shape {
		stride /= max(d, 1)
		w := &kept
		if slices.Contains(axes, i) {
			w = &reduced
		}
		w.n, w.stride = append(w.n, d), append(w.stride, stride)
	}
	return kept, reduced
}
