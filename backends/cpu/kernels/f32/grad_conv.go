package f32

import (
	"fmt"
	"slices"
	"sync"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// ComputedSpec is a convolution, or with Transposed a transposed one, whose
// weights and bias are computed in the same program, as those of a training
// step are: Weights and Bias are nil. PackComputed brings them to the form that
// ConvComputed reads; the sums have the order of Conv and ConvTranspose.
type ComputedSpec struct {
	ConvSpec
	Transposed, WithBias bool
}

// computed is the layout of packed weights, and the kernel that reads them.
type computed struct {
	conv       *conv
	transposed *convTranspose
	parts      []computedPart
	lanes      int
	size       int // floats, of weights and biases
}

// computedPart is one block of columns.
type computedPart struct {
	k        int // its rows
	w, bias  int // where they lie in the packed memory
	width    int // floats of a row
	cols     int
	col      int
	from     func(k int) int // where row k begins in the weights; −1: zeros
	wantBias bool
}

func (s ComputedSpec) layout(l isa.Level) (*computed, error) {
	n := s.KH * s.KW * s.C / max(s.Groups, 1) * s.K
	c := s.ConvSpec
	c.Weights = make([]float32, max(n, 0))
	if err := c.check("computed convolution"); err != nil {
		return nil, err
	}
	ep, err := s.Act.epilogue(l)
	if err != nil {
		return nil, err
	}
	p := &computed{}
	cg, kg := c.C/c.Groups, c.K/c.Groups
	if s.Transposed {
		pt, pl := (c.KH-1)*c.DH-c.PT, (c.KW-1)*c.DW-c.PL
		if c.SH > 1 || c.SW > 1 || pt < 0 || pl < 0 {
			p.transposed = &convTranspose{ConvSpec: c, set: gemmFor(l), ep: ep}
			p.transposed.prepare()
			p.lanes = p.transposed.set.lanes
			p.phases(cg, kg, s.WithBias)
			return p, nil
		}
		c.PT, c.PL = pt, pl // the convolution with its taps turned around
	} else if c.KH == 1 && c.KW == 1 && c.SH == 1 && c.SW == 1 && c.PT == 0 && c.PL == 0 && c.H == c.OH && c.W == c.OW {
		c.OW *= c.N * c.OH
		c.N, c.OH, c.H, c.W = 1, 1, 1, c.OW
	}
	p.conv = &conv{ConvSpec: c, set: gemmFor(l), ep: ep}
	p.conv.prepare()
	p.lanes = p.conv.set.lanes
	if s.Transposed {
		p.turn(cg)
	}
	for i := range p.conv.blocks {
		b := &p.conv.blocks[i]
		from := func(k int) int { return k*c.K + b.col }
		if s.Transposed {
			from = func(k int) int { return (k/cg*c.C+b.group*cg+k%cg)*kg + b.col - b.group*kg }
		}
		p.add(b, c.KH*c.KW*cg, s.WithBias, from)
	}
	return p, nil
}

// turn makes the convolution visit its taps from the last to the first: in the
// order that a transposed convolution has.
func (p *computed) turn(cg int) {
	c := p.conv
	pitch := c.W
	if c.copied {
		pitch = c.pw
	}
	var off []int64
	for kh := range c.KH {
		for kw := range c.KW {
			off = append(off, int64(((c.KH-1-kh)*c.DH*pitch+(c.KW-1-kw)*c.DW)*c.pix*4))
		}
	}
	c.chunks = chunks(off, cg, 4)
	if len(c.chunks) > 1 {
		c.weightBytes = fewWeights + 1
	}
}

// phases lists the blocks of a transposed convolution's phases.
func (p *computed) phases(cg, kg int, bias bool) {
	c := p.transposed
	i := 0
	for h := range min(c.SH, c.OH) {
		for w := range min(c.SW, c.OW) {
			var at []int
			for _, th := range phaseTaps(h, c.PT, c.SH, c.DH, c.KH) {
				for _, tw := range phaseTaps(w, c.PL, c.SW, c.DW, c.KW) {
					at = append(at, (th.k*c.KW+tw.k)*c.C*kg)
				}
			}
			rows := len(at) * cg
			if rows == 0 {
				rows = cg // one tap of weight zero stands for none
			}
			ph := &c.phases[i]
			i++
			for j := range ph.blocks {
				b := &ph.blocks[j]
				p.add(b, rows, bias, func(k int) int {
					if len(at) == 0 {
						return -1
					}
					return at[k/cg] + (b.group*cg+k%cg)*kg + b.col - b.group*kg
				})
			}
		}
	}
}

func (p *computed) add(b *block, k int, bias bool, from func(k int) int) {
	width := b.vecs * p.lanes
	p.parts = append(p.parts, computedPart{k: k, w: p.size, bias: p.size + k*width, width: width, cols: b.cols, col: b.col, from: from, wantBias: bias})
	p.size += align64((k+1)*width*4) / 4
}

// instance copies what a run changes: the blocks, which point to the packed
// weights of that run.
func (p *computed) instance() *computed {
	q := *p
	if p.conv != nil {
		c := *p.conv
		c.blocks = slices.Clone(c.blocks)
		q.conv = &c
		return &q
	}
	c := *p.transposed
	c.phases = slices.Clone(c.phases)
	for i := range c.phases {
		c.phases[i].blocks = slices.Clone(c.phases[i].blocks)
	}
	q.transposed = &c
	return &q
}

// bind points the blocks to packed weights.
func (p *computed) bind(packed []float32) {
	i := 0
	set := func(bs []block) {
		for j := range bs {
			q := &p.parts[i]
			bs[j].w, bs[j].bias = packed[q.w:q.w+q.k*q.width], packed[q.bias:q.bias+q.width]
			i++
		}
	}
	if p.conv != nil {
		set(p.conv.blocks)
		return
	}
	for j := range p.transposed.phases {
		set(p.transposed.phases[j].blocks)
	}
}

// PackedFloats is the size of packed weights.
func (s ComputedSpec) PackedFloats(l isa.Level) (int, error) {
	p, err := s.layout(l)
	if err != nil {
		return 0, err
	}
	return p.size, nil
}

// PackComputed prepares the packing: X is the weights in the form of Conv or
// ConvTranspose, X2 the bias where there is one, Y PackedFloats values.
func PackComputed(s ComputedSpec, l isa.Level) (Kernel, error) {
	p, err := s.layout(l)
	if err != nil {
		return nil, err
	}
	return &op{name: "pack_f32_" + s.dims(), tiles: len(p.parts), run: func(lo, hi int, a *Args) {
		w, y := floats(a.X), floats(a.Y)
		for i := lo; i < hi; i++ {
			q := &p.parts[i]
			for k := range q.k {
				row := y[q.w+k*q.width:][:q.width]
				n := 0
				if at := q.from(k); at >= 0 {
					n = copy(row[:q.cols], w[at:])
				}
				clear(row[n:])
			}
			bias := y[q.bias:][:q.width]
			clear(bias)
			if q.wantBias {
				for c, v := range floats(a.X2)[q.col:][:q.cols] {
					bias[c] = v + 0
				}
			}
		}
	}}, nil
}

// ConvComputed prepares the convolution: X2 is what PackComputed wrote.
func ConvComputed(s ComputedSpec, l isa.Level) (Kernel, error) {
	p, err := s.layout(l)
	if err != nil {
		return nil, err
	}
	name, tiles, scratch := "conv_computed_f32_", 0, 0
	if c := p.conv; c != nil {
		tiles, scratch = c.N*(len(c.bands)-1)*c.parts, c.scratch
	}
	if s.Transposed {
		name = "conv_transpose_computed_f32_"
	}
	if c := p.transposed; c != nil {
		tiles, scratch = c.N*len(c.phases), align64(c.ph*c.pw*c.C*4)
	}
	pool := sync.Pool{New: func() any { return p.instance() }}
	return &op{name: fmt.Sprintf("%s%s_%s", name, s.dims(), gemmFor(l).name), tiles: tiles, scratch: scratch, run: func(lo, hi int, a *Args) {
		q := pool.Get().(*computed)
		q.bind(floats(a.X2))
		if q.conv != nil {
			q.conv.run(lo, hi, a)
		} else {
			q.transposed.run(lo, hi, a)
		}
		pool.Put(q)
	}}, nil
}
