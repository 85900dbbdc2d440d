package f32

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// ConvTranspose prepares a transposed convolution: Weights are [KH,KW,C,K/Groups]
// and output (oh, ow) takes tap (kh, kw) of input (ih, iw) where
// oh = ih*SH - PT + kh*DH and ow = iw*SW - PL + kw*DW. Each output is one FMA
// chain from +0 over its taps in the order (kh, kw, c); then as in Conv.
//
// Output pixels of one phase (oh mod SH, ow mod SW) share their taps, so each
// phase is a dense convolution of stride 1 that writes every SW-th pixel.
func ConvTranspose(s ConvSpec, l isa.Level) (Kernel, error) {
	if err := s.check("convolution_transpose"); err != nil {
		return nil, err
	}
	if s.KH == s.SH && s.KW == s.SW && s.DH == 1 && s.DW == 1 && s.PT == 0 && s.PL == 0 &&
		s.OH == s.H*s.SH && s.OW == s.W*s.SW && s.Groups == 1 && !s.Residual {
		return enlarge(s, l)
	}
	ep, err := s.Act.epilogue(l)
	if err != nil {
		return nil, err
	}
	c := &convTranspose{ConvSpec: s, set: gemmFor(l), ep: ep}
	c.prepare()
	return &op{
		name:  fmt.Sprintf("conv_transpose_f32_%s_%s%s", s.dims(), c.set.name, ep.suffix()),
		tiles: s.N * len(c.phases), scratch: align64(c.ph * c.pw * s.C * 4), run: c.run,
	}, nil
}

type convTranspose struct {
	ConvSpec
	set       *gemmSet
	ep        epilogue
	top, left int // zeros around the input
	ph, pw    int // padded extent
	phases    []phase
}

// enlarge prepares a transposed convolution whose stride is its kernel: every
// pixel becomes SH×SW of its own, by one dense product with the weights of all
// taps; a row of input pixels at a time, whose results then go to their places.
func enlarge(s ConvSpec, l isa.Level) (Kernel, error) {
	taps := s.SH * s.SW
	d := DotSpec{M: s.W, K: s.C, N: taps * s.K, Act: s.Act, Weights: make([]float32, 0, taps*s.C*s.K)}
	for c := range s.C {
		for t := range taps {
			d.Weights = append(d.Weights, s.Weights[(t*s.C+c)*s.K:][:s.K]...)
		}
	}
	if s.Bias != nil {
		for range taps {
			d.Bias = append(d.Bias, s.Bias...)
		}
	}
	ep, err := s.Act.epilogue(l)
	if err != nil {
		return nil, err
	}
	if ep.then != nil { // on whole rows, not on each pixel's few channels
		d.Act = Act{}
	}
	k, err := Dot(d, l)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("enlarge_f32_%s_%s%s", s.dims(), gemmFor(l).name, ep.suffix())
	size, run, own := s.W*d.N, s.SW*s.K, align64(k.ScratchBytes())
	return &op{name: name, tiles: s.N * s.H, scratch: own + size*4, run: func(lo, hi int, a *Args) {
		part := argsPool.Get().(*Args)
		y := floats(a.Y)
		for row := lo; row < hi; row++ { // of N·H
			*part = Args{X: a.X[row*s.W*s.C*4:][:s.W*s.C*4], Y: a.Scratch[own:][:size*4], Scratch: a.Scratch[:own]}
			k.Run(0, k.Tiles(), part)
			buf := floats(part.Y)
			if ep.then != nil {
				ep.then(buf)
			}
			for p := range s.SH {
				out := y[(row*s.SH+p)*s.OW*s.K:][:s.OW*s.K]
				spread(out, buf[p*run:], run, d.N)
			}
		}
		*part = Args{}
		argsPool.Put(part)
	}}, nil
}

// argsPool holds the arguments that kernels pass on: they would be allocated.
var argsPool = sync.Pool{New: func() any { return new(Args) }}

// spread fills dst with runs of n values that lie step apart in src.
func spread(dst, src []float32, n, step int) {
	if n == 2 {
		for i := 0; i+1 < len(dst); i += 2 {
			dst[i], dst[i+1] = src[0], src[1]
			src = src[min(step, len(src)):]
		}
		return
	}
	for i := 0; i < len(dst); i += n {
		copy(dst[i:i+n], src)
		src = src[min(step, len(src)):]
	}
}

// phase is the outputs oh = h mod SH, ow = w mod SW.
type phase struct {
	blocks []block
	chunks []chunk
	strips []strip
}

// phaseTap is a tap along one axis: its index and the input position minus the
// number of the output within the phase.
type phaseTap struct{ k, shift int }

