package plain

import (
	"fmt"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// CompareSpec compares X (shape A) with X2 (shape B), of one type, with
// broadcasting; Direction is EQ, NE, LT, LE, GT or GE.
type CompareSpec struct {
	Type, Direction string
	A, B            []int
}

// Compare prepares a comparison with bools as its result.
func Compare(s CompareSpec, _ isa.Level) (Kernel, error) {
	w, err := newWalk(s.A, s.B)
	if err != nil {
		return nil, err
	}
	name := "compare_" + s.Direction + "_" + s.Type
	switch s.Type {
	case "f32":
		return compare[float32](name, w, s.Direction)
	case "i64":
		return compare[int64](name, w, s.Direction)
	case "i32":
		return compare[int32](name, w, s.Direction)
	case "u8":
		return compare[uint8](name, w, s.Direction)
	case "s8":
		return compare[int8](name, w, s.Direction)
	}
	return nil, fmt.Errorf("kernel compare: none of %s", s.Type)
}

func compare[E number](name string, w walk, direction string) (Kernel, error) {
	f := map[string]func(a, b E) bool{
		"EQ": func(a, b E) bool { return a == b },
		"NE": func(a, b E) bool { return !(a == b) },
		"LT": func(a, b E) bool { return a < b },
		"LE": func(a, b E) bool { return a <= b },
		"GT": func(a, b E) bool { return a > b },
		"GE": func(a, b E) bool { return a >= b },
	}[direction]
	if f == nil {
		return nil, fmt.Errorf("kernel compare: direction %q", direction)
	}
	return pairs(name, w, f), nil
}

// LogicSpec is and, or or xor of bools with broadcasting.
type LogicSpec struct {
	Op   string
	A, B []int
}

// Logic prepares a logical operation.
func Logic(s LogicSpec, _ isa.Level) (Kernel, error) {
	w, err := newWalk(s.A, s.B)
	if err != nil {
		return nil, err
	}
	f := map[string]func(a, b bool) bool{
		"and": func(a, b bool) bool { return a && b },
		"or":  func(a, b bool) bool { return a || b },
		"xor": func(a, b bool) bool { return a != b },
	}[s.Op]
	if f == nil {
		return nil, fmt.Errorf("kernel logic: none is %q", s.Op)
	}
	return pairs(s.Op, w, f), nil
}

// IntegerSpec is arithmetic on i64 or i32 with broadcasting, wrapping: add,
// subtract, multiply, maximum or minimum.
type IntegerSpec struct {
	Type, Op string
	A, B     []int
}

// Integer prepares such arithmetic.
func Integer(s IntegerSpec, _ isa.Level) (Kernel, error) {
	w, err := newWalk(s.A, s.B)
	if err != nil {
		return nil, err
	}
	switch s.Type {
	case "i64":
		return integer[int64](s, w)
	case "i32":
		return integer[int32](s, w)
	}
	return nil, fmt.Errorf("kernel %s: none of %s", s.Op, s.Type)
}

func integer[E int64 | int32](s IntegerSpec, w walk) (Kernel, error) {
	f := map[string]func(a, b E) E{
		"add":      func(a, b E) E { return a + b },
		"subtract": func(a, b E) E { return a - b },
		"multiply": func(a, b E) E { return a * b },
		"maximum":  func(a, b E) E { return max(a, b) },
		"minimum":  func(a, b E) E { return min(a, b) },
	}[s.Op]
	if f == nil {
		return nil, fmt.Errorf("kernel: no %s of integers", s.Op)
	}
	return pairs(s.Op+"_"+s.Type, w, f), nil
}

// SelectSpec takes elements of Elem bytes from X2 (shape A) where the bools of
// X (shape P) hold and from X3 (shape B) elsewhere, with broadcasting.
type SelectSpec struct {
	Elem    int
	P, A, B []int
}

// Select prepares a selection.
func Select(s SelectSpec, _ isa.Level) (Kernel, error) {
	w, err := newWalk(s.P, s.A, s.B)
	if err != nil {
		return nil, err
	}
	switch s.Elem {
	case 1:
		return choose[uint8](w), nil
	case 4:
		return choose[uint32](w), nil
	case 8:
		return choose[uint64](w), nil
	}
	return nil, fmt.Errorf("kernel select: none of %d-byte elements", s.Elem)
}

func choose[E any](w walk) *op {
	sp, sx, sz := w.step(0), w.step(1), w.step(2)
	return &op{name: "select", tiles: units(w.n), run: func(lo, hi int, a *Args) {
		p, x, z, y := elems[bool](a.X), elems[E](a.X2), elems[E](a.X3), elems[E](a.Y)
		for i := lo * unit; i < min(hi*unit, w.n); {
			n := w.rest(i, min(hi*unit, w.n))
			k, u, v := w.at(i)
			for j := range y[i : i+n] {
				if p[k] {
					y[i+j] = x[u]
				} else {
					y[i+j] = z[v]
				}
				k, u, v = k+sp, u+sx, v+sz
			}
			i += n
		}
	}}
}

// ArgMaxSpec finds, for f32 [Outer, N, Inner], the index of the greatest along
// N, the first of equals, as i64 [Outer, Inner].
type ArgMaxSpec struct{ Outer, N, Inner int }

// ArgMax prepares it.
func ArgMax(s ArgMaxSpec, _ isa.Level) (Kernel, error) {
	if s.Outer < 1 || s.N < 1 || s.Inner < 1 {
		return nil, fmt.Errorf("kernel arg_max: %+v", s)
	}
	return &op{name: "arg_max", tiles: s.Outer, run: func(lo, hi int, a *Args) {
		x, y := elems[float32](a.X), elems[int64](a.Y)
		for o := lo; o < hi; o++ {
			for i := range s.Inner {
				base, best := o*s.N*s.Inner+i, 0
				top := x[base]
				for j := 1; j < s.N; j++ {
					if v := x[base+j*s.Inner]; v > top {
						top, best = v, j
					}
				}
				y[o*s.Inner+i] = int64(best)
			}
		}
	}}, nil
}
