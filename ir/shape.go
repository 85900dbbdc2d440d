package ir

import (
	"fmt"
	"strconv"
	"strings"
)

// Batch is the symbolic batch size N as a dimension. A negative dimension −k
// means k·N, so that a reshape may merge the batch with other axes.
const Batch = -1

// Shape is the extent of each axis; negative entries are multiples of the
// symbolic batch (see Batch). A scalar has an empty Shape.
type Shape []int

// String prints [N,28,28,3].
func (s Shape) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(dimString(d))
	}
	b.WriteByte(']')
	return b.String()
}

func dimString(d int) string {
	switch {
	case d == Batch:
		return "N"
	case d < 0:
		return strconv.Itoa(-d) + "N"
	}
	return strconv.Itoa(d)
}

func parseDim(s string) (int, error) {
	if n, ok := strings.CutSuffix(s, "N"); ok {
		if n == "" {
			return Batch, nil
		}
		k, err := strconv.Atoi(n)
		if err != nil || k < 1 {
			return 0, fmt.Errorf("bad dimension %q", s)
		}
		return -k, nil
	}
	k, err := strconv.Atoi(s)
	if err != nil || k < 0 {
		return 0, fmt.Errorf("bad dimension %q", s)
	}
	return k, nil
}

// Equal compares extents.
func (s Shape) Equal(t Shape) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range s {
		if s[i] != t[i] {
			return false
		}
	}
	return true
}

// Clone copies the shape.
func (s Shape) Clone() Shape { return append(Shape{}, s...) }

// Static says that no axis depends on the batch.
func (s Shape) Static() bool {
	for _, d := range s {
		if d < 0 {
			return false
		}
	}
	return true
}

// Elems is the number of elements; the symbolic batch counts as 1.
func (s Shape) Elems() int {
	n := 1
	for _, d := range s {
		if d < 0 {
			d = -d
		}
		n *= d
	}
	return n
}

// With replaces the symbolic batch by n.
func (s Shape) With(n int) Shape {
	t := s.Clone()
	for i, d := range t {
		if d < 0 {
			t[i] = -d * n
		}
	}
	return t
}

// MulDims multiplies dimensions; at most one factor may be symbolic.
func MulDims(dims ...int) (int, error) {
	p, sym := 1, false
	for _, d := range dims {
		if d < 0 {
			if sym {
				return 0, fmt.Errorf("product of two symbolic dimensions")
			}
			sym, d = true, -d
		}
		p *= d
	}
	if sym {
		p = -p
	}
	return p, nil
}

// Broadcast gives the shape of an elementwise operation on a and b by numpy's
// rule: trailing axes are matched, an extent of 1 stretches.
func Broadcast(a, b Shape) (Shape, error) {
	n := max(len(a), len(b))
	out := make(Shape, n)
	for i := 1; i <= n; i++ {
		x, y := 1, 1
		if i <= len(a) {
			x = a[len(a)-i]
		}
		if i <= len(b) {
			y = b[len(b)-i]
		}
		switch {
		case x == y || y == 1:
			out[n-i] = x
		case x == 1:
			out[n-i] = y
		default:
			return nil, fmt.Errorf("shapes %v and %v do not broadcast: extents %s and %s on axis −%d", a, b, dimString(x), dimString(y), i)
		}
	}
	return out, nil
}

// NormAxis maps a negative axis to its positive form, with an error when it
// is out of range for the rank.
func NormAxis(axis, rank int) (int, error) {
	a := axis
	if a < 0 {
		a += rank
	}
	if a < 0 || a >= rank {
		return 0, fmt.Errorf("axis %d is outside a tensor of rank %d", axis, rank)
	}
	return a, nil
}
