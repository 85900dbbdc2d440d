package int8

import (
	"runtime"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// pictures is how a convolution of several pictures fills tile registers: the 16
// rows of one are a pixel of 16 pictures. A band copies its input so that the 64
// bytes of 64 channels lie side by side for all pictures, and each block's weights
// are read once for all of them.
type pictures struct {
	each  int // pictures of a band at most: rows of a register
	bands []pictureBand
	lists map[[2]int][]listedTile // by pictures and rows of a band
	tiles *isa.TileConfig
}

// pictureBand is rows oy0 to oy1 of count pictures from n on.
type pictureBand struct {
	n, count, oy0, oy1 int
	list               []listedTile
}

// pictureArgs is the argument block of what puts lines of 64 bytes of n pictures
// side by side. gen/ knows this layout; TestLayouts compares.
type pictureArgs struct {
	x     uintptr // in the end behind the tensor
	xStep uintptr // from picture to picture
	n     int
	y     uintptr
	yStep uintptr // from line to line
	lines int
	flip  uint32 // added bit by bit
}

const (
	// pictureBytes bounds the copied input of a band: with a block of weights and
	// the results it stays in the second level cache.
	pictureBytes = 704 << 10
	// pictureUnits is how many units a large layer is cut into at least: each
	// worker copies what it needs.
	pictureUnits = 8
	// pictureGain is how much fewer registers of rows the pictures must fill, in
	// percent.
	pictureGain = 80
)

// gathers says whether the pictures are taken together.
func (c *conv) gathers() bool {
	if c.k.level != isa.AMX || c.k.listed == nil || c.fin.pack == nil || c.Table != nil || c.Groups > 1 ||
		c.C%c.k.quad != 0 || c.K%c.k.cols != 0 || c.KH*c.KW == 1 || c.N*c.OH*c.OW*c.K >= 1<<31 {
		return false
	}
	line := ceilDiv(c.OW, tileRows)
	if line > 1 { // tiles of two
		line = 2 * ceilDiv(line, 2)
	}
	return c.OH*c.OW*ceilDiv(c.N, tileRows)*100 <= c.N*c.OH*line*pictureGain
}

// gather cuts the work.
func (c *conv) gather() {
	groups := ceilDiv(c.N, tileRows)
	p := &pictures{each: ceilDiv(c.N, groups), lists: map[[2]int][]listedTile{}}
	p.tiles, _ = newTileConfig(2, 2, 2*p.each)
	c.pictures = p
	pixel := c.C * p.each
	// A row of a window goes through the pixels of 64 channels, then of the next:
	// neighbours find them in the first level cache.
	c.runs, c.quads = nil, c.KW
	for kh := range c.KH {
		for j := range c.C / 64 {
			c.runs = append(c.runs, int64(kh*c.DH*c.in.pw*pixel+j*64*p.each))
		}
	}
	w := make([]int8, 0, len(c.Weights))
	for kh := range c.KH {
		for j := range c.C / 64 {
			for kw := range c.KW {
				w = append(w, c.Weights[((kh*c.KW+kw)*c.C+j*64)*c.K:][:64*c.K]...)
			}
		}
	}
	c.Weights = w
	macs := c.N * c.OH * c.OW * len(c.Weights)
	parts := max(ceilDiv(c.in.ph*c.in.pw*pixel, pictureBytes), ceilDiv(min(pictureUnits, 1+macs>>20), groups*c.K/c.k.cols))
	if groups%2 != 0 && parts > 1 {
		parts = evened(parts)
	}
	parts = min(parts, c.OH)
	for g := range groups {
		n, end := cut(c.N, groups, g), cut(c.N, groups, g+1)
		for i := range parts {
			b := pictureBand{n: n, count: end - n, oy0: cut(c.OH, parts, i), oy1: cut(c.OH, parts, i+1)}
			key := [2]int{b.count, b.oy1 - b.oy0}
			if p.lists[key] == nil {
				p.lists[key] = c.listTiles(b.count, b.oy1-b.oy0)
			}
			b.list = p.lists[key]
			p.bands = append(p.bands, b)
			c.imgBytes = max(c.imgBytes, align64(c.in.rows(band{oy0: b.oy0, oy1: b.oy1})*c.in.pw*pixel))
		}
	}
}

// listTiles lists the tiles of a band: two neighbours of the band's pixels each.
func (c *conv) listTiles(count, rows int) []listedTile {
	p := c.pictures
	pixel := c.C * p.each
	x := func(i int) int { return (i/c.OW*c.SH*c.in.pw + i%c.OW*c.SW) * pixel }
	pixels := rows * c.OW
	var list []listedTile
	for i := 0; i < pixels; i += 2 {
		t := listedTile{x: x(i), rows: count}
		if i+1 < pixels {
			t.tall, t.rows = x(i+1)-t.x, 2*count
		}
		for r := range t.rows {
			at := &t.at[r]
			at.sums = int32((r/count*p.each + r%count) * c.k.cols * 4)
			at.y = int32((r%count*c.OH*c.OW + i + r/count) * c.K)
		}
		list = append(list, t)
	}
	return list
}

// runPictures is run for pictures that are taken together.
func (c *conv) runPictures(lo, hi int, a *Args) {
	ca := convPool.Get().(*convArgs)
	p, g := c.pictures, &ca.gemm
	for u := lo; u < hi; u++ {
		bi := u / len(c.blocks)
		b, blk := &p.bands[bi], &c.blocks[u%len(c.blocks)]
		if a.Held != bi+1 {
			c.copyPictures(&ca.pictures, a, b)
			a.Held = bi + 1
		}
		at := (b.n*c.OH+b.oy0)*c.OW*c.K + blk.col
		y := unsafe.Pointer(&a.Y[at])
		*g = gemmArgs{
			x: base(a.Scratch), xStep: 64, stepMove: uintptr(c.DW * c.C * p.each), runs: base(c.runs), numRuns: len(c.runs), quads: c.quads,
			w: base(blk.w), init: base(blk.init), sums: unsafe.Add(base(a.Scratch), c.imgBytes), sumStep: uintptr(blk.k.cols * 4),
			pack: unsafe.Pointer(c.fin.pack), mult: unsafe.Pointer(&c.fin.mult[blk.col]), y: uintptr(y), mask: ^uint64(0) >> (64 - blk.cols),
			config: p.tiles,
		}
		g.sumTall = uintptr(p.each) * g.sumStep
		if c.Residual != nil {
			g.residual, g.delta = 1, uintptr(unsafe.Pointer(&a.X2[at]))-uintptr(y)
		}
		g.ahead = uintptr(base(blk.w)) + uintptr(len(blk.w))
		g.aheadStep = uintptr(64 * ceilDiv(len(blk.w)/64, len(b.list)*len(c.runs)*c.quads))
		g.aheadEnd = g.ahead + uintptr(len(blk.w))
		most := max(1, maxSteps/(c.quads*len(c.runs)*8))
		for i := 0; i < len(b.list); i += most {
			g.list, g.tiles = unsafe.Pointer(&b.list[i]), min(most, len(b.list)-i)
			blk.k.listed.run(g)
		}
	}
	runtime.KeepAlive(a)
	*ca = convArgs{}
	convPool.Put(ca)
}

// copyPictures writes the padded input of a band: of each pixel, for each 64
// channels, those of all pictures.
func (c *conv) copyPictures(ca *pictureArgs, a *Args, b *pictureBand) {
	p := c.pictures
	pixel := c.C * p.each
	flip := xored(c.XSigned)
	pad := uint8(c.XZero) ^ flip
	left, right := c.PL, min(c.in.pw, c.W+c.PL)
	for r := range c.in.rows(band{oy0: b.oy0, oy1: b.oy1}) {
		line := a.Scratch[r*c.in.pw*pixel:][:c.in.pw*pixel]
		iy := b.oy0*c.SH - c.PT + r
		if iy < 0 || iy >= c.H || right <= left {
			fill(line, pad)
			continue
		}
		fill(line[:left*pixel], pad)
		fill(line[right*pixel:], pad)
		*ca = pictureArgs{
			x: uintptr(unsafe.Pointer(&a.X[(b.n*c.H+iy)*c.W*c.C])), xStep: uintptr(c.H * c.W * c.C), n: b.count,
			y: uintptr(unsafe.Pointer(&line[left*pixel])), yStep: uintptr(64 * p.each), lines: (right - left) * c.C / 64, flip: uint32(flip) * 0x01010101,
		}
		c.k.copy(ca)
	}
}
