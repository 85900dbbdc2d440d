package f32

import (
	"fmt"
	"math"
	"runtime"
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
	// Winograd is 2 or 4 for a 3x3 convolution of stride 1 by F(2x2, 3x3) or
	// F(4x4, 3x3), which gives other last bits: fmath.WinogradInput of tiles of
	// the padded input, the first at the upper left; at each of their positions
	// one FMA chain from +0 over c with fmath.WinogradWeights rounded to float32;
	// fmath.WinogradOutput; then the bias and what follows it.
	Winograd int
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
	if s.Winograd != 0 {
		return newWinograd(s, l)
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
	c.flags = c.ep.inTile(c.set)
	c.prepare()
	return &op{
		name: fmt.Sprintf("conv_f32_%s_%s%s", s.dims(), c.set.name, ep.suffix()),
		run:  c.run, tiles: s.N * (len(c.bands) - 1) * c.parts, scratch: c.scratch, blocks: c.blocks,
	}, nil
}

// conv is a convolution as an implicit matrix product: strips of output pixels
// times blocks of output channels, reading the input where it lies. Where there
// is padding, or where the pixels of a strip would fall into the same cache
// sets, each band of output rows first copies its input to the scratch memory.
type conv struct {
	ConvSpec
	set    *gemmSet
	vecs   int // of a whole block
	ep     epilogue
	flags  uint64 // of the epilogue
	copied bool
	pix    int // floats from pixel to pixel in what is read
	// The copy takes input pixel (r*ch - PT, c*cw - PL) to (r, c) of ph x pw
	// pixels; from there on the strides are th and tw.
	ph, pw         int
	ch, cw, th, tw int
	blocks         []block
	chunks         []chunk
	strips         []strip // of one image
	bands          []int   // strips [bands[i], bands[i+1]) are band i
	// Blocks are dealt to parts so that few bands still make enough units.
	parts       int
	scratch     int
	weightBytes int
}

func (c *conv) prepare() {
	c.ch, c.cw, c.th, c.tw = 1, 1, c.SH, c.SW
	c.ph, c.pw = (c.OH-1)*c.SH+(c.KH-1)*c.DH+1, (c.OW-1)*c.SW+(c.KW-1)*c.DW+1
	c.copied = c.PT > 0 || c.PL > 0 || c.ph > c.H || c.pw > c.W
	c.pix = c.C
	if c.SW*c.C*4%aliasBytes == 0 && c.OW > 1 {
		c.copied = true
	}
	if c.copied && c.KH == 1 && c.KW == 1 {
		// Only the pixels that are used.
		c.ch, c.cw, c.th, c.tw = c.SH, c.SW, 1, 1
		c.ph, c.pw = c.OH, c.OW
	}
	if c.tw*c.C*4%aliasBytes == 0 && c.OW > 1 {
		c.pix += 16
	}
	pitch := c.W
	if c.copied {
		pitch = c.pw
	}
	cg, kg := c.C/c.Groups, c.K/c.Groups
	ktotal := c.KH * c.KW * cg
	per, step := c.shape(ktotal, kg)
	c.packBlocks(cg, kg, ktotal)

	// Consecutive taps of a row are consecutive in memory, unless there are gaps.
	var off []int64
	seg := cg
	for kh := range c.KH {
		row := int64(kh * c.DH * pitch * c.pix * 4)
		if c.Groups == 1 && c.pix == c.C && (c.DW == 1 || c.KW == 1) {
			off, seg = append(off, row), c.KW*cg
			continue
		}
		for kw := range c.KW {
			off = append(off, row+int64(kw*c.DW*c.pix*4))
		}
	}
	c.chunks = chunks(off, seg, 4)
	c.strips = c.cutStrips(pitch, per, step)
	c.cutBands(ktotal)
}

// aliasBytes: pixels at a multiple of this distance share so few sets of the
// first level cache that a strip of them does not fit.
const aliasBytes = 2048

func (c *conv) packBlocks(cg, kg, ktotal int) {
	for g := range c.Groups {
		for _, b := range c.set.columnsOf(kg, c.vecs) {
			b.col += g * kg
			b.group = g
			c.blocks = append(c.blocks, b)
		}
	}
	c.weightBytes = len(c.Weights) * 4
	if ktotal > maxK {
		c.weightBytes = fewWeights + 1 // several chunks go block after block
	}
	packBlocks(c.blocks, c.set.lanes, ktotal, func(b *block, k int) []float32 { return c.Weights[k*c.K+b.col:] }, c.Bias)
	c.Weights, c.Bias = nil, nil
}

// shape chooses the width of the blocks, and with it the rows of a tile: parts
// of an output row (step 1), or equal parts of two neighbouring rows (step 2),
// whichever is least work for k values and kg columns.
func (c *conv) shape(k, kg int) (per, step int) {
	least := math.Inf(1)
	for vecs := c.set.wide; vecs <= len(c.set.run); vecs++ {
		blocks, rows := c.set.columnsOf(kg, vecs), len(c.set.run[vecs-1])
		for s := 1; s <= min(2, c.OH, rows); s++ {
			p := ceilDiv(c.OW, rows/s)
			sum := 0.0
			for i := range p {
				for j := range blocks {
					sum += c.set.stepCost((cut(c.OW, p, i+1)-cut(c.OW, p, i))*s, blocks[j].vecs, k)
				}
			}
			if sum /= float64(s); sum < least {
				least, c.vecs, per, step = sum, vecs, p, s
			}
		}
	}
	return per, step
}

// cutStrips covers an output image with tiles of nearly equal row counts, as
// shape chose them.
func (c *conv) cutStrips(pitch, per, step int) []strip {
	at := func(oh, ow int) (a, y int) {
		return (oh*c.th*pitch + ow*c.tw) * c.pix * 4, (oh*c.OW + ow) * c.K * 4
	}
	var ss []strip
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

// box is the pixels that a band reads: rows [r0, r1) and columns [c0, c1).
type box struct{ r0, r1, c0, c1 int }

// box is that of band i of the given ones.
func (c *conv) box(bands []int, i int) box {
	if c.OH == 1 && c.KH == 1 {
		first, last := c.strips[bands[i]], c.strips[bands[i+1]-1]
		a, z := first.y/4/c.K, last.y/4/c.K+last.rows
		return box{0, 1, a * c.tw, (z-1)*c.tw + (c.KW-1)*c.DW + 1}
	}
	first, last := c.strips[bands[i]].first, c.OH
	if bands[i+1] < len(c.strips) {
		last = c.strips[bands[i+1]].first
	}
	return box{first * c.th, (last-1)*c.th + (c.KH-1)*c.DH + 1, 0, c.pw}
}

// boxBytes is the size of a copied box.
func (c *conv) boxBytes(b box) int { return (b.r1 - b.r0) * (b.c1 - b.c0) * c.pix * 4 }

func (c *conv) run(lo, hi int, a *Args) {
	bands := len(c.bands) - 1
	for u := lo; u < hi; u++ {
		img, band, part := u/c.parts/bands, u/c.parts%bands, u%c.parts
		x := base(a.X) + uintptr(img*c.H*c.W*c.C*4)
		if c.copied {
			b := c.box(c.bands, band)
			if mine := u/c.parts + 1; a.Held != mine {
				c.copyBox(floats(a.Scratch), floats(a.X)[img*c.H*c.W*c.C:], b)
				a.Held = mine
			}
			x = base(a.Scratch) - uintptr((b.r0*c.pw+b.c0)*c.pix*4)
		}
		y := img * c.OH * c.OW * c.K * 4
		res := uintptr(0)
		if c.Residual {
			res = base(a.X2) + uintptr(y)
		}
		c.band(band, part, x, base(a.Y)+uintptr(y), res)
	}
	runtime.KeepAlive(a)
}

// band computes the strips of a band for the blocks of a part; x, y and res are
// where the image begins, or would begin if its copy were whole.
func (c *conv) band(band, part int, x, y, res uintptr) {
	b0, b1 := cut(len(c.blocks), c.parts, part), cut(len(c.blocks), c.parts, part+1)
	blocks, strips := c.blocks[b0:b1], c.strips[c.bands[band]:c.bands[band+1]]
	t := tile{stride: uintptr(c.tw * c.pix * 4), kstep: 4, ldy: uintptr(c.K * 4), lo: c.ep.lo, hi: c.ep.hi}
	if c.weightBytes <= fewWeights {
		// All weights stay in the first level cache: finish pixel after pixel.
		for j := range strips {
			for i := range blocks {
				c.setBlock(&t, &blocks[i], &c.chunks[0])
				t.next = uintptr(t.w)
				c.compute(&t, &blocks[i], &strips[j], x, y, res)
			}
		}
	} else {
		for i := range blocks {
			for k := range c.chunks {
				ch := &c.chunks[k]
				c.setBlock(&t, &blocks[i], ch)
				// All strips together fetch the next chunk of weights: requests
				// spread over time find a free place in the queues.
				fetch := max(1, c.set.fetch)
				next := uintptr(t.w) + uintptr(ch.n)*t.ldw
				t.nextStep = min(64, uintptr(ceilDiv(int(t.ldw)*fetch, len(strips))))
				for j := range strips {
					t.next = next
					next += uintptr(ch.n/fetch) * t.nextStep
					c.compute(&t, &blocks[i], &strips[j], x, y, res)
				}
			}
		}
	}
	if c.ep.then != nil {
		c.finish(strips, blocks[0].col, c.blocks[b1-1].col+c.blocks[b1-1].cols, y)
	}
}

// fewWeights bounds the weights of a convolution that computes strip after
// strip; others compute block after block, each with its weights in the second
// level cache.
const fewWeights = 24 << 10

// setBlock sets what all tiles of a block and a chunk of K share.
func (c *conv) setBlock(t *tile, b *block, ch *chunk) {
	t.ldw = uintptr(b.vecs * c.set.lanes * 4)
	t.bias = unsafe.Pointer(&b.bias[0])
	t.mask, t.cols = b.mask, b.cols
	t.off, t.segs, t.seg = unsafe.Pointer(&ch.off[0]), uintptr(len(ch.off)), uintptr(ch.seg)
	t.w, t.flags = unsafe.Pointer(&b.w[ch.k*b.vecs*c.set.lanes]), ch.flags|c.flags
}

// compute runs the micro-kernel of one tile.
func (c *conv) compute(t *tile, b *block, s *strip, x, y, res uintptr) {
	in, out := uintptr(b.group*(c.C/c.Groups)*4), uintptr(b.col*4)
	t.a, t.b = x+uintptr(s.a)+in, x+uintptr(s.b)+in
	t.y, t.yb = y+uintptr(s.y)+out, y+uintptr(s.yb)+out
	if res != 0 {
		t.res, t.resb = res+uintptr(s.y)+out, res+uintptr(s.yb)+out
	}
	t.rows = s.rows
	c.set.run[b.vecs-1][s.rows-1](hide(t))
}

// finish applies the activation function to columns [c0, c1) of the strips'
// rows, at once where these are all columns: a band's rows follow each other.
func (c *conv) finish(strips []strip, c0, c1 int, y uintptr) {
	if c1-c0 == c.K {
		n := 0
		for i := range strips {
			n += strips[i].rows
		}
		c.ep.then(unsafe.Slice(floatAt(y+uintptr(strips[0].y)), n*c.K))
		return
	}
	for i := range strips {
		s := &strips[i]
		half := (s.rows + 1) / 2
		for r := range s.rows {
			at := s.y + r*c.K*4
			if r >= half {
				at = s.yb + (r-half)*c.K*4
			}
			c.ep.then(unsafe.Slice(floatAt(y+uintptr(at+c0*4)), c1-c0))
		}
	}
}

// copyBox copies the pixels of a box, zeros outside the image, with their pitch.
func (c *conv) copyBox(dst, x []float32, b box) {
	n := b.c1 - b.c0
	for r := b.r0; r < b.r1; r++ {
		row := dst[(r-b.r0)*n*c.pix:][:n*c.pix]
		ih := r*c.ch - c.PT
		if ih < 0 || ih >= c.H {
			clear(row)
			continue
		}
		in := x[ih*c.W*c.C:][:c.W*c.C]
		if c.pix == c.C && c.cw == 1 {
			copyRow(row, in, (b.c0-c.PL)*c.C)
			continue
		}
		for j := b.c0; j < b.c1; j++ {
			o := row[(j-b.c0)*c.pix:][:c.C]
			if iw := j*c.cw - c.PL; iw >= 0 && iw < c.W {
				copy(o, in[iw*c.C:])
			} else {
				clear(o)
			}
		}
	}
}

// copyRow fills dst with x from index at on; what lies outside x is zero.
func copyRow(dst, x []float32, at int) {
	left := min(max(-at, 0), len(dst))
	clear(dst[:left])
	n := 0
	if at+left < len(x) {
		n = copy(dst[left:], x[at+left:])
	}
	clear(dst[left+n:])
}
