package cpu

import (
	"fmt"
	"strings"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/f32"
	q8 "github.com/nasc-dev/nasc/backends/cpu/kernels/int8"
	"github.com/nasc-dev/nasc/ir"
)

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
			c.held = 0
			c.args = args{X: part(s.x), X2: part(s.x2), Y: part(s.y), Scratch: scratch}
			k.Run(0, k.Tiles(), c)
		}
	}
	c.args = kept
}

// lowerRowChain prepares a kernel for each node.
func lowerRowChain(c *compiler, g *group, s f32.NormSpec) error {
	r := g.rowGroup
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
	at := working // where the rows are
	x, x2, factor := absent, absent, absent
	switch {
	case r.dequantize != nil:
		x = operand(r.dequantize.Inputs[0], s.N)
	case r.add != nil:
		x, x2 = operand(r.add.Inputs[0], w.bytes), operand(r.add.Inputs[1], w.bytes)
	default:
		at = operand(r.norm.Inputs[0], w.bytes)
	}
	if r.factor != nil {
		factor = operand(other(r.factor, r.norm.Outputs[0]), 0)
	}
	// Results come behind all operands.
	g.out = nil
	result := func(v *ir.Value, rowBytes int) int {
		g.out = append(g.out, v)
		w.operands = append(w.operands, rowBytes)
		return len(w.operands) - 1
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
	var errs [5]error
	switch {
	case r.dequantize != nil:
		v := r.dequantize.Inputs[0]
		q := v.Type.Quant
		spec := q8.DequantizeSpec{Outer: 1, Channels: 1, XSigned: v.Type.DType == ir.S8, Zero: []int32{q.ZeroAt(0)}, Scale: []float32{q.ScaleAt(0)}}
		errs[0] = stage("uniform_dequantize", x, absent, working, func(rows int) (work, error) {
			spec.Inner = rows * s.N
			return ofInt8(q8.Dequantize(spec, c.level))
		})
	case r.add != nil:
		if r.summed != nil {
			at = result(r.summed, w.bytes)
		}
		errs[0] = stage("add", x, x2, at, func(rows int) (work, error) {
			return ofF32(f32.Binary(f32.BinarySpec{Op: "add", A: []int{rows, s.N}, B: []int{rows, s.N}}, c.level))
		})
	}
	to := working
	if r.normed != nil || r.quantize == nil {
		to = result(r.norm.Outputs[0], w.bytes)
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
		errs[4] = stage("uniform_quantize", at, absent, result(r.quantize.Outputs[0], s.N), func(rows int) (work, error) {
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
