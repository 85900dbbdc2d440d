package cpu

import "github.com/nasc-dev/nasc/backends/cpu/kernels/f32"

// pointwise runs kernels one after the other on blocks of rows: what one of them
// reads of another is still in the core's caches, and what nobody else reads lies
// in scratch memory only.
type pointwise struct {
	name        string
	rows, block int // rows in all, rows of a unit
	kept        int // bytes of scratch memory for what lies between
	scratch     int // and with what a kernel wants for itself
	cost        float64
	stages      []pointStage
}

// pointStage is a kernel for the rows of a unit, and one for those of the last.
type pointStage struct {
	kernels [2]work
	norms   [2]*f32.NormKernel // instead, with the fields of their operands and result
	fields  []func(a *f32.NormArgs) *[]byte
	in      [3]place
	y       place
}

// place says where a stage finds the rows of an operand or puts those of its result.
type place struct {
	at   int // of the call's operands and results; working: in scratch memory, absent: nowhere
	off  int // in scratch memory
	row  int // bytes of a row; 0: it is read whole
	unit int // bytes of a unit where it has no rows
}

func (w *pointwise) Name() string      { return w.name }
func (w *pointwise) Tiles() int        { return (w.rows + w.block - 1) / w.block }
func (w *pointwise) ScratchBytes() int { return w.scratch }
func (w *pointwise) TileCost() float64 { return w.cost }

// Run computes units [lo, hi). The call's own arguments are kept aside while its
// kernels have theirs.
func (w *pointwise) Run(lo, hi int, c *call) {
	kept := c.args
	for u := lo; u < hi; u++ {
		r0, r1 := u*w.block, min((u+1)*w.block, w.rows)
		which := 0
		if r1-r0 < w.block {
			which = 1
		}
		part := func(p *place) []byte {
			switch {
			case p.at == absent:
				return nil
			case p.at == working:
				return kept.Scratch[p.off : p.off+(r1-r0)*p.row]
			case p.unit > 0:
				return c.ops[p.at][u*p.unit : (u+1)*p.unit]
			case p.row == 0:
				return c.ops[p.at]
			}
			return c.ops[p.at][r0*p.row : r1*p.row]
		}
		for i := range w.stages {
			s := &w.stages[i]
			if s.fields != nil {
				c.norm = f32.NormArgs{}
				last := len(s.fields) - 1
				for k, f := range s.fields[:last] {
					*f(&c.norm) = part(&s.in[k])
				}
				*s.fields[last](&c.norm) = part(&s.y)
				k := s.norms[which]
				k.Run(0, k.Tiles(), &c.norm)
				continue
			}
			c.held = 0
			c.args = args{X: part(&s.in[0]), X2: part(&s.in[1]), Y: part(&s.y), Scratch: kept.Scratch[w.kept:]}
			k := s.kernels[which]
			k.Run(0, k.Tiles(), c)
		}
	}
	c.args = kept
}
