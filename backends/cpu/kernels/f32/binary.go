package f32

import (
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// BinarySpec is an elementwise function of two tensors with numpy broadcasting:
// X of shape A, X2 of shape B. Op is add, subtract, multiply, divide, maximum,
// minimum, power or remainder. Y may be X or X2 where the shapes are equal.
type BinarySpec struct {
	Op   string
	A, B []int
	Act  Act
}

// Shape gives the shape of the result.
func (s BinarySpec) Shape() ([]int, error) {
	n := max(len(s.A), len(s.B))
	y := make([]int, n)
	for i := range y {
		a, b := dimAt(s.A, n, i), dimAt(s.B, n, i)
		if a != b && a != 1 && b != 1 {
			return nil, specError(s.Op, fmt.Sprintf("shapes %v and %v", s.A, s.B), "shapes that broadcast")
		}
		y[i] = a
		if a == 1 {
			y[i] = b
		}
	}
	return y, nil
}

func dimAt(s []int, rank, i int) int {
	if j := i - (rank - len(s)); j >= 0 {
		return s[j]
	}
	return 1
}

var binaries = []struct {
	name string
	f    func(a, b float32) float32
}{
	{"add", func(a, b float32) float32 { return a + b }},
	{"subtract", func(a, b float32) float32 { return a - b }},
	{"multiply", func(a, b float32) float32 { return float32(a * b) }},
	{"divide", func(a, b float32) float32 { return a / b }},
	{"maximum", fmath.Max},
	{"minimum", fmath.Min},
	{"power", fmath.Pow},
	{"remainder", fmath.Rem},
}

// binaryRun computes n results from operands that are whole vectors or, with
// aone or bone, one value each.
type binaryRun func(y, a, b []float32, aone, bone bool)

func binaryFunc(name string, l isa.Level) (binaryRun, error) {
	if f := vectorBinary(name, l); f != nil {
		return f, nil
	}
	for _, r := range binaries {
		if r.name != name {
			continue
		}
		f := r.f
		return func(y, a, b []float32, aone, bone bool) {
			for i := range y {
				j, k := i, i
				if aone {
					j = 0
				}
				if bone {
					k = 0
				}
				y[i] = f(a[j], b[k])
			}
		}, nil
	}
	return nil, specError("binary", fmt.Sprintf("function %q", name), "add, subtract, multiply, divide, maximum, minimum, power or remainder")
}

// axis is one axis of a broadcast after merging: its extent and the element
// strides of both operands (0: repeated).
type axis struct{ n, a, b int }

// mergeAxes drops axes of extent 1 and joins neighbours that both operands walk
// the same way, so that the innermost run is as long as possible.
func mergeAxes(a, b, y []int) []axis {
	var out []axis
	sa, sb := 1, 1
	for i := len(y) - 1; i >= 0; i-- {
		da, db := dimAt(a, len(y), i), dimAt(b, len(y), i)
		x := axis{n: y[i], a: sa, b: sb}
		if da == 1 {
			x.a = 0
		}
		if db == 1 {
			x.b = 0
		}
		sa, sb = sa*da, sb*db
		if y[i] == 1 {
			continue
		}
		if k := len(out) - 1; k >= 0 && x.a == out[k].a*out[k].n && x.b == out[k].b*out[k].n {
			out[k].n *= x.n
			continue
		}
		out = append(out, x)
	}
	if len(out) == 0 {
		out = []axis{{n: 1}}
	}
	slices.Reverse(out)
	return out
}

// operands are the elements of a and b that give element i of the result.
func operands(axes []axis, i int) (a, b int) {
	for k := len(axes) - 1; k >= 0; k-- {
		x := axes[k]
		a, b = a+i%x.n*x.a, b+i%x.n*x.b
		i /= x.n
	}
	return a, b
}

// Binary prepares a broadcasting elementwise function.
func Binary(s BinarySpec, l isa.Level) (Kernel, error) {
	shape, err := s.Shape()
	if err != nil {
		return nil, err
	}
	f, err := binaryFunc(s.Op, l)
	if err != nil {
		return nil, err
	}
	ep, err := s.Act.epilogue(l)
	if err != nil {
		return nil, err
	}
	clamp := ep.then
	if k := s.Act.Kind; k == "relu" || k == "clamp" {
		g, err := unaryFunc(k, Params{Min: s.Act.Min, Max: s.Act.Max}, l)
		if err != nil {
			return nil, err
		}
		clamp = func(y []float32) { g(y, y) }
	}
	axes := mergeAxes(s.A, s.B, shape)
	in := axes[len(axes)-1]
	outer := axes[:len(axes)-1]
	rows := 1
	for _, x := range outer {
		rows *= x.n
	}
	// A unit is some rows, or a part of one.
	perRow := ceilDiv(in.n, elementUnit)
	rowsPer := max(1, elementUnit/max(in.n, 1))
	if perRow > 1 {
		rowsPer = 1
	}
	groups := ceilDiv(rows, rowsPer)
	if k := len(outer) - 1; k >= 0 && in.n <= shortRow && in.a == 1 && in.b == 1 && outer[k].n > 1 && outer[k].a == in.n && outer[k].b == 0 {
		return shortRows(s, l, axes, f, clamp, ep), nil
	}
	return &op{
		name: fmt.Sprintf("%s_f32_%v_%v_%s%s", s.Op, s.A, s.B, l, ep.suffix()), tiles: groups * perRow,
		run: func(lo, hi int, a *Args) {
			x, x2, y := floats(a.X), floats(a.X2), floats(a.Y)
			for u := lo; u < hi; u++ {
				r0 := u / perRow * rowsPer
				b, e := u%perRow*elementUnit, min((u%perRow+1)*elementUnit, in.n)
				for r := r0; r < min(r0+rowsPer, rows); r++ {
					ia, ib := b*in.a, b*in.b
					for i, q := len(outer)-1, r; i >= 0; i-- {
						d := q % outer[i].n
						q /= outer[i].n
						ia, ib = ia+d*outer[i].a, ib+d*outer[i].b
					}
					o := y[r*in.n+b : r*in.n+e]
					f(o, x[ia:], x2[ib:], in.a == 0, in.b == 0)
					if clamp != nil {
						clamp(o)
					}
				}
			}
		},
	}, nil
}

// shortRow bounds the rows that are taken many at a time.
const shortRow = 256

// shortRows prepares a function of x and a short row that many rows of x share:
// the scratch memory holds copies of the row, one after the other.
func shortRows(s BinarySpec, l isa.Level, axes []axis, f binaryRun, then func(y []float32), ep epilogue) Kernel {
	outer, row := axes[:len(axes)-2], axes[len(axes)-1].n
	each := axes[len(axes)-2].n // rows of x that share one
	copies := min(each, max(2, 2*shortRow/row))
	rows := each
	for _, x := range outer {
		rows *= x.n
	}
	per := max(copies, elementUnit/row)
	parts := ceilDiv(each, per)
	return &op{
		name: fmt.Sprintf("%s_f32_%v_%v_%s%s", s.Op, s.A, s.B, l, ep.suffix()), tiles: rows / each * parts, scratch: align64(copies * row * 4),
		run: func(lo, hi int, a *Args) {
			x, y, b := floats(a.X), floats(a.Y), floats(a.Scratch)[:copies*row]
			held := -1
			for u := lo; u < hi; u++ {
				q := u / parts
				ia, ib := 0, 0
				for i, q := len(outer)-1, q; i >= 0; i-- {
					d := q % outer[i].n
					q /= outer[i].n
					ia, ib = ia+d*outer[i].a, ib+d*outer[i].b
				}
				if held != q {
					for i := 0; i < len(b); i += row {
						copy(b[i:i+row], floats(a.X2)[ib:])
					}
					held = q
				}
				from, to := cut(each, parts, u%parts), cut(each, parts, u%parts+1)
				in, out := x[ia+from*row:ia+to*row], y[(q*each+from)*row:(q*each+to)*row]
				for len(out) > 0 {
					n := min(len(out), len(b))
					f(out[:n], in[:n], b[:n], false, false)
					if then != nil {
						then(out[:n])
					}
					in, out = in[n:], out[n:]
				}
			}
		},
	}
}
