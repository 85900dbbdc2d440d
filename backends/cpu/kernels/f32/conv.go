package f32

import (
	"fmt"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// ConvSpec is a two-dimensional convolution, NHWC times HWIO
// [KH,KW,C/Groups,K]; a one-dimensional one has H = KH = 1. PT and PL are the
// padding at the top and left; what is missing at the bottom and right follows
// from OH and OW. Bias has K values or is nil. With Residual, X2 (the shape of
// Y) is added after the bias and before the activation.
//
// Each output is one FMA chain from +0 in the order (kh, kw, c), padding counted
// as zeros; then + bias (+0 without), + residual, activation.
type ConvSpec struct {
	N, H, W, C                     int
	OH, OW, K                      int
	KH, KW, SH, SW, DH, DW, PT, PL int
	Groups                         int
	Weights                        []float32
	Bias                           []float32
	Act                            Act
	Residual                       bool
}

func (s *ConvSpec) check(op string) error {
	for _, v := range []int{s.N, s.H, s.W, s.C, s.OH, s.OW, s.K, s.KH, s.KW, s.SH, s.SW, s.DH, s.DW, s.Groups} {
		if v < 1 {
			return specError(op, fmt.Sprintf("extent %d in %+v", v, s.dims()), "1 or more everywhere")
		}
	}
	switch {
	case s.PT < 0 || s.PL < 0:
		return specError(op, fmt.Sprintf("padding %d,%d", s.PT, s.PL), "0 or more")
	case s.C%s.Groups != 0 || s.K%s.Groups != 0:
		return specError(op, fmt.Sprintf("%d to %d channels in %d groups", s.C, s.K, s.Groups), "a multiple of the groups")
	case len(s.Weights) != s.KH*s.KW*s.C/s.Groups*s.K:
		return specError(op, fmt.Sprintf("%d weights", len(s.Weights)), "%d", s.KH*s.KW*s.C/s.Groups*s.K)
	case s.Bias != nil && len(s.Bias) != s.K:
		return specError(op, fmt.Sprintf("%d biases", len(s.Bias)), "%d", s.K)
	}
	return nil
}

func (s *ConvSpec) dims() string {
	return fmt.Sprintf("%dx%dx%dx%d_%dx%dx%d_k%dx%ds%dg%d", s.N, s.H, s.W, s.C, s.OH, s.OW, s.K, s.KH, s.KW, s.SH, s.Groups)
}

// Conv prepares a convolution of any geometry.
func Conv(s ConvSpec, l isa.Level) (Kernel, error) {
	if err := s.check("convolution"); err != nil {
		return nil, err
	}
	if s.Groups == s.C && s.K == s.C && s.Groups > 1 {
		return depthwise(s, l)
	}
	if s.KH == 1 && s.KW == 1 && s.SH == 1 && s.SW == 1 && s.PT == 0 && s.PL == 0 && s.H == s.OH && s.W == s.OW {
		// One long row of pixels.
		s.OW *= s.N * s.OH
		s.N, s.OH, s.H, s.W = 1, 1, 1, s.OW
	}
	ep, err := s.Act.epilogue(l)
	if err != nil {
		return nil, err
	}
	c := &conv{ConvSpec: s, set: gemmFor(l), ep: ep}
	c.prepare()
	return &op{
		name: fmt.Sprintf("conv_f32_%s_%s%s", s.dims(), c.set.name, ep.suffix()),
		run:  c.run, tiles: s.N * (len(c.bands) - 1) * c.parts, scratch: c.scratch,
	}, nil
}

// conv is a convolution as an implicit matrix product: strips of output pixels
// times blocks of output channels. Where there is padding, each band of output
// rows first copies its input, with zeros around it, to the scratch memory.
type conv struct {
	ConvSpec
	set    *gemmSet
	ep     epilogue
	padded bool
	ph, pw int // padded input extent
	blocks []block
	chunks []chunk
	strips []strip // of one image
	bands  []int   // strips [bands[i], bands[i+1]) are band i
	// Blocks are dealt to parts so that few bands still make enough units.
	parts   int
	scratch int
}

// bandBytes is how much input one band may touch: it should stay in the second
// level cache together with a block of weights.
const bandBytes = 192 << 10

// wantUnits is how many units a kernel is cut into at least, if it is large.
const wantUnits = 8

func (c *conv) prepare() {
	c.ph, c.pw = (c.OH-1)*c.SH+(c.KH-1)*c.DH+1, (c.OW-1)*c.SW+(c.KW-1)*c.DW+1
	c.padded = c.PT > 0 || c.PL > 0 || c.ph > c.H || c.pw > c.W
	pitch := c.W
	if c.padded {
		pitch = c.pw
	}
	cg, kg := c.C/c.Groups, c.K/c.Groups
	ktotal := c.KH * c.KW * cg
	c.packBlocks(cg, kg, ktotal)

	// Consecutive taps of a row are consecutive in memory.
	var off []int64
	seg := cg
	for kh := range c.KH {
		row := int64(kh * c.DH * pitch * c.C * 4)
		if c.Groups == 1 && (c.DW == 1 || c.KW == 1) {
			off, seg = append(off, row), c.KW*cg
			continue
		}
		for kw := range c.KW {
			off = append(off, row+int64(kw*c.DW*c.C*4))
		}
	}
	c.chunks = chunks(off, seg, 4)
	c.strips = c.cutStrips(pitch)
	c.cutBands(ktotal)
}

func (c *conv) packBlocks(cg, kg, ktotal int) {
	for g := range c.Groups {
		for _, b := range c.set.columns(kg) {
			b.col += g * kg
			b.group = g
			var bias []float32
			if c.Bias != nil {
				bias = c.Bias[b.col:]
			}
			b.pack(c.set.lanes, ktotal, func(k, j int) float32 { return c.Weights[k*c.K+b.col+j] }, bias)
			c.blocks = append(c.blocks, b)
		}
	}
	c.Weights, c.Bias = nil, nil
}

// cutStrips covers an output image with tiles of nearly equal row counts: parts
// of an output row, or two equal parts of neighbouring rows.
func (c *conv) cutStrips(pitch int) []strip {
	var ss []strip
	per := ceilDiv(c.OW, c.set.rows())
	at := func(oh, ow int) (a, y int) {
		return (oh*c.SH*pitch + ow*c.SW) * c.C * 4, (oh*c.OW + ow) * c.K * 4
	}
	step := 1
	if ceilDiv(c.OW, per) <= c.set.rows()/2 {
		step = 2
	}
	for oh := 0; oh < c.OH; oh += step {
		for i := range per {
			lo, hi := cut(c.OW, per, i), cut(c.OW, per, i+1)
			s := strip{first: oh, rows: hi - lo}
			s.a, s.y = at(oh, lo)
			if step == 2 && oh+1 < c.OH {
				s.rows *= 2
				s.b, s.yb = at(oh+1, lo)
			} else {
				s.b, s.yb = at(oh, lo+(s.rows+1)/2)
			}
			ss = append(ss, s)
		}
	}
	return ss
}

func (c *conv) cutBands(ktotal int) {
	n := 1
	if c.OH > 1 {
		n = max(1, min(c.OH, ceilDiv(c.ph*c.pw*c.C*4, bandBytes)))
	} else {
		n = max(1, ceilDiv(c.OW*c.C*4, bandBytes))
	}
	macs := c.OH * c.OW * c.K * ktotal
	c.parts = 1
	if want := min(wantUnits, macs>>18); c.N*n < want {
		// More bands while they stay long, then parts of the channels.
		n = max(n, min(ceilDiv(want, c.N), len(c.strips)/4))
		if c.N*n < want {
			c.parts = min(len(c.blocks), ceilDiv(want, c.N*n))
		}
	}
	n = min(n, len(c.strips))
	c.bands = []int{0}
	for i := 1; i <= n; i++ {
		e := cut(len(c.strips), n, i)
		// A band ends where an output row does.
		for e < len(c.strips) && c.OH > 1 && c.strips[e].first == c.strips[e-1].first {
			e++
		}
		if e > c.bands[len(c.bands)-1] {
			c.bands = append(c.bands, e)
		}
	}
	if c.padded {
		for i := range c.bands[1:] {
			lo, hi := c.bandRows(i)
			c.scratch = max(c.scratch, align64((hi-lo)*c.pw*c.C*4))
		}
	}
}

// bandRows gives the rows of the padded input that a band reads.
func (c *conv) bandRows(i int) (lo, hi int) {
	first := c.strips[c.bands[i]].first
	last := c.OH
	if c.bands[i+1] < len(c.strips) {
		last = c.strips[c.bands[i+1]].first
	}
	return first * c.SH, (last-1)*c.SH + (c.KH-1)*c.DH + 1
}

func (c *conv) run(lo, hi int, a *Args) {
	bands := len(c.bands) - 1
	padded := -1
	for u := lo; u < hi; u++ {
		img, band, part := u/c.parts/bands, u/c.parts%bands, u%c.parts
		x, shift := unsafe.Add(base(a.X), img*c.H*c.W*c.C*4), 0
		if c.padded {
			r0, r1 := c.bandRows(band)
			if padded != u/c.parts {
				padImage(floats(a.Scratch), floats(a.X)[img*c.H*c.W*c.C:], c.H, c.W, c.C, c.PT, c.PL, r0, r1, c.pw)
				padded = u / c.parts
			}
			x, shift = base(a.Scratch), r0*c.pw*c.C*4
		}
		y := img * c.OH * c.OW * c.K * 4
		var res unsafe.Pointer
		if c.Residual {
			res = unsafe.Add(base(a.X2), y)
		}
		c.band(band, part, x, shift, unsafe.Add(base(a.Y), y), res)
	}
}

// band computes the strips of a band for the blocks of a part; x is the image,
// or its padded rows from byte shift on.
func (c *conv) band(band, part int, x unsafe.Pointer, shift int, y, res unsafe.Pointer) {
	b0, b1 := cut(len(c.blocks), c.parts, part), cut(len(c.blocks), c.parts, part+1)
	strips := c.strips[c.bands[band]:c.bands[band+1]]
	t := tile{stride: uintptr(c.SW * c.C * 4), kstep: 4, ldy: uintptr(c.K * 4), lo: c.ep.lo, hi: c.ep.hi}
	for i := b0; i < b1; i++ {
		b := &c.blocks[i]
		in, out := b.group*(c.C/c.Groups)*4-shift, b.col*4
		t.ldw = uintptr(b.vecs * c.set.lanes * 4)
		t.bias = unsafe.Pointer(&b.bias[0])
		t.mask, t.cols = b.mask, b.cols
		kernels := c.set.run[b.vecs-1]
		for j := range strips {
			s := &strips[j]
			t.a, t.b = unsafe.Add(x, s.a+in), unsafe.Add(x, s.b+in)
			t.y, t.yb = unsafe.Add(y, s.y+out), unsafe.Add(y, s.yb+out)
			if res != nil {
				t.res, t.resb = unsafe.Add(res, s.y+out), unsafe.Add(res, s.yb+out)
			}
			t.rows = s.rows
			for k := range c.chunks {
				ch := &c.chunks[k]
				t.off, t.segs, t.seg = unsafe.Pointer(&ch.off[0]), uintptr(len(ch.off)), uintptr(ch.seg)
				t.w = unsafe.Pointer(&b.w[ch.k*b.vecs*c.set.lanes])
				t.flags = ch.flags
				kernels[s.rows-1](&t)
			}
		}
	}
	if c.ep.then != nil {
		c.finish(strips, c.blocks[b0].col, c.blocks[b1-1].col+c.blocks[b1-1].cols, y)
	}
}

// finish applies the activation function to columns [c0, c1) of the strips' rows.
func (c *conv) finish(strips []strip, c0, c1 int, y unsafe.Pointer) {
	for i := range strips {
		s := &strips[i]
		half := (s.rows + 1) / 2
		for r := range s.rows {
			at := s.y + r*c.K*4
			if r >= half {
				at = s.yb + (r-half)*c.K*4
			}
			c.ep.then(unsafe.Slice((*float32)(unsafe.Add(y, at+c0*4)), c1-c0))
		}
	}
}

// padImage copies rows [r0, r1) of the image padded by pt, pl to dst, whose rows
// are pw pixels wide.
func padImage(dst, x []float32, h, w, c, pt, pl, r0, r1, pw int) {
	left, n := min(pl, pw)*c, max(0, min(w, pw-pl))*c
	for r := r0; r < r1; r++ {
		row := dst[(r-r0)*pw*c:][:pw*c]
		if r < pt || r >= pt+h {
			clear(row)
			continue
		}
		clear(row[:left])
		copy(row[left:left+n], x[(r-pt)*w*c:][:n])
		clear(row[left+n:])
	}
}
