package int8

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// Conv prepares a convolution of any geometry. Y may be X2.
func Conv(s ConvSpec, l isa.Level) (Kernel, error) {
	if err := s.check("q_convolution"); err != nil {
		return nil, err
	}
	return newConv(s, l)
}

// Dot prepares a dense layer. Y may be X2.
func Dot(s DotSpec, l isa.Level) (Kernel, error) {
	c := s.conv()
	if err := c.check("q_dot"); err != nil {
		return nil, err
	}
	return newConv(c, l)
}

// conv is a convolution as an implicit matrix product: tiles of output pixels
// times blocks of output channels. Each row of a pixel's window is one run of
// consecutive bytes (each tap one where groups or dilation pull them apart).
// Where there is padding, or a run is no multiple of the kernel's step, a band
// of output rows first copies its input, padded, to the scratch memory.
type conv struct {
	ConvSpec
	k        *gemmKernel
	fin      finisher
	copied   bool
	in       input
	blocks   []block
	runs     []int64
	quads    int // steps of a run
	bands    []band
	imgBytes int // scratch of the copied input
	sumBytes int
}

// block is up to kernel.cols output channels of one group.
type block struct {
	k     *gemmKernel
	col   int // first channel
	cols  int
	group int
	w     []byte
	init  []int32
}

// convArgs is the argument memory of one Run; pooled, since what is reached
// through function values would be allocated.
type convArgs struct {
	gemm    gemmArgs
	finish  finishArgs
	window  windowArgs
	convert convertArgs
}

var convPool = sync.Pool{New: func() any { return new(convArgs) }}

const (
	// sumPixels is how many pixels have their sums kept before they are finished.
	sumPixels = 28
	// sumSlack is what a kernel may read behind the last row of sums.
	sumSlack = 256
	// bandBytes bounds the copied input of a band: with a block of weights it
	// stays in the second level cache.
	bandBytes = 192 << 10
	// wantUnits is how many units a large kernel is cut into at least.
	wantUnits = 16
)

func newConv(s ConvSpec, l isa.Level) (Kernel, error) {
	s.flat()
	if s.Groups == s.C && s.K == s.C && s.C > 1 {
		return newDepthwise(s, l), nil
	}
	c := &conv{ConvSpec: s}
	// x and w less a zero point need 16 bits.
	c.k = pickGemm(l, s.WZero != nil)
	c.fin = newFinisher(s.Out, s.Mult, s.bound(), s.Residual, s.Table, l)
	c.prepare(l)
	return &op{
		name: fmt.Sprintf("conv_%s_%s", s.dims(), c.k.name), run: c.run,
		tiles: len(c.bands) * len(c.blocks), scratch: c.imgBytes + c.sumBytes,
		cost: float64(s.N*s.OH*s.OW*s.K) * float64(s.KH*s.KW*s.C/s.Groups) / float64(len(c.bands)*len(c.blocks)) / c.k.speed(),
	}, nil
}

func (c *conv) prepare(l isa.Level) {
	cg, kg := c.C/c.Groups, c.K/c.Groups
	c.in = newInput(c.ConvSpec, c.k.format.elem(), l)
	joined := c.Groups == 1 && (c.DW == 1 || c.KW == 1)
	length := cg
	if joined {
		length = c.KW * cg
	}
	c.copied = c.PT > 0 || c.PL > 0 || c.in.ph > c.H || c.in.pw > c.W ||
		c.XSigned || c.in.elem != 1 || length%c.k.quad != 0
	pitch := c.W
	if c.copied {
		pitch = c.in.pw
	}
	for kh := range c.KH {
		row := kh * c.DH * pitch * c.C * c.in.elem
		if joined {
			c.runs = append(c.runs, int64(row))
			continue
		}
		for kw := range c.KW {
			c.runs = append(c.runs, int64(row+kw*c.DW*c.C*c.in.elem))
		}
	}
	c.quads = ceilDiv(length, c.k.quad)
	c.packBlocks(cg, kg, length)
	c.cutBands(length * len(c.runs))
	c.sumBytes = sumPixels*c.k.cols*4 + sumSlack
	c.Weights, c.Bias, c.WZero, c.Mult = nil, nil, nil, nil
}

func (c *conv) packBlocks(cg, kg, length int) {
	// x as u8 keeps its zero point, which the bias takes away.
	zero := int32(0)
	if c.k.format == bytesFormat {
		zero = c.XZero + offset(c.XSigned)
	}
	for g := range c.Groups {
		for col := 0; col < kg; {
			k := c.k.fit(kg - col)
			b := block{k: k, col: g*kg + col, cols: min(k.cols, kg-col), group: g}
			b.w = aligned[byte](len(c.runs) * c.quads * k.stepBytes())
			b.init = aligned[int32](k.cols)
			k.pack(b.w, len(c.runs), length, b.cols, func(run, i, j int) int32 {
				return c.weightAt((run*length+i)*c.K + b.col + j)
			})
			for j := range b.cols {
				if c.Bias != nil {
					b.init[j] = c.Bias[b.col+j]
				}
				if zero != 0 {
					var sum int32
					for i := range len(c.runs) * length {
						sum += c.weightAt(i*c.K + b.col + j)
					}
					b.init[j] -= zero * sum
				}
			}
			c.blocks = append(c.blocks, b)
			col += k.cols
		}
	}
}

