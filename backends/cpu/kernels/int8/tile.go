package int8

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

// newTileConfig gives the registers of a kernel of up×across registers of sums,
// rows rows in all: sums first, then rows of x (of those that several share the
// last may be lower), then weights in register 7. gen/tile_gemm.go takes them so.
func newTileConfig(up, across, rows int) (c *isa.TileConfig, height int) {
	height = ceilDiv(rows, up)
	last := rows - height*(up-1)
	c = &isa.TileConfig{Palette: 1}
	set := func(tile, rows int) { c.Rows[tile], c.ColBytes[tile] = uint8(rows), 64 }
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
		set(6, last)
	default:
		set(4, height)
	}
	return c, height
}

// configure sets the registers; those from 4 on, or of gemmOneAMX from 3, hold x,
// from weights on weights. Of a narrow step they hold no more than its bytes: x is
// read from fewer cache lines, and products take less time.
func (a *gemmArgs) configure(c *isa.TileConfig, x, weights int) {
	a.config = c
	if a.narrow == 0 {
		return
	}
	a.own = *c
	for t := x; t < weights; t++ {
		a.own.ColBytes[t] = uint16(a.narrow)
	}
	for t := weights; t < len(a.own.Rows); t++ {
		a.own.Rows[t] = uint8(a.narrow / 4)
	}
	a.config = &a.own
}

// newOneConfig gives the registers of gemmOneAMX.
func newOneConfig(rows int) *isa.TileConfig {
	c := &isa.TileConfig{Palette: 1}
	for t := range c.Rows {
		c.Rows[t], c.ColBytes[t] = tileRows, 64
		if t < 4 {
			c.Rows[t] = uint8(rows)
		}
	}
	return c
}

// tileRows is the most rows of a tile register.
const tileRows = 16

// tileFuncs are the kernels on so many tile registers up: without a residual, with
// one, and where there are such kernels with one and plain results, for float32, and
// for what is looked up.
type tileFuncs [5]func(*gemmArgs)

func (f *tileFuncs) run(a *gemmArgs) {
	i := a.residual
	switch {
	case a.finish == toFloats:
		i = 3
	case a.finish == packLookedUp:
		i = 4
	case i != 0 && a.plain != 0 && f[2] != nil:
		i = 2
	}
	f[i](a)
}

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
	if s.pairsRows(k) {
		steps = ceilDiv(s.KH, 2)
	}
	pixels := s.N * s.OH * s.OW
	tiles := 0.3*float64(steps) + 0.2
	if pixels < 8 {
		tiles *= 8 / float64(pixels)
	}
	if tiles > 0.13*float64(runs*ceilDiv(length, 4)) {
		return pickGemm(isa.VNNI, false)
	}
	// A wide block reads x once, a narrow one keeps its weights in the first level
	// cache.
	bytes := steps * k.stepBytes()
	if length < k.quad { // registers are as narrow as the run
		bytes = bytes / k.quad * ((length + 3) &^ 3)
	}
	if bytes > 24<<10 {
		return k.fit(32)
	}
	return k
}
