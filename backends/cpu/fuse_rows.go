package cpu

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/f32"
	q8 "github.com/nasc-dev/nasc/backends/cpu/kernels/int8"
	"github.com/nasc-dev/nasc/ir"
)

// rowGroup is a layer norm with what stands around it, row after row.
type rowGroup struct {
	dequantize, add, norm, factor, quantize *ir.Node  // all but norm may be nil
	normed                                  *ir.Value // the norm's result where others read it, too
}

// fuseRows finds layer norms and what stands around them, in the order
//
//	uniform_dequantize | add    layer_norm    multiply by a constant row    uniform_quantize
//
// of which one may be missing or another: what lies between them never leaves the
// first level cache, and threads are called together once.
func (c *compiler) fuseRows(claimed map[*ir.Node]bool, at map[*ir.Node]*group) {
	place := map[*ir.Node]int{}
	for i, n := range c.g.Nodes {
		place[n] = i
	}
	for _, n := range c.g.Nodes {
		if n.Op.Name != "layer_norm" || c.known(n) || claimed[n] {
			continue
		}
		g := c.rowsAround(n, place, claimed)
		if len(g.nodes) < 2 {
			continue
		}
		for _, m := range g.nodes {
			claimed[m] = true
		}
		at[g.nodes[len(g.nodes)-1]] = g
	}
}

// rowsAround gives the group of a layer norm: it alone where nothing can join it.
func (c *compiler) rowsAround(norm *ir.Node, place map[*ir.Node]int, claimed map[*ir.Node]bool) *group {
	r := &rowGroup{norm: norm}
	g := &group{rowGroup: r, nodes: []*ir.Node{norm}}
	x := norm.Inputs[0]
	s, err := c.normSpec(norm)
	if err != nil || s.Rows == 0 || s.N == 0 {
		return g
	}
	if d := x.Def; d != nil && !c.known(d) && !claimed[d] && len(c.uses[x]) == 1 {
		switch {
		case d.Op.Name == "uniform_dequantize" && perTensorOnly(d.Inputs[0]):
			r.dequantize = d
		case d.Op.Name == "add" && sameShapes(d) && f32Only(d) == nil && !slices.ContainsFunc(d.Inputs, c.contracted):
			r.add = d
		}
		if r.dequantize != nil || r.add != nil {
			g.main, g.nodes = 1, []*ir.Node{d, norm}
		}
	}
	// What follows; others may read the norm's result, but only later.
	y := norm.Outputs[0]
	var factor, quantize *ir.Node
	for _, u := range c.uses[y] {
		if u.Node == nil || claimed[u.Node] {
			continue
		}
		if n := u.Node; n.Op.Name == "uniform_quantize" && quantize == nil {
			quantize = n
		} else if n.Op.Name == "multiply" && factor == nil {
			if q := c.follower(n.Outputs[0], "uniform_quantize"); q != nil && !claimed[q] && c.rowOf(other(n, y), s.N) != nil {
				factor = n
			}
		}
	}
	var tail []*ir.Node
	switch {
	case factor != nil:
		quantize = c.follower(factor.Outputs[0], "uniform_quantize")
		tail = []*ir.Node{factor, quantize}
	case quantize != nil:
		tail = []*ir.Node{quantize}
	}
	if tail == nil || !perTensorOnly(quantize.Outputs[0]) {
		return g
	}
	for _, u := range c.uses[y] {
		if u.Node == tail[0] {
			continue
		}
		if u.Node != nil && place[u.Node] < place[quantize] {
			return g
		}
		r.normed = y
	}
	r.factor, r.quantize = factor, quantize
	g.nodes = append(g.nodes, tail...)
	return g
}

// contracted says that a float contraction gives v: it will add what is added to
// its sums itself.
func (c *compiler) contracted(v *ir.Value) bool {
	return v.Def != nil && len(c.uses[v]) == 1 && (v.Def.Op.Name == "convolution" || v.Def.Op.Name == "dot")
}

// rowOf gives the constant row of n float32 that v is; nil for others.
func (c *compiler) rowOf(v *ir.Value, n int) []float32 {
	t := c.constant(v)
	if t == nil || t.DType != ir.F32 || t.Len() != n || t.Shape[len(t.Shape)-1] != n {
		return nil
	}
	return t.F32()
}

func perTensorOnly(v *ir.Value) bool {
	_, _, err := perTensor(v)
	return err == nil
}

// rowChain runs kernels for some rows after each other, on blocks of rows.
type rowChain struct {
	name        string
	rows, units int
	bytes       int // of a row of float32
	scratch     int
	cost        float64
	stages      []rowStage
	operands    []int // bytes of a row of each operand; 0: it is read whole
}

// rowStage is a kernel for rows/units rows and one for one more.
type rowStage struct {
	kernels [2]work
	x, x2   int // operands; −1: the rows that the chain works on, −2: none
	y       int
}

const (
	working = -1
	absent  = -2
	// chainBytes is what a block of rows of float32 may take.
	chainBytes = 32 << 10
	// chainNS is a guess of the time that an element takes.
	chainNS = 0.15
)

func (w *rowChain) Name() string      { return w.name }
func (w *rowChain) Tiles() int        { return w.units }
func (w *rowChain) ScratchBytes() int { return w.scratch }
func (w *rowChain) TileCost() float64 { return w.cost }

