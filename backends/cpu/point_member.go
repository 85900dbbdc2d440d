package cpu

import (
	"github.com/nasc-dev/nasc/backends/cpu/kernels/f32"
	"github.com/nasc-dev/nasc/ir"
)

// pointMember is a group that may become a stage.
type pointMember struct {
	g     *group
	width int   // values in a row of the result; 0: it is one piece a unit
	in    []int // the same of the operands; 0: they are read whole
	sums  int   // rows whose sums are one piece of the result
	made  func(rows int) (work, error)
	norm  func(rows int) (*f32.NormKernel, error) // instead of made
}

// pointMember says how a group computes rows of a domain; nil where it does not.
func (c *compiler) pointMember(g *group, d pointDomain) *pointMember {
	if g.work == nil || g.alias || g.dst != nil || g.check != nil || g.parts != nil || len(g.out) != 1 {
		return nil
	}
	m := &pointMember{g: g}
	if w, ok := g.work.(normWork); ok {
		return m.ofNorm(c, w, d)
	}
	if _, ok := g.work.(f32Work); !ok {
		return nil
	}
	y := g.out[0].Type.Shape
	if m.width = d.width(y, y); m.width <= 0 {
		return nil
	}
	for _, v := range g.in {
		if v.Type.DType != ir.F32 {
			return nil
		}
		k := d.width(v.Type.Shape, y)
		if k < 0 {
			return nil
		}
		m.in = append(m.in, k)
	}
	level, width := c.level, m.width
	full := len(m.in) == 1 && m.in[0] == d.n
	switch s := g.recipe.Spec.(type) {
	case f32.BinarySpec:
		in := m.in
		if max(in[0], in[1]) == 0 || width == 1 && max(in[0], in[1]) > 1 {
			return nil
		}
		shape := func(k, rows, elems int) []int {
			if k > 0 {
				return []int{rows, k}
			}
			return []int{elems}
		}
		a, b := g.in[0].Type.Shape.Elems(), g.in[1].Type.Shape.Elems()
		m.made = func(rows int) (work, error) {
			s := s
			s.A, s.B = shape(in[0], rows, a), shape(in[1], rows, b)
			return ofF32(f32.Binary(s, level))
		}
	case f32.UnarySpec:
		if m.in[0] != width {
			return nil
		}
		m.made = func(rows int) (work, error) {
			s := s
			s.N = rows * width
			return ofF32(f32.Unary(s, level))
		}
	case f32.ClampGradSpec:
		if m.in[0] != width || m.in[1] != width {
			return nil
		}
		m.made = func(rows int) (work, error) {
			s := s
			s.N = rows * width
			return ofF32(f32.ClampGrad(s, level))
		}
	case f32.NormSpec:
		prepare := f32.LayerNorm
		if g.recipe.Func == "RMSNorm" {
			prepare = f32.RMSNorm
		}
		if !full || s.N != d.n || width != d.n {
			return nil
		}
		m.made = func(rows int) (work, error) {
			s := s
			s.Rows = rows
			return ofF32(prepare(s, level))
		}
	case f32.SoftmaxSpec:
		axis, err := ir.NormAxis(s.Axis, len(y))
		if err != nil || axis != len(y)-1 || s.Biases > 0 || !full || width != d.n {
			return nil
		}
		m.made = func(rows int) (work, error) {
			return ofF32(f32.Softmax(f32.SoftmaxSpec{Shape: []int{rows, d.n}, Axis: 1, Log: s.Log}, level))
		}
	case f32.ReduceSpec:
		if len(s.Axes) != 1 || s.Axes[0] != len(s.Shape)-1 || !full || width != 1 {
			return nil
		}
		m.made = func(rows int) (work, error) {
			return ofF32(f32.Reduce(f32.ReduceSpec{Op: s.Op, Shape: []int{rows, d.n}, Axes: []int{1}}, level))
		}
	default:
		return nil
	}
	return m
}

// ofNorm is pointMember for a part of a batch norm or of its gradient.
func (m *pointMember) ofNorm(c *compiler, w normWork, d pointDomain) *pointMember {
	if w.Part == f32.NormWhole || w.spec.Rows != d.rows || w.spec.C != d.n || len(m.g.in) > 3 {
		return nil
	}
	for _, v := range m.g.in {
		k := 0
		if v.Type.Shape.Elems() == d.rows*d.n {
			k = d.n
		}
		m.in = append(m.in, k)
	}
	if m.width = d.n; w.Part == f32.NormByBlock {
		m.width, m.sums = 0, f32.NormRows
		if m.sums*d.n*4 > pointMost {
			return nil
		}
	}
	m.norm = func(rows int) (*f32.NormKernel, error) {
		s := w.spec
		s.Rows = rows
		return w.prepare(s, c.level)
	}
	return m
}

// width says how many values of a tensor belong to a row where it is broadcast to
// shape y: as many as rows have, one, or none where all rows read the same; −1
// where it is something else.
func (d pointDomain) width(s, y ir.Shape) int {
	last := 1
	if len(s) > 0 {
		last = s[len(s)-1]
	}
	lead := s.Elems() / max(last, 1)
	switch {
	case s.Elems() == 1, lead == 1 && last == d.n && y[len(y)-1] == d.n:
		return 0
	case lead == d.rows && last == d.n:
		return d.n
	case lead == d.rows && last == 1 && len(s) >= 1, s.Elems() == d.rows && y.Elems() == d.rows && s.Equal(y) && last != d.n:
		return 1
	}
	return -1
}
