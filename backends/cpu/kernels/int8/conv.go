package int8

import (
	"fmt"
	"runtime"
	"slices"
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
	k      *gemmKernel
	fin    finisher
	copied bool
	ahead  bool   // a block's weights are prefetched while the one before runs
	after  []byte // what is read next, behind the last block's weights
	in     input
	blocks
	runs     []int64
	quads    int // steps of a run
	narrow   int // bytes of a run that is less than a step, in fours; 0: it is not
	bands    []band
	imgBytes int // scratch of the copied input
	sumBytes int
	pictures *pictures // nil where each is computed by itself
	pairs    *rowPairs // nil where rows are copied one by one
	pixel    int       // bytes of a pixel as it is read
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
	gemm     gemmArgs
	finish   finishArgs
	window   windowArgs
	pictures pictureArgs
	rowPairs rowPairArgs
	convert  convertArgs
}

var convPool = sync.Pool{New: func() any { return new(convArgs) }}

const (
	// sumPixels is how many pixels have their sums kept before they are finished.
	sumPixels = 112
	// leastPixels is how many pixels of a matrix product are worth a unit.
	leastPixels = 28
	// sumSlack is what a kernel may read behind the last row of sums.
	sumSlack = 256
	// bandBytes bounds the copied input of a band: with a block of weights it
	// stays in the second level cache.
	bandBytes = 192 << 10
	// joinedBytes bounds the input of bands that are computed as one.
	joinedBytes = 512 << 10
	// weightBytesPerNS is the speed of reading weights that no cache of the core holds.
	weightBytesPerNS = 30
	// wantUnits is how many units a large kernel is cut into at least, those of
	// smaller ones take about unitNS: of less the ends of the calls are too much.
	wantUnits = 16
	unitNS    = 3000
)

