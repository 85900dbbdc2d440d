package gomlx

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"

	"github.com/nasc-dev/nasc/ir"
)

var recurrent = map[string]lowering{
	"lstm": many(lowerLSTM),
	"gru":  many(lowerGRU),
}

// many wraps a function of several results that cannot fail.
func many(f func(l *lowerer, n *ir.Node) []*node) lowering {
	return func(l *lowerer, n *ir.Node) ([]*node, error) { return f(l, n), nil }
}

// cell is one direction of a recurrent layer. The steps are unrolled: the length
// is static, and neither backend gains from a loop.
type cell struct {
	gx      *node // [T,N,G·H]: the inputs' share of all gates, with its bias
	r, rb   *node // [G·H,H] and [G·H], nil without a bias
	lens    *node // [N,1] i32, nil: all steps count
	steps   int
	h       int
	reverse bool
}

// of gives direction d of an operand [D,...], nil where it is absent.
func of(x *node, d int) *node {
	if x == nil {
		return nil
	}
	x = graph.SliceAxis(x, 0, graph.AxisElem(d))
	return graph.Reshape(x, x.Shape().Dimensions[1:]...)
}

// part gives values [from,to) of the last axis.
func part(x *node, from, to int) *node {
	return graph.SliceAxis(x, x.Rank()-1, graph.AxisRange(from, to))
}

// product is x·wᵀ.
func product(x, w *node) *node { return matmul(x, w, 1, 1) }

func (l *lowerer) cell(n *ir.Node, gates, d int) cell {
	x := l.in(n, 0)
	s := x.Shape().Dimensions
	c := cell{r: of(l.in(n, 2), d), steps: s[0], h: n.Int("hidden_size"), reverse: n.Str("direction") == "reverse" || d == 1}
	g := gates * c.h
	c.gx = product(graph.Reshape(x, s[0]*s[1], s[2]), of(l.in(n, 1), d))
	if b := of(l.in(n, 3), d); b != nil {
		c.gx = graph.Add(c.gx, channels(part(b, 0, g), c.gx))
		c.rb = part(b, g, 2*g)
	}
	c.gx = graph.Reshape(c.gx, s[0], s[1], g)
	if lens := l.in(n, 4); lens != nil {
		c.lens = graph.Reshape(lens, s[1], 1)
	}
	return c
}

// project is the state's share of gates [from,to).
func (c cell) project(h *node, from, to int) *node {
	y := product(h, graph.Slice(c.r, graph.AxisRange(from*c.h, to*c.h), graph.AxisRange()))
	if c.rb != nil {
		y = graph.Add(y, channels(part(c.rb, from*c.h, to*c.h), y))
	}
	return y
}

// run walks the steps: step maps the inputs' share of the gates and the state to
// the next state, whose first part is the output. Past a sequence's end the state
// stays and the output is 0; so a reversed walk over all steps begins at the end
// of each sequence.
func (c cell) run(state []*node, step func(gx *node, state []*node) []*node) (y *node, last []*node) {
	out := make([]*node, c.steps)
	for i := range c.steps {
		t := i
		if c.reverse {
			t = c.steps - 1 - i
		}
		next := step(of(c.gx, t), state)
		out[t] = next[0]
		if c.lens != nil {
			g := c.lens.Graph()
			at := graph.BroadcastToDims(graph.Scalar(g, dtypes.Int32, t), next[0].Shape().Dimensions...)
			counts := graph.LessThan(at, stretch(c.lens, at.Shape().Dimensions))
			out[t] = graph.Where(counts, next[0], like(next[0], 0))
			for k := range next {
				next[k] = graph.Where(counts, next[k], state[k])
			}
		}
		state = next
	}
	return graph.Stack(out, 0), state
}

// start is operand i of direction d, zeros where it is absent.
func (l *lowerer) start(n *ir.Node, i, d int) *node {
	if x := of(l.in(n, i), d); x != nil {
		return x
	}
	t := n.Inputs[0].Type
	return graph.Zeros(l.p.graph, shapes.Make(dtypeOf[t.DType], t.Shape[1], n.Int("hidden_size")))
}

func lowerLSTM(l *lowerer, n *ir.Node) []*node {
	return l.directions(n, func(d int) (*node, []*node) {
		c := l.cell(n, 4, d)
		gate := func(x *node, k int) *node { return part(x, k*c.h, (k+1)*c.h) }
		peep := func(x *node, k int, cell *node) *node {
			p := of(l.in(n, 7), d)
			if p == nil {
				return x
			}
			return graph.Add(x, graph.Mul(channels(gate(p, k), cell), cell))
		}
		return c.run([]*node{l.start(n, 5, d), l.start(n, 6, d)}, func(gx *node, state []*node) []*node {
			g := graph.Add(gx, c.project(state[0], 0, 4)) // gates i o f c; peepholes i o f
			cell := state[1]
			in, forget := graph.Logistic(peep(gate(g, 0), 0, cell)), graph.Logistic(peep(gate(g, 2), 2, cell))
			cell = graph.Add(graph.Mul(forget, cell), graph.Mul(in, graph.Tanh(gate(g, 3))))
			return []*node{graph.Mul(graph.Logistic(peep(gate(g, 1), 1, cell)), graph.Tanh(cell)), cell}
		})
	})
}

func lowerGRU(l *lowerer, n *ir.Node) []*node {
	linear := n.Bool("linear_before_reset")
	return l.directions(n, func(d int) (*node, []*node) {
		c := l.cell(n, 3, d)
		return c.run([]*node{l.start(n, 5, d)}, func(gx *node, state []*node) []*node {
			h := state[0]
			zr := graph.Logistic(graph.Add(part(gx, 0, 2*c.h), c.project(h, 0, 2))) // gates z r h
			z, r := part(zr, 0, c.h), part(zr, c.h, 2*c.h)
			var candidate *node
			if linear {
				candidate = graph.Mul(r, c.project(h, 2, 3))
			} else { // the candidate reads the state after its reset
				candidate = c.project(graph.Mul(r, h), 2, 3)
			}
			candidate = graph.Tanh(graph.Add(part(gx, 2*c.h, 3*c.h), candidate))
			return []*node{graph.Add(graph.Mul(graph.Sub(like(z, 1), z), candidate), graph.Mul(z, h))}
		})
	})
}

// directions joins the results of both directions: y [T,D,N,H], states [D,N,H].
func (l *lowerer) directions(n *ir.Node, run func(d int) (y *node, last []*node)) []*node {
	count := n.Inputs[1].Type.Shape[0]
	parts := make([][]*node, len(n.Outputs))
	for d := range count {
		y, last := run(d)
		for i, x := range append([]*node{y}, last...) {
			parts[i] = append(parts[i], x)
		}
	}
	out := make([]*node, len(parts))
	for i, p := range parts {
		axis := 0
		if i == 0 {
			axis = 1
		}
		out[i] = graph.Stack(p, axis)
	}
	return out
}
