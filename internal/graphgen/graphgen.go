// Package graphgen draws random graphs and inputs from a seed, for tests that
// compare targets, passes and formats with the reference. One seed always gives
// the same graph. It knows the op table and nothing of targets; it may import
// ir only.
package graphgen

import (
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/nasc-dev/nasc/ir"
)

// Config says what to draw.
type Config struct {
	Seed      uint64
	Nodes     int  // how many nodes to try for; 0 is 12
	Quantized bool // 8-bit ops with float islands, instead of float ops only
	Batch     int  // of the inputs; 0 is 1 or 2 at random
}

// New draws a static graph. It always verifies: a draw that breaks a shape rule
// is a bug of this package and panics.
func New(cfg Config) *ir.Graph {
	if cfg.Nodes == 0 {
		cfg.Nodes = 12
	}
	g := &gen{Rand: rand.New(rand.NewPCG(cfg.Seed, 0x6e617363)), b: ir.NewBuilder("random" + strconv.FormatUint(cfg.Seed, 10))}
	n := cfg.Batch
	if n == 0 {
		n = 1 + g.IntN(2)
	}
	for i := range 1 + g.IntN(2) {
		x := g.b.Input("x"+strconv.Itoa(i), ir.T(ir.F32, n, 3+g.IntN(10), 3+g.IntN(10), g.channels()))
		g.floats = append(g.floats, x)
		if cfg.Quantized {
			g.quants = append(g.quants, g.quantize(x))
		}
	}
	rows := floatRows
	if cfg.Quantized {
		rows = quantRows
	}
	for tries := 0; len(g.b.G.Nodes) < cfg.Nodes && tries < 50*cfg.Nodes; tries++ {
		rows[g.IntN(len(rows))](g)
	}
	uses := g.b.G.Uses()
	var outs []*ir.Value
	for _, node := range g.b.G.Nodes {
		for _, v := range node.Outputs {
			if len(uses[v]) == 0 || g.IntN(12) == 0 {
				outs = append(outs, v)
			}
		}
	}
	graph, err := g.b.Graph(outs...)
	if err != nil {
		panic("BUG: graphgen seed " + strconv.FormatUint(cfg.Seed, 10) + ": " + err.Error())
	}
	return graph
}

// Inputs draws tensors for a static graph's inputs: floats of about unit
// normal distribution with some exact zeros, integers over a small range.
func Inputs(g *ir.Graph, seed uint64) []*ir.Tensor {
	r := rand.New(rand.NewPCG(seed, 0x696e))
	in := make([]*ir.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		in[i] = Tensor(r, v.Type)
	}
	return in
}

// Tensor draws one tensor of a static type.
func Tensor(r *rand.Rand, t ir.Type) *ir.Tensor {
	x := ir.NewTensor(t.DType, t.Shape...)
	switch d := x.Data.(type) {
	case []float32:
		for i := range d {
			if r.IntN(16) > 0 {
				d[i] = float32(r.NormFloat64())
			}
		}
	case []uint8:
		for i := range d {
			d[i] = uint8(r.IntN(256))
		}
	case []int8:
		for i := range d {
			d[i] = int8(r.IntN(256) - 128)
		}
	default:
		for i := range x.Len() {
			x.Set(i, float64(r.IntN(3)))
		}
	}
	return x
}

// gen is the state of one draw.
type gen struct {
	*rand.Rand
	b      *ir.Builder
	floats []*ir.Value // f32 values to build on
	quants []*ir.Value // 8-bit values to build on
	consts int
}

// maxElems keeps tensors small enough for the reference.
const maxElems = 1 << 14

func (g *gen) channels() int { return []int{1, 2, 3, 4, 5, 8, 12, 16, 17, 24, 32, 33}[g.IntN(12)] }

func pick[T any](g *gen, xs []T) T { return xs[g.IntN(len(xs))] }

// x picks a float operand, rather a late one.
func (g *gen) x() *ir.Value {
	return g.floats[max(g.IntN(len(g.floats)), g.IntN(len(g.floats)))]
}

// image picks a float operand of rank 4.
func (g *gen) image() *ir.Value {
	for range 20 {
		if v := g.x(); len(v.Type.Shape) == 4 {
			return v
		}
	}
	return g.floats[0]
}

func (g *gen) name() string {
	g.consts++
	return "c" + strconv.Itoa(g.consts)
}

// weights makes an f32 constant whose products keep unit scale for fan inputs.
func (g *gen) weights(fan int, shape ...int) *ir.Value {
	t := ir.NewTensor(ir.F32, shape...)
	s := 1 / math.Sqrt(float64(max(fan, 1)))
	for i := range t.F32() {
		t.F32()[i] = float32(g.NormFloat64() * s)
	}
	return g.b.Const(g.name(), t)
}

// positive makes an f32 constant between 0.5 and 1.5.
func (g *gen) positive(shape ...int) *ir.Value {
	t := ir.NewTensor(ir.F32, shape...)
	for i := range t.F32() {
		t.F32()[i] = 0.5 + g.Float32()
	}
	return g.b.Const(g.name(), t)
}

func (g *gen) maybe(v *ir.Value) *ir.Value {
	if g.IntN(3) == 0 {
		return nil
	}
	return v
}

// add appends a node and offers its result to later ones.
func (g *gen) add(op string, attrs ir.Attrs, in ...*ir.Value) *ir.Value {
	for _, v := range g.b.Multi(op, "", attrs, in...) {
		if v.Type.Shape.Elems() > maxElems || v.Type.Shape.Elems() == 0 {
			continue
		}
		switch {
		case v.Type.DType == ir.F32:
			g.floats = append(g.floats, v)
		case v.Type.DType.Is8Bit() && v.Type.Quant != nil:
			g.quants = append(g.quants, v)
		}
	}
	if err := g.b.Err(); err != nil {
		panic("BUG: graphgen: " + err.Error())
	}
	n := g.b.G.Nodes
	return n[len(n)-1].Outputs[0]
}

// geometry draws a window over two spatial axes; ok is false where it does not fit.
func (g *gen) geometry(x ir.Shape, pool bool) (kernel, strides, padding, dilation []int, ok bool) {
	for range 2 {
		k := 1 + g.IntN(4)
		if g.IntN(3) == 0 {
			k = 1
		}
		d := 1
		if g.IntN(4) == 0 {
			d = 2
		}
		kernel, dilation = append(kernel, k), append(dilation, d)
		strides = append(strides, 1+g.IntN(2))
	}
	padding = make([]int, 4)
	for i := range padding {
		if most := (kernel[i%2] - 1) * dilation[i%2]; most > 0 {
			padding[i] = g.IntN(min(most, 3) + 1)
			if pool {
				padding[i] = min(padding[i], most)
			}
		}
	}
	for i := range 2 {
		if x[i+1]+padding[i]+padding[i+2] < (kernel[i]-1)*dilation[i]+1 {
			return nil, nil, nil, nil, false
		}
	}
	return kernel, strides, padding, dilation, true
}