func newConv(s ConvSpec, l isa.Level) (Kernel, error) {
	s.flat()
	if s.Mult == nil { // sums need none
		s.Mult = make([]float32, s.K)
	}
	if s.Groups == s.C && s.K == s.C && s.C > 1 {
		return newDepthwise(s, l), nil
	}
	c := &conv{ConvSpec: s}
	c.k = s.kernel(l)
	choices := c.k.choices(s.K / s.Groups)
	if k := winogradOf(&s, l); k != nil {
		if choices == nil {
			choices = []string{c.k.fit(s.K).name}
		}
		choices = append(choices, k.name)
		if s.Kernel == k.name || !slices.Contains(choices, s.Kernel) && s.fewerProducts() {
			return newWinograd(s, k, l, choices), nil
		}
	}
	if i := slices.IndexFunc(gemmKernels, func(k gemmKernel) bool { return k.name == s.Kernel }); i >= 0 && slices.Contains(choices, s.Kernel) {
		c.k = &gemmKernels[i]
	}
	c.fin = newFinisher(s.Out, s.Mult, s.bound(), s.Residual, s.Table, l)
	c.prepare(l)
	run, bands := c.run, len(c.bands)
	if c.pictures != nil {
		run, bands = c.runPictures, len(c.pictures.bands)
	}
	units := float64(bands * len(c.blocks))
	outputs := float64(s.N * s.OH * s.OW * s.K)
	perOutput := 0.05 // ns, beside the products
	if c.k.level == isa.Portable {
		perOutput = 3
	}
	products := outputs * (float64(len(c.runs)*c.quads*c.k.quad)/c.k.speed() + perOutput)
	return &op{
		name: fmt.Sprintf("conv_%s_%s", s.dims(), c.k.name), run: run,
		tiles: bands * len(c.blocks), scratch: c.imgBytes + c.sumBytes,
		cost:    max(products, float64(s.KH*s.KW*s.C/s.Groups*s.K)/weightBytesPerNS) / units,
		weights: c,
		choices: choices,
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
	c.pixel = c.C * c.in.elem
	rows := c.KH
	if c.pairsRows(c.k) {
		c.pairRows()
		c.pixel, length, rows = 2*c.pixel, 2*length, ceilDiv(c.KH, 2)
	}
	step := c.k.quad // elements of x that a step reads
	if n := (length + 3) &^ 3; n < step {
		c.narrow, step = n, n
	}
	gather := c.gathers()
	c.copied = gather || c.pairs != nil || c.PT > 0 || c.PL > 0 || c.in.ph > c.H || c.in.pw > c.W ||
		c.XSigned || c.in.elem != 1 || length%step != 0
	pitch := c.W
	if c.copied {
		pitch = c.in.pw
	}
	for kh := range rows {
		row := kh * c.DH * pitch * c.pixel
		if joined {
			c.runs = append(c.runs, int64(row))
			continue
		}
		for kw := range c.KW {
			c.runs = append(c.runs, int64(row+kw*c.DW*c.C*c.in.elem))
		}
	}
	c.quads = ceilDiv(length, c.k.quad)
	if gather {
		c.gather()
		length = c.KW * 64
	}
	c.packBlocks(cg, kg, length)
	if !gather {
		c.cutBands(length * len(c.runs))
	}
	c.sumBytes = sumPixels*c.k.cols*4 + sumSlack
	c.Weights, c.Bias, c.WZero, c.Mult = nil, nil, nil, nil
}

// weightSlack is what may be read behind the last weights.
const weightSlack = 64

// blocks are the weights of a convolution, some columns each.
type blocks []block

func (b blocks) weightBytes() int {
	n := 0
	for i := range b {
		n += align64(len(b[i].w))
	}
	return n + weightSlack
}

func (b blocks) moveWeights(dst []byte) {
	for i := range b {
		n := copy(dst, b[i].w)
		b[i].w, dst = dst[:n:n], dst[align64(n):]
	}
}

func (c *conv) readNext(b []byte) { c.after = b }

func (c *conv) packBlocks(cg, kg, length int) {
	// x as u8 keeps its zero point, which the bias takes away.
	zero := int32(0)
	if c.in.elem == 1 {
		zero = c.XZero + offset(c.XSigned) - c.k.format.taken()
	}
	size := 0
	for col := 0; col < kg; {
		k := c.k.fit(kg - col)
		size += align64(len(c.runs) * c.quads * k.stepBytes())
		col += k.cols
	}
	c.ahead = c.k.level == isa.VNNI
	slab := aligned[byte](size * c.Groups)
	for g := range c.Groups {
		for col := 0; col < kg; {
			k := c.k.fit(kg - col)
			b := block{k: k, col: g*kg + col, cols: min(k.cols, kg-col), group: g}
			n := len(c.runs) * c.quads * k.stepBytes()
			b.w, slab = slab[:n:n], slab[align64(n):]
			b.init = aligned[int32](k.cols)
			var zeros []int32
			if c.WZero != nil {
				zeros = c.WZero[b.col:]
			}
			k.pack(b.w, c.Weights[b.col:], c.K, len(c.runs), length, b.cols, zeros)
			if zero != 0 {
				k.sumColumns(b.w, b.init)
			}
			for j := range b.cols {
				b.init[j] *= -zero
				if c.Bias != nil {
					b.init[j] += c.Bias[b.col+j]
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
	want := ceilDiv(c.k.units(macs), len(c.blocks)*c.N)
	// Two threads want halves: of the pixels, so that each finds its own in its
	// cache; or of the channels where the weights are more than the pixels.
	byRows := c.OH*c.OW*(c.C+c.K) >= c.K*ktotal
	if byRows || len(c.blocks)%2 != 0 && len(c.blocks) < 8 {
		want = max(want, 2)
	} else if want == 2 {
		want = 1
	}
	if c.N%2 != 0 {
		want = evened(want)
	}
	if c.OH == 1 {
		parts := max(want, ceilDiv(c.in.pw*c.C*c.in.elem, bandBytes))
		parts = max(1, min(parts, c.OW/leastPixels))
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
	switch {
	case c.pairs != nil:
		c.imgBytes = max(c.imgBytes, c.pairs.bytes(&c.in, b))
	case c.copied:
		c.imgBytes = max(c.imgBytes, c.in.bytes(b))
	}
}

func (c *conv) run(lo, hi int, a *Args) {
	ca := convPool.Get().(*convArgs)
	for u := lo; u < hi; u++ {
		bi := u / len(c.blocks)
		b := c.bands[bi]
		if n := c.joined(u, hi); n > 1 {
			b.ox1 = c.bands[bi+n-1].ox1
			x := c.input(a, &b)
			for i := range c.blocks {
				c.band(ca, a, &b, &c.blocks[i], c.next(u+n*len(c.blocks)-len(c.blocks)+i, hi, &c.blocks[i]), x)
			}
			u += n*len(c.blocks) - 1
			continue
		}
		var x unsafe.Pointer
		if c.copied {
			if a.Held != bi+1 {
				if c.pairs != nil {
					c.copyPairs(&ca.rowPairs, a, &b)
				} else {
					c.in.copy(&ca.convert, a, &b)
				}
				a.Held = bi + 1
			}
			x = base(a.Scratch)
		} else {
			x = c.input(a, &b)
		}
		blk := &c.blocks[u%len(c.blocks)]
		c.band(ca, a, &b, blk, c.next(u, hi, blk), x)
	}
	*ca = convArgs{}
	convPool.Put(ca)
}

// input is the first input row of a band that is not copied.
func (c *conv) input(a *Args, b *band) unsafe.Pointer {
	return unsafe.Add(base(a.X), ((b.n*c.H+b.oy0*c.SH)*c.W)*c.C)
}

// joined says how many of the bands from unit u on are computed as one by a
// worker that has all units up to hi: pieces of one row that are not copied, as
// long as their input stays in the second level cache. Each block's weights are
// read once for all of them, and fewer tiles are a call's last, behind which
// nothing runs while they are packed.
func (c *conv) joined(u, hi int) int {
	if c.copied || c.OH > 1 || u%len(c.blocks) != 0 {
		return 1
	}
	first := u / len(c.blocks)
	n := 1
	for first+n < hi/len(c.blocks) {
		next := c.bands[first+n]
		if next.n != c.bands[first].n || (next.ox1-c.bands[first].ox0)*c.SW*c.C > joinedBytes {
			break
		}
		n++
	}
	return n
}

// next gives the weights that are read after those of blk, the block of unit u.
func (c *conv) next(u, hi int, blk *block) []byte {
	switch {
	case !c.ahead:
		return nil
	case u+1 < hi:
		return c.blocks[(u+1)%len(c.blocks)].w
	}
	return c.after
}

// lines are the pixels of a band as a kernel walks them: n at a time, step bytes
// of x apart, the lines stride bytes.
type lines struct{ count, n, step, stride int }

// lines gives the walk through a band and where it starts in x.
func (c *conv) lines(b *band) (l lines, start int) {
	pitch, origin := c.W, 0
	if c.copied {
		pitch, origin = c.in.pw, c.in.origin(*b)
	}
	l = lines{count: b.oy1 - b.oy0, n: b.ox1 - b.ox0, step: c.SW * c.pixel, stride: c.SH * pitch * c.C * c.in.elem}
	return l, (b.ox0*c.SW - origin) * c.pixel
}

// band computes a block's channels of a band; x is the band's first input row,
// next what is fetched meanwhile.
func (c *conv) band(ca *convArgs, a *Args, b *band, blk *block, next []byte, x unsafe.Pointer) {
	k := blk.k
	l, start := c.lines(b)
	x = unsafe.Add(x, blk.group*(c.C/c.Groups)*c.in.elem)
	sums := unsafe.Add(base(a.Scratch), c.imgBytes)
	size := c.fin.out.bytes()
	pixel := (b.n*c.OH+b.oy0)*c.OW + b.ox0 // the first whose sums are kept
	g := &ca.gemm
	sumStep := uintptr(k.cols * 4)
	*g = gemmArgs{
		xStep: uintptr(l.step), runs: base(c.runs), numRuns: len(c.runs), quads: c.quads,
		w: base(blk.w), init: base(blk.init), sumStep: sumStep, narrow: c.narrow,
	}
	switch {
	case k.level == isa.AMX: // what lies behind, of this layer or the next
		steps := l.count * ceilDiv(l.n, k.rows) * len(c.runs) * c.quads
		if l.n <= tileRows {
			steps = ceilDiv(l.count, k.rows/tileRows) * len(c.runs) * c.quads
		}
		g.ahead = uintptr(base(blk.w)) + uintptr(len(blk.w))
		g.aheadStep = uintptr(64 * ceilDiv(len(blk.w)/64, steps))
		g.aheadEnd = g.ahead + uintptr(len(blk.w))
	case next != nil:
		g.ahead = uintptr(base(next))
		g.aheadStep = uintptr(ceilDiv(len(next), l.count*ceilDiv(l.n, k.rows)*len(c.runs)*c.quads))
	}
	g.finish = k.finishing(&c.fin, c.Residual != nil)
	if g.finish == packLookedUp && k.level == isa.AMX && c.quads == 1 && len(c.runs) == 1 {
		g.finish = packBytes // products of one step have a kernel that is faster
	}
	if g.finish != keepSums {
		c.fusedBand(g, a, pixel, blk, x, l, start)
		return
	}
	have := 0
	for line := range l.count {
		row := unsafe.Add(x, line*l.stride)
		for done := 0; done < l.n; {
			n := min(l.n-done, sumPixels-have)
			g.x = unsafe.Add(row, start+done*l.step)
			k.rowsOf(g, unsafe.Add(sums, uintptr(have)*sumStep), n)
			have += n
			done += n
			if have == sumPixels || line == l.count-1 && done == l.n {
				// No address is made that lies outside the tensors: the collector may see it.
				at := pixel*c.K + blk.col
				var x2 unsafe.Pointer
				if c.Residual != nil {
					x2 = unsafe.Pointer(&a.X2[at])
				}
				c.fin.apply(&ca.finish, sums, sumStep, have, blk.cols, blk.col, unsafe.Pointer(&a.Y[at*size]), x2, c.K)
				pixel += have
				have = 0
			}
		}
	}
}

// fusedBand is band with a kernel that writes the results itself.
func (c *conv) fusedBand(g *gemmArgs, a *Args, pixel int, blk *block, x unsafe.Pointer, l lines, start int) {
	g.pack, g.plain, g.mult = unsafe.Pointer(c.fin.pack), c.fin.plain, unsafe.Pointer(&c.fin.mult[blk.col])
	if c.fin.looked != nil {
		g.table = unsafe.Pointer(c.fin.looked)
	}
	size := c.fin.out.bytes()
	g.mask, g.yStep = ^uint64(0)>>(64-blk.cols), uintptr(c.K*size)
	sums := unsafe.Add(base(a.Scratch), c.imgBytes)
	for line := 0; line < l.count; {
		y := unsafe.Pointer(&a.Y[(pixel*c.K+blk.col)*size])
		g.y = uintptr(y)
		if c.Residual != nil {
			x2 := unsafe.Pointer(&a.X2[pixel*c.K+blk.col])
			g.residual, g.delta = 1, uintptr(x2)-uintptr(y)
		}
		g.x = unsafe.Add(x, line*l.stride+start)
		done := 1
		if blk.k.linesOf != nil {
			done = blk.k.linesOf(g, sums, l, l.count-line)
		} else {
			blk.k.rowsOf(g, sums, l.n)
		}
		if c.fin.table != nil && g.finish != packLookedUp {
			c.fin.table.rows(y, c.K, done*l.n, blk.cols)
		}
		line += done
		pixel += done * l.n
	}
	runtime.KeepAlive(a)
}

// rowsOf computes n rows from g.x on, in tiles of nearly equal height.
func (k *gemmKernel) rowsOf(g *gemmArgs, sums unsafe.Pointer, n int) {
	g.lineTiles, g.lineLeft, g.lineSkip = n, n, 0 // no line ends
	if g.ahead == 0 && k.level != isa.AMX {
		g.ahead = uintptr(g.w) // fetched from nowhere else: an address must be one
	}
	tiles := ceilDiv(n, k.rows)
	small := n / tiles
	big := n - small*tiles // tiles with a row more
	x := g.x
	// Assembly cannot be interrupted: a call takes some 30 µs at most.
	most := max(1, maxSteps/(g.quads*g.numRuns*ceilDiv(k.quad, 8)))
	for row := 0; row < n; {
		t, r := tiles, small
		if big > 0 {
			t, r = big, small+1
		}
		t = min(t, most)
		big = max(0, big-t)
		tiles -= t
		g.x, g.sums = unsafe.Add(x, uintptr(row)*g.xStep), sums
		if g.finish == keepSums {
			g.sums = unsafe.Add(sums, uintptr(row)*g.sumStep)
		}
		g.tiles, g.rows = t, r
		k.run[r-1](g)
		row += t * r
	}
}

// maxSteps bounds the steps of one call of a kernel.
const maxSteps = 8192
