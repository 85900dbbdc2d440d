package int8

import (
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// tileConfig is the memory that LDTILECFG reads: the shapes of the eight tile
// registers.
type tileConfig struct {
	palette, startRow uint8
	_                 [14]uint8
	colBytes          [8]uint16
	_                 [8]uint16
	rows              [8]uint8
	_                 [8]uint8
}

// newTileConfig gives the registers of a kernel of up×across registers of sums,
// rows rows in all: sums first, then rows of x (of those that several share the
// last may be lower), then weights. gen/gemm_amx.go takes them so.
func newTileConfig(up, across, rows int) (c *tileConfig, height int) {
	height = ceilDiv(rows, up)
	last := rows - height*(up-1)
	c = &tileConfig{palette: 1}
	set := func(tile, rows int) { c.rows[tile], c.colBytes[tile] = uint8(rows), 64 }
	for r := range up {
		for j := range across {
			set(r*across+j, height)
			if r == up-1 {
				set(r*across+j, last)
			}
		}
	}
	for t := 4; t < 8; t++ {
		set(t, 16)
	}
	switch {
	case up == 2 && across == 2:
		set(4, height)
		set(5, last)
	case up > 1:
		set(4, height)
		set(5, height)
		set(6, last)
	default:
		set(4, height)
	}
	return c, height
}

// tileRows is the most rows of a tile register.
const tileRows = 16

// kernel gives the matrix kernel for a convolution. x and w less a zero point
// need 16 bits.
func (s *ConvSpec) kernel(l isa.Level) *gemmKernel {
	k := pickGemm(l, s.WZero != nil)
	if k.level != isa.AMX {
		return k
	}
	// Rough times in ns for a pixel and 16 channels: tile registers are fast where
	// they are full, but their sums take a way through memory.
	length, runs := s.C/s.Groups, s.KH*s.KW
	if s.Groups == 1 && (s.DW == 1 || s.KW == 1) {
		length, runs = length*s.KW, s.KH
	}
	steps := runs * ceilDiv(length, k.quad)
	if k.gathers(runs, length) {
		steps = ceilDiv(runs*length, k.quad)
	}
	pixels := s.N * s.OH * s.OW
	tiles := 0.3*float64(steps) + 0.55
	if k.gathers(runs, length) {
		tiles += 0.3 * float64(runs) * 16 / float64(s.K)
	}
	if pixels < 8 {
		tiles *= 8 / float64(pixels)
	}
	if tiles > 0.13*float64(runs*ceilDiv(length, 4)) {
		return pickGemm(isa.VNNI, false)
	}
	// A wide block reads x once, a narrow one keeps its weights in the first level
	// cache.
	if steps*k.stepBytes() > 24<<10 {
		return k.fit(32)
	}
	return k
}

// gatherArgs is the argument block of the kernels that lay out windows: of n
// pixels, count pieces of length bytes, in x stride bytes apart. gen/ knows this
// layout; TestLayouts compares.
type gatherArgs struct {
	y, x           unsafe.Pointer
	n              int
	yStep, xStep   uintptr
	count          int
	length, stride uintptr
}

// gather lays out the windows of a band's pixels, of its copied input img, in
// rows of whole steps. What lies behind a window is met by weights of 0.
func (c *conv) gather(g *gatherArgs, dst, img []byte, b *band) {
	row, length := c.quads*c.k.quad, c.KW*c.C
	for oy := range b.oy1 - b.oy0 {
		*g = gatherArgs{
			y: unsafe.Pointer(&dst[oy*c.OW*row]), x: unsafe.Pointer(&img[oy*c.SH*c.in.pw*c.C]),
			n: c.OW, yStep: uintptr(row), xStep: uintptr(c.SW * c.C),
			count: c.KH, length: uintptr(length), stride: uintptr(c.DH * c.in.pw * c.C),
		}
		gatherPieces(g)
	}
}