// cutBands splits the output so that a band's input stays in cache and there
// are enough units for several workers.
func (c *conv) cutBands(ktotal int) {
	macs := c.N * c.OH * c.OW * c.K * ktotal
	want := ceilDiv(min(wantUnits, 1+macs>>20), len(c.blocks)*c.N)
	if c.OH == 1 {
		parts := max(want, ceilDiv(c.in.pw*c.C*c.in.elem, bandBytes))
		parts = max(1, min(parts, c.OW/sumPixels))
		for n := range c.N {
			for i := range parts {
				c.addBand(band{n, 0, 1, cut(c.OW, parts, i), cut(c.OW, parts, i+1)})
			}
		}
		return
	}
	parts := max(want, ceilDiv(c.in.ph*c.in.pw*c.C*c.in.elem, bandBytes))
	parts = max(1, min(parts, ceilDiv(c.OH, max(1, c.KH-1))))
	for n := range c.N {
		for i := range parts {
			c.addBand(band{n, cut(c.OH, parts, i), cut(c.OH, parts, i+1), 0, c.OW})
		}
	}
}

func (c *conv) addBand(b band) {
	c.bands = append(c.bands, b)
	if c.copied {
		c.imgBytes = max(c.imgBytes, c.in.bytes(b))
	}
}

func (c *conv) run(lo, hi int, a *Args) {
	ca := convPool.Get().(*convArgs)
	copied := -1
	for u := lo; u < hi; u++ {
		bi := u / len(c.blocks)
		b := &c.bands[bi]
		var x unsafe.Pointer
		if c.copied {
			if copied != bi {
				c.in.copy(&ca.convert, a, b)
				copied = bi
			}
			x = base(a.Scratch)
		} else {
			x = unsafe.Add(base(a.X), ((b.n*c.H+b.oy0*c.SH)*c.W)*c.C)
		}
		c.band(ca, a, b, &c.blocks[u%len(c.blocks)], x)
	}
	*ca = convArgs{}
	convPool.Put(ca)
}

// band computes a block's channels of a band; x is the band's first input row.
func (c *conv) band(ca *convArgs, a *Args, b *band, blk *block, x unsafe.Pointer) {
	k := blk.k
	pitch := c.W
	if c.copied {
		pitch = c.in.pw
	}
	x = unsafe.Add(x, blk.group*(c.C/c.Groups)*c.in.elem)
	sums := unsafe.Add(base(a.Scratch), c.imgBytes)
	size := c.fin.out.bytes()
	first := (b.n*c.OH+b.oy0)*c.OW + b.ox0 // of the pixels with sums
	y := unsafe.Add(base(a.Y), (first*c.K+blk.col)*size)
	var x2 unsafe.Pointer
	if c.Residual != nil {
		x2 = unsafe.Add(base(a.X2), first*c.K+blk.col)
	}
	g := &ca.gemm
	sumStep := uintptr(k.cols * 4)
	*g = gemmArgs{
		xStep: uintptr(c.SW * c.C * c.in.elem), runs: base(c.runs), numRuns: len(c.runs), quads: c.quads,
		w: base(blk.w), init: base(blk.init), sumStep: sumStep,
	}
	have := 0
	for oy := b.oy0; oy < b.oy1; oy++ {
		row := unsafe.Add(x, (oy-b.oy0)*c.SH*pitch*c.C*c.in.elem)
		for ox := b.ox0; ox < b.ox1; {
			n := min(b.ox1-ox, sumPixels-have)
			g.x = unsafe.Add(row, ox*c.SW*c.C*c.in.elem)
			k.rowsOf(g, unsafe.Add(sums, uintptr(have)*sumStep), n)
			have += n
			ox += n
			if have == sumPixels || oy == b.oy1-1 && ox == b.ox1 {
				c.fin.apply(&ca.finish, sums, sumStep, have, blk.cols, blk.col, y, x2, c.K)
				y = unsafe.Add(y, have*c.K*size)
				if x2 != nil {
					x2 = unsafe.Add(x2, have*c.K)
				}
				have = 0
			}
		}
	}
}

// rowsOf computes n rows from g.x on, in tiles of nearly equal height.
func (k *gemmKernel) rowsOf(g *gemmArgs, sums unsafe.Pointer, n int) {
	tiles := ceilDiv(n, k.rows)
	small := n / tiles
	big := n - small*tiles // tiles with a row more
	x := g.x
	// Assembly cannot be interrupted: a call takes some 30 µs at most.
	most := max(1, maxSteps/(g.quads*g.numRuns))
	for done, r := 0, 0; tiles > 0; tiles -= done {
		done, r = tiles, small
		if big > 0 {
			done, r = big, small+1
		}
		done = min(done, most)
		big = max(0, big-done)
		g.x, g.sums, g.tiles, g.rows = x, sums, done, r
		k.run[r-1](g)
		x = unsafe.Add(x, uintptr(done*r)*g.xStep)
		sums = unsafe.Add(sums, uintptr(done*r)*g.sumStep)
	}
}

// maxSteps bounds the steps of one call of a kernel.
const maxSteps = 8192
