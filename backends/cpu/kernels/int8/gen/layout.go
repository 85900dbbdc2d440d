package main

// Offsets of the argument blocks' fields; TestLayouts of package int8 has the
// same numbers.
const (
	gemmX       = 0
	gemmXStep   = 8
	gemmRuns    = 16
	gemmNumRuns = 24
	gemmQuads   = 32
	gemmW       = 40
	gemmInit    = 48
	gemmSums    = 56
	gemmSumStep = 64
	gemmTiles   = 72
	gemmPack    = 88
	gemmMult    = 96
	gemmY       = 104
	gemmYStep   = 112
	gemmMask    = 120
	gemmRes     = 128
	gemmDelta   = 136

	packZero   = 0
	packLeast  = 64
	packMost   = 128
	packFlip   = 192
	packOrder  = 256
	packLeastQ = 320
	packMostQ  = 384
	packFlipX2 = 448
	packZeroX2 = 512
	packPair   = 576
	packMult2  = 640

	finSums    = 0
	finSumStep = 8
	finY       = 16
	finYStep   = 24
	finRows    = 32
	finCols    = 40
	finMult    = 48
	finRowAdd  = 56
	finLo      = 64
	finHi      = 68
	finZero    = 72
	finYFlip   = 76
	finX2      = 80
	finX2Step  = 88
	finFlip    = 96
	finZeroX2  = 100
	finPair    = 104
	finMult2   = 108
	finLo2     = 112
	finHi2     = 116
	finZero2   = 120
	finLeast   = 124
	finMost    = 128
	finLeastQ  = 132
	finMostQ   = 136

	dwX     = 0
	dwTaps  = 8
	dwQuads = 16
	dwN     = 24
	dwXStep = 32
	dwW     = 40
	dwInit  = 48
	dwMult  = 56
	dwY     = 64
	dwYStep = 72
	dwMask  = 80
	dwLo    = 88
	dwHi    = 92
	dwZero  = 96
	dwYFlip = 100
	dwLeast = 104
	dwMost  = 108
	dwYHalf = 112
	dwMask2 = 120

	pairY       = 0
	pairA       = 8
	pairB       = 16
	pairN       = 24
	pairAFlip   = 32
	pairBFlip   = 36
	pairAZero   = 40
	pairBZero   = 44
	pairPair    = 48
	pairMult    = 52
	pairLo      = 56
	pairHi      = 60
	pairZero    = 64
	pairScalarB = 68

	cvtY     = 0
	cvtX     = 8
	cvtN     = 16
	cvtScale = 24
	cvtLo    = 28
	cvtHi    = 32
	cvtZero  = 36
	cvtFlip  = 40

	winY     = 0
	winX     = 8
	winN     = 16
	winNY    = 24
	winNX    = 32
	winYStep = 40
	winXStep = 48
	winFlip  = 56
	winCount = 64
	winXMove = 72
	winYMove = 80

	lookY     = 0
	lookX     = 8
	lookN     = 16
	lookTable = 24

	softY      = 0
	softX      = 8
	softRows   = 16
	softK      = 24
	softTable  = 32
	softFactor = 40
	softLo     = 44
	softHi     = 48
	softZero   = 52
	softFlip   = 56
	softYFlip  = 60
)