// Run computes blocks [lo, hi) of rows. The call's own arguments are kept aside
// while its kernels have theirs.
func (w *rowChain) Run(lo, hi int, c *call) {
	kept := c.args
	room := (w.rows/w.units + 1) * w.bytes
	own, scratch := kept.Scratch[:room], kept.Scratch[align(room):]
	for u := lo; u < hi; u++ {
		r0, r1 := w.rows*u/w.units, w.rows*(u+1)/w.units
		part := func(i int) []byte {
			switch {
			case i == absent:
				return nil
			case i == working:
				return own[:(r1-r0)*w.bytes]
			case w.operands[i] == 0:
				return c.ops[i]
			}
			return c.ops[i][r0*w.operands[i] : r1*w.operands[i]]
		}
		for i := range w.stages {
			s := &w.stages[i]
			k := s.kernels[r1-r0-w.rows/w.units]
			c.args = args{X: part(s.x), X2: part(s.x2), Y: part(s.y), Scratch: scratch}
			k.Run(0, k.Tiles(), c)
		}
	}
	c.args = kept
}

// lowerRowGroup prepares the kernels.
func lowerRowGroup(c *compiler, g *group) error {
	r := g.rowGroup
	s, err := c.normSpec(r.norm)
	if err != nil {
		return err
	}
	w := &rowChain{rows: s.Rows, bytes: 4 * s.N}
	w.units = (s.Rows*w.bytes + chainBytes - 1) / chainBytes
	w.units = min(s.Rows, (w.units+1)&^1) // halves for two threads
	if s.Rows == 1 {
		w.units = 1
	}
	w.cost = chainNS * float64(s.Rows*s.N) / float64(w.units)
	operand := func(v *ir.Value, rowBytes int) int {
		g.in = append(g.in, v)
		w.operands = append(w.operands, rowBytes)
		return len(g.in) - 1
	}
	var names []string
	type made func(rows int) (work, error)
	stage := func(op string, x, x2, y int, prepare made) error {
		names = append(names, op)
		st := rowStage{x: x, x2: x2, y: y}
		for i := range st.kernels {
			k, err := prepare(max(1, s.Rows/w.units+i))
			if err != nil {
				return err
			}
			st.kernels[i] = k
			w.scratch = max(w.scratch, k.ScratchBytes())
		}
		w.stages = append(w.stages, st)
		return nil
	}
	at := working // where the rows are
	var errs [5]error
	switch {
	case r.dequantize != nil:
		v := r.dequantize.Inputs[0]
		x := operand(v, s.N)
		q := v.Type.Quant
		spec := q8.DequantizeSpec{Outer: 1, Channels: 1, XSigned: v.Type.DType == ir.S8, Zero: []int32{q.ZeroAt(0)}, Scale: []float32{q.ScaleAt(0)}}
		errs[0] = stage("uniform_dequantize", x, absent, working, func(rows int) (work, error) {
			spec.Inner = rows * s.N
			return ofInt8(q8.Dequantize(spec, c.level))
		})
	case r.add != nil:
		a, b := operand(r.add.Inputs[0], w.bytes), operand(r.add.Inputs[1], w.bytes)
		errs[0] = stage("add", a, b, working, func(rows int) (work, error) {
			return ofF32(f32.Binary(f32.BinarySpec{Op: "add", A: []int{rows, s.N}, B: []int{rows, s.N}}, c.level))
		})
	default:
		at = operand(r.norm.Inputs[0], w.bytes)
	}
	factor := absent
	if r.factor != nil {
		factor = operand(other(r.factor, r.norm.Outputs[0]), 0)
	}
	// Results come behind the operands.
	to, result := working, len(g.in)
	g.out = nil
	if r.normed != nil || r.quantize == nil {
		to = result
		result++
		g.out = append(g.out, r.norm.Outputs[0])
		w.operands = append(w.operands, w.bytes)
	}
	errs[1] = stage("layer_norm", at, absent, to, func(rows int) (work, error) {
		n := s
		n.Rows = rows
		return ofF32(f32.LayerNorm(n, c.level))
	})
	at = to
	if r.factor != nil {
		errs[2] = stage("multiply", at, factor, working, func(rows int) (work, error) {
			return ofF32(f32.Binary(f32.BinarySpec{Op: "multiply", A: []int{rows, s.N}, B: []int{s.N}}, c.level))
		})
		at = working
	}
	if r.quantize != nil {
		out, err := outOf(r.quantize)
		errs[3] = err
		g.out = append(g.out, r.quantize.Outputs[0])
		w.operands = append(w.operands, s.N)
		errs[4] = stage("uniform_quantize", at, absent, result, func(rows int) (work, error) {
			return ofInt8(q8.Quantize(q8.QuantizeSpec{Len: rows * s.N, Inv: ir.InverseScale(r.quantize.F32("out_scale")), Out: out}, c.level))
		})
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	w.scratch += align((s.Rows/w.units + 1) * w.bytes)
	w.name = fmt.Sprintf("rows_%s_%dx%d_%s", strings.Join(names, "+"), s.Rows, s.N, c.level)
	g.work = w
	return nil
}

func ofInt8(k q8.Kernel, err error) (work, error) { return int8Work{k}, err }
func ofF32(k f32.Kernel, err error) (work, error) { return f32Work{k}, err }

// normSpec reads a layer norm with constant scale and bias.
func (c *compiler) normSpec(n *ir.Node) (f32.NormSpec, error) {
	scale, ok1 := c.floatsOf(n.In(1))
	bias, ok2 := c.floatsOf(n.In(2))
	if !ok1 || !ok2 || f32Only(n) != nil {
		return f32.NormSpec{}, errNoKernel
	}
	xs := n.Inputs[0].Type.Shape
	axis, err := ir.NormAxis(n.Int("axis"), len(xs))
	if err != nil {
		return f32.NormSpec{}, err
	}
	return f32.NormSpec{Rows: xs[:axis].Elems(), N: xs[axis:].Elems(), Scale: scale, Bias: bias, Eps: n.F32("epsilon")}, nil
}