func phaseTaps(p, pad, stride, dil, taps int) []phaseTap {
	var ts []phaseTap
	for k := range taps {
		if d := p + pad - k*dil; (d%stride+stride)%stride == 0 {
			ts = append(ts, phaseTap{k, floorDiv(d, stride)})
		}
	}
	return ts
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// reach gives the zeros needed before the input and the extent with zeros.
func reach(in, out, pad, stride, dil, taps int) (before, extent int) {
	extent = in
	for p := range min(stride, out) {
		last := (out - 1 - p) / stride
		for _, t := range phaseTaps(p, pad, stride, dil, taps) {
			before, extent = max(before, -t.shift), max(extent, last+t.shift+1)
		}
	}
	return before, extent + before
}

func (c *convTranspose) prepare() {
	c.top, c.ph = reach(c.H, c.OH, c.PT, c.SH, c.DH, c.KH)
	c.left, c.pw = reach(c.W, c.OW, c.PL, c.SW, c.DW, c.KW)
	for p := range min(c.SH, c.OH) {
		for q := range min(c.SW, c.OW) {
			c.phases = append(c.phases, c.phase(p, q))
		}
	}
	c.Weights, c.Bias = nil, nil
}

func (c *convTranspose) phase(p, q int) phase {
	hs, ws := phaseTaps(p, c.PT, c.SH, c.DH, c.KH), phaseTaps(q, c.PL, c.SW, c.DW, c.KW)
	cg, kg := c.C/c.Groups, c.K/c.Groups
	var off []int64
	var at []int // weight offset of each tap
	for _, h := range hs {
		for _, w := range ws {
			off = append(off, int64(((h.shift+c.top)*c.pw+w.shift+c.left)*c.C*4))
			at = append(at, (h.k*c.KW+w.k)*c.C*kg)
		}
	}
	if len(off) == 0 {
		// No tap reaches these outputs: one of weight zero stands for the sum +0.
		off, at = []int64{0}, []int{-1}
	}
	var ph phase
	for g := range c.Groups {
		for _, b := range c.set.columns(kg) {
			b.col, b.group = b.col+g*kg, g
			ph.blocks = append(ph.blocks, b)
		}
	}
	packBlocks(ph.blocks, c.set.lanes, len(off)*cg, func(b *block, k int) []float32 {
		if at[k/cg] < 0 {
			return nil
		}
		return c.Weights[at[k/cg]+(b.group*cg+k%cg)*kg+b.col-b.group*kg:]
	}, c.Bias)
	ph.chunks = chunks(off, cg, 4)
	n := (c.OW-1-q)/c.SW + 1
	per := ceilDiv(n, c.set.rows())
	for oh := p; oh < c.OH; oh += c.SH {
		for i := range per {
			lo, hi := cut(n, per, i), cut(n, per, i+1)
			half := (hi - lo + 1) / 2
			a, y := ((oh-p)/c.SH*c.pw+lo)*c.C*4, (oh*c.OW+q+lo*c.SW)*c.K*4
			ph.strips = append(ph.strips, strip{a: a, b: a + half*c.C*4, y: y, yb: y + half*c.SW*c.K*4, rows: hi - lo})
		}
	}
	return ph
}

func (c *convTranspose) run(lo, hi int, a *Args) {
	padded := -1
	for u := lo; u < hi; u++ {
		img, ph := u/len(c.phases), &c.phases[u%len(c.phases)]
		if img != padded {
			c.pad(floats(a.Scratch), floats(a.X)[img*c.H*c.W*c.C:])
			padded = img
		}
		y := img * c.OH * c.OW * c.K * 4
		res := uintptr(0)
		if c.Residual {
			res = base(a.X2) + uintptr(y)
		}
		c.compute(ph, base(a.Scratch), base(a.Y)+uintptr(y), res)
	}
	runtime.KeepAlive(a)
}

// pad copies an image with zeros around it.
func (c *convTranspose) pad(dst, x []float32) {
	for r := range c.ph {
		row := dst[r*c.pw*c.C:][:c.pw*c.C]
		if ih := r - c.top; ih >= 0 && ih < c.H {
			copyRow(row, x[ih*c.W*c.C:][:c.W*c.C], -c.left*c.C)
		} else {
			clear(row)
		}
	}
}

func (c *convTranspose) compute(ph *phase, x, y, res uintptr) {
	t := tile{stride: uintptr(c.C * 4), kstep: 4, ldy: uintptr(c.SW * c.K * 4), lo: c.ep.lo, hi: c.ep.hi}
	for i := range ph.blocks {
		b := &ph.blocks[i]
		in, out, width := b.group*(c.C/c.Groups)*4, b.col*4, b.vecs*c.set.lanes
		t.ldw, t.bias, t.mask, t.cols = uintptr(width*4), unsafe.Pointer(&b.bias[0]), b.mask, b.cols
		for j := range ph.strips {
			s := &ph.strips[j]
			t.a, t.b, t.rows = x+uintptr(s.a+in), x+uintptr(s.b+in), s.rows
			t.y, t.yb = y+uintptr(s.y+out), y+uintptr(s.yb+out)
			if res != 0 {
				t.res, t.resb = res+uintptr(s.y+out), res+uintptr(s.yb+out)
			}
			for k := range ph.chunks {
				ch := &ph.chunks[k]
				t.off, t.segs, t.seg = unsafe.Pointer(&ch.off[0]), uintptr(len(ch.off)), uintptr(ch.seg)
				t.w, t.flags = unsafe.Pointer(&b.w[ch.k*width]), ch.flags
				t.next = uintptr(t.w)
				c.set.run[b.vecs-1][s.rows-1](hide(&t))
			}
		}
	}
	if c.ep.then == nil {
		return
	}
	for j := range ph.strips {
		s := &ph.strips[j]
		for r := range s.rows {
			c.ep.then(unsafe.Slice(floatAt(y+uintptr(s.y+r*c.SW*c.K*4)), c.K))
		}
	}
}
