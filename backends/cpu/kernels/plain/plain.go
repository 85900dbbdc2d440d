// Package plain holds the CPU engine's operators for what networks do beside
// their arithmetic, in portable Go: conversions, comparisons, selections,
// logic and whole numbers, with broadcasting, and the ops of models whose
// activation scales are found while they run. Like the other kernel packages
// each operator is prepared once from a plain specification, run in units, and
// does not allocate. It knows no graphs and may import kernels/isa and the
// standard library only.
package plain

import (
	"fmt"
	"slices"
	"unsafe"
)

// Args is the memory of one run; X3 and X4 are further operands, and Y2 and Y3
// further results, of the few operators that have some.
type Args struct {
	X, X2, Y []byte
	Scratch  []byte
	X3, X4   []byte
	Y2, Y3   []byte
}

// Kernel is a prepared operator. Run computes units [lo, hi); any partition
// among workers gives the same bits.
type Kernel interface {
	Tiles() int
	ScratchBytes() int
	Run(lo, hi int, a *Args)
	Name() string
}

// Checker is implemented by operators that must look at their operands before
// they may run.
type Checker interface{ Check(a *Args) error }

// op is a name, a unit count and a closure over what was prepared.
type op struct {
	name  string
	tiles int
	run   func(lo, hi int, a *Args)
	check func(a *Args) error
}

func (o *op) Name() string            { return o.name }
func (o *op) Tiles() int              { return o.tiles }
func (o *op) ScratchBytes() int       { return 0 }
func (o *op) Run(lo, hi int, a *Args) { o.run(lo, hi, a) }

// Check says why the operands cannot be used.
func (o *op) Check(a *Args) error {
	if o.check == nil {
		return nil
	}
	return o.check(a)
}

// elems reads memory as elements.
func elems[E any](b []byte) []E {
	var e E
	if len(b) == 0 {
		return nil
	}
	return unsafe.Slice((*E)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(e)))
}

// unit is how many elements one unit has.
const unit = 8192

func units(n int) int { return (n + unit - 1) / unit }

// walk is how operands with broadcasting are read: for each axis of the result
// after joining, its extent and the operands' strides in elements.
type walk struct {
	n    int // elements of the result
	axes []axis
}

type axis struct {
	n int
	s [3]int
}

// newWalk joins the axes of up to three operands.
func newWalk(shapes ...[]int) (walk, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	full := slices.Repeat([]int{1}, rank)
	for _, s := range shapes {
		for i, d := range s {
			f := &full[rank-len(s)+i]
			if d != *f && d != 1 && *f != 1 {
				return walk{}, fmt.Errorf("kernel: shapes %v do not broadcast", shapes)
			}
			if *f == 1 {
				*f = d
			}
		}
	}
	w := walk{n: 1}
	var step [3]int
	for k := range step {
		step[k] = 1
	}
	for i := rank - 1; i >= 0; i-- {
		a := axis{n: full[i]}
		w.n *= full[i]
		for k, s := range shapes {
			d := 1
			if j := i - rank + len(s); j >= 0 {
				d = s[j]
			}
			if d > 1 {
				a.s[k] = step[k]
			}
			step[k] *= d
		}
		if full[i] == 1 {
			continue
		}
		if k := len(w.axes) - 1; k >= 0 {
			if b := w.axes[k]; a.s[0] == b.s[0]*b.n && a.s[1] == b.s[1]*b.n && a.s[2] == b.s[2]*b.n {
				w.axes[k].n *= a.n
				continue
			}
		}
		w.axes = append(w.axes, a)
	}
	return w, nil
}

// at gives the operands' elements for element i of the result.
func (w *walk) at(i int) (a, b, c int) {
	for k := range w.axes {
		x := &w.axes[k]
		r := i % x.n
		i /= x.n
		a, b, c = a+r*x.s[0], b+r*x.s[1], c+r*x.s[2]
	}
	return a, b, c
}

// number is a type that conversions and comparisons know.
type number interface {
	float32 | int64 | int32 | uint8 | int8
}

// rest is how many elements from i on, below hi, lie on one line: operands are
// read a fixed step apart there.
func (w *walk) rest(i, hi int) int {
	if len(w.axes) == 0 {
		return hi - i
	}
	long := w.axes[0].n
	return min(long-i%long, hi-i)
}

// step is an operand's distance between neighbours of a run.
func (w *walk) step(k int) int {
	if len(w.axes) == 0 {
		return 0
	}
	return w.axes[0].s[k]
}

// pairs applies f to broadcast operands.
func pairs[E, Y any](name string, w walk, f func(a, b E) Y) *op {
	sa, sb := w.step(0), w.step(1)
	return &op{name: name, tiles: units(w.n), run: func(lo, hi int, a *Args) {
		x, x2, y := elems[E](a.X), elems[E](a.X2), elems[Y](a.Y)
		for i := lo * unit; i < min(hi*unit, w.n); {
			n := w.rest(i, min(hi*unit, w.n))
			p, q, _ := w.at(i)
			for k := range y[i : i+n] {
				y[i+k] = f(x[p], x2[q])
				p, q = p+sa, q+sb
			}
			i += n
		}
	}}
}
