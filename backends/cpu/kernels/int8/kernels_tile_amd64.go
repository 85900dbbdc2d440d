package int8

import (
	"fmt"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// tileGemm are the matrix kernels on tile registers (AMX): a block of columns
// takes its 16-column registers side by side, and one or more up.
func tileGemm() []gemmKernel {
	row := func(across int, one *oneStep, up ...tileFuncs) gemmKernel {
		k := gemmKernel{cols: 16 * across, rows: tileRows * len(up), quad: 64, format: bytesFormat, fuses: true, more: up[0][3] != nil}
		k.kernel = kernel{fmt.Sprintf("gemm_u8s8s32_%dx%dc64_amx", k.rows, k.cols), isa.AMX}
		for rows := 1; rows <= k.rows; rows++ {
			n := ceilDiv(rows, tileRows)
			k.run = append(k.run, withTiles(up[n-1], one, n, across, rows))
		}
		if isa.HasVBMI() {
			k.pair = pairRowsVBMI
		}
		k.linesOf = linesWithTiles(&k, one, up, across)
		return k
	}
	square := row(2, nil, tileFuncs{gemmAMX1x2, gemmAddAMX1x2, nil, gemmFloatsAMX1x2, gemmLookedUpAMX1x2},
		tileFuncs{gemmAMX2x2, gemmAddAMX2x2, gemmPlainAddAMX2x2, gemmFloatsAMX2x2, gemmLookedUpAMX2x2})
	square.listed, square.copy = &tileFuncs{gemmListAMX2x2, gemmListAddAMX2x2}, copyPicturesAMX
	return []gemmKernel{
		row(4, newOneStep(), tileFuncs{gemmAMX1x4, gemmAddAMX1x4, gemmPlainAddAMX1x4, gemmFloatsAMX1x4, gemmLookedUpAMX1x4}),
		row(3, nil, tileFuncs{gemmAMX1x3, gemmAddAMX1x3}),
		square,
		row(1, nil, tileFuncs{gemmAMX1x1, gemmAddAMX1x1}, tileFuncs{gemmAMX2x1, gemmAddAMX2x1}, tileFuncs{gemmAMX3x1, gemmAddAMX3x1}, tileFuncs{gemmAMX4x1, gemmAddAMX4x1}),
	}
}

// oneStep are the kernels of products of one step: with a residual or without,
// and their plain forms.
type oneStep struct {
	run     [4]func(*gemmArgs)
	configs [tileRows]*isa.TileConfig
}

func newOneStep() *oneStep {
	o := &oneStep{run: [4]func(*gemmArgs){gemmOneAMX, gemmOneAddAMX, gemmOnePlainAMX, gemmOnePlainAddAMX}}
	for i := range o.configs {
		o.configs[i] = newOneConfig(i + 1)
	}
	return o
}

// takes runs what it can with so many pixels in a register.
func (o *oneStep) takes(a *gemmArgs, rows int) bool {
	if o == nil || a.quads != 1 || a.numRuns != 1 || a.pack == nil || a.finish == packLookedUp {
		return false
	}
	a.configure(o.configs[rows-1], 3, 4)
	o.run[a.residual|a.plain<<1](a)
	return true
}

func withTiles(f tileFuncs, one *oneStep, up, across, rows int) func(*gemmArgs) {
	config, height := newTileConfig(up, across, rows)
	return func(a *gemmArgs) {
		a.configure(config, 4, 7)
		a.tall, a.sumTall = uintptr(height)*a.xStep, uintptr(height)*a.sumStep
		a.move = uintptr(rows) * a.xStep
		if !one.takes(a, rows) {
			f.run(a)
		}
	}
}

// linesWithTiles computes whole lines in one call: short ones side by side in
// register rows of their own, longer ones in tiles of equal height. Lines that
// cannot be cut so are computed one by one.
func linesWithTiles(k *gemmKernel, one *oneStep, up []tileFuncs, across int) func(*gemmArgs, unsafe.Pointer, lines, int) int {
	var configs [][]*isa.TileConfig // by lines−1 and pixels−1
	for i := range up {
		var c []*isa.TileConfig
		for n := 1; n <= tileRows; n++ {
			config, _ := newTileConfig(i+1, across, (i+1)*n)
			c = append(c, config)
		}
		configs = append(configs, c)
	}
	run := k.run
	whole := gemmKernel{rows: k.rows, quad: k.quad, run: run}
	return func(a *gemmArgs, sums unsafe.Pointer, l lines, count int) int {
		most := max(1, maxSteps/(a.quads*a.numRuns*8)) // tiles of a call
		if l.n <= tileRows {
			n := min(count, len(up))
			a.sums = sums
			a.configure(configs[n-1][l.n-1], 4, 7)
			a.tall, a.sumTall, a.move = uintptr(l.stride), uintptr(l.n)*a.sumStep, uintptr(n*l.stride)
			a.rows, a.tiles = n*l.n, min(count/n, most)
			a.lineTiles, a.lineLeft, a.lineSkip = a.tiles+1, a.tiles+1, 0
			done := a.tiles * n
			if !one.takes(a, l.n) {
				up[n-1].run(a)
			}
			return done
		}
		tiles := ceilDiv(l.n, k.rows)
		if l.n%tiles != 0 || tiles > most || count == 1 {
			whole.rowsOf(a, sums, l.n)
			return 1
		}
		n := min(count, most/tiles)
		a.sums, a.rows, a.tiles = sums, l.n/tiles, n*tiles
		a.lineTiles, a.lineLeft, a.lineSkip = tiles, tiles, l.stride-l.n*l.step
		run[a.rows-1](a)
		return n
	}
}
