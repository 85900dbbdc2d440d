package isa

// TileConfig is the memory that LDTILECFG reads: the shapes of the eight tile
// registers.
type TileConfig struct {
	Palette  uint8
	_        [15]uint8
	ColBytes [8]uint16
	_        [8]uint16
	Rows     [8]uint8
	_        [8]uint8
}
