package cpu

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/f32"
)

const (
	// pointBlock is how many bytes a block of one tensor's rows has about.
	pointBlock = 16 << 10
	// pointMost is how many it may have where there is a reason for more.
	pointMost = 192 << 10
	// pointNS is a guess of the time that a value takes in one kernel.
	pointNS = 0.1
)

// lowerPointwise prepares the kernels of the members that were found.
func (c *compiler) lowerPointwise(f *pointFinder) (*group, error) {
	members := f.inOrder()
	w := &pointwise{rows: f.rows, block: max(1, min(f.rows, pointBlock/(4*f.n)))}
	if f.n*4*w.block > pointMost {
		return nil, errNoKernel
	}
	g := &group{}
	for _, m := range members {
		g.parts = append(g.parts, m.g)
		if m.sums > 0 {
			w.block = m.sums
		}
		for _, n := range m.g.nodes {
			if !slices.Contains(g.nodes, n) {
				g.nodes = append(g.nodes, n)
			}
		}
	}
	l := newPointLayout(f, members, g)
	ops := make([]string, len(members))
	values := 0
	for i, m := range members {
		s := pointStage{in: [3]place{{at: absent}, {at: absent}, {at: absent}}}
		for k, v := range m.g.in {
			s.in[k] = l.find(v, m.in[k])
		}
		s.y = l.result(i, w.Tiles(), w.block)
		for k, rows := range []int{w.block, max(1, f.rows%w.block)} {
			var err error
			if m.norm != nil {
				s.fields = m.g.work.(normWork).fields
				s.norms[k], err = m.norm(rows)
			} else if s.kernels[k], err = m.made(rows); err == nil {
				w.scratch = max(w.scratch, s.kernels[k].ScratchBytes())
			}
			if err != nil {
				return nil, err
			}
		}
		w.stages = append(w.stages, s)
		values += max(m.width, slices.Max(m.in))
		ops[i], _, _ = strings.Cut(m.g.work.Name(), "_f32_")
		if b, ok := m.g.recipe.Spec.(f32.BinarySpec); ok && b.Act.Kind != "" {
			ops[i] += "+" + b.Act.Kind
		}
	}
	g.inPlaces = l.inPlace()
	w.kept = l.size
	w.scratch += l.size
	w.cost = pointNS * float64(values*w.block)
	w.name = fmt.Sprintf("pointwise_%s_%dx%d_%s", strings.Join(ops, "+"), f.rows, f.n, c.level)
	g.work = w
	return g, nil
}

// pointwiseInfo describes a pointwise group's step: its members' multiply-accumulates,
// and the bytes that it reads and writes.
func (g *group) pointwiseInfo(s *backends.Step) {
	ops := make([]string, len(g.nodes))
	for i, n := range g.nodes {
		ops[i] = n.Op.Name
	}
	s.Op = strings.Join(ops, "+")
	for _, m := range g.parts {
		if !m.rest {
			for _, n := range m.nodes {
				s.MACs += n.Op.MACs(n)
			}
		}
	}
	for _, v := range slices.Concat(g.in, g.out) {
		s.Bytes += v.Type.Bytes()
	}
}
