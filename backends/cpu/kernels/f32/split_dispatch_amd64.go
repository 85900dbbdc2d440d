package f32

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

var tileSplit = splitFuncs{
	lines: splitLinesAMX, turn: turnTilesAVX512, finite: finiteAVX512,
	tile: [tileSplitRows]func(*splitTile){splitTile1AMX, splitTile2AMX},
}

// vectorSplit gives the products by parts of a level; nil where there are none.
func vectorSplit(l isa.Level) *splitFuncs {
	if l == isa.AMX && isa.HasTileBF16() {
		return &tileSplit
	}
	return nil
}
