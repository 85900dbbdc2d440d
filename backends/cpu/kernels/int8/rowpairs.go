package int8

import (
	"runtime"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// rowPairs is how the input of a convolution with stride 2 and few channels is
// copied for tile registers: pixels of two rows lie side by side, so that a step
// takes two rows of a window.
type rowPairs struct {
	run    func(*rowPairArgs)
	pixels int      // that one round takes
	index  [64]byte // where each byte of a round comes from, of 32 of each row
	pad    []byte   // a row of padding, as it is stored in x
}

// rowPairArgs is the argument block of what puts pixels of two rows side by side,
// a few at each round. gen/ knows this layout; TestLayouts compares.
type rowPairArgs struct {
	top, bottom uintptr // in the end behind the rows
	y           uintptr
	rounds      int
	xStep       uintptr // bytes of a round in a row
	yStep       uintptr // and in both
	index       unsafe.Pointer
	flip        uint32
}

// pairsRows says whether rows are taken in pairs.
func (s *ConvSpec) pairsRows(k *gemmKernel) bool {
	return k.level == isa.AMX && k.pair != nil && s.Groups == 1 && s.SH == 2 && s.DH == 1 && s.DW == 1 &&
		s.KH > 2 && s.KW > 1 && s.C <= 8 && 2*s.KW*s.C <= k.quad && s.W*s.C >= 64
}

func (c *conv) pairRows() {
	p := &rowPairs{run: c.k.pair, pixels: 32 / c.C}
	for i := range p.pixels * 2 * c.C {
		pixel, row, channel := i/(2*c.C), i/c.C%2, i%c.C
		p.index[i] = byte(32*row + pixel*c.C + channel)
	}
	p.pad = make([]byte, c.W*c.C)
	fill(p.pad, uint8(c.XZero))
	c.pairs = p
	// Weights in the order of the bytes; the last pair may have a row of zeros.
	pairs := ceilDiv(c.KH, 2)
	w := make([]int8, pairs*c.KW*2*c.C*c.K)
	for kh := range c.KH {
		for kw := range c.KW {
			to := ((kh/2*c.KW+kw)*2 + kh%2) * c.C * c.K
			copy(w[to:to+c.C*c.K], c.Weights[(kh*c.KW+kw)*c.C*c.K:])
		}
	}
	c.Weights = w
}

// bytes is the scratch memory of a band.
func (p *rowPairs) bytes(c *input, b band) int {
	return align64((c.rows(b)+1)&^1*c.pw*c.C + inputSlack)
}

// copyPairs writes the padded input of a band, two rows at a time.
func (c *conv) copyPairs(w *rowPairArgs, a *Args, b *band) {
	p := c.pairs
	flip := xored(c.XSigned)
	pad := uint8(c.XZero) ^ flip
	rows, pitch := c.in.rows(*b), c.in.pw*2*c.C
	left, right := c.PL, min(c.in.pw, c.W+c.PL)
	n := right - left // pixels that are read
	row := func(r int) []byte {
		iy := b.oy0*c.SH - c.PT + r
		if iy < 0 || iy >= c.H || r >= rows {
			return p.pad
		}
		return a.X[(b.n*c.H+iy)*c.W*c.C:][:c.W*c.C]
	}
	rounds := 0
	if n > 0 {
		rounds = min(n/p.pixels, max(0, (c.W*c.C-32)/(p.pixels*c.C)+1)) // which read no byte behind a row
	}
	for r := 0; r < rows; r += 2 {
		line := a.Scratch[r/2*pitch:][:pitch]
		if n <= 0 {
			fill(line, pad)
			continue
		}
		fill(line[:left*2*c.C], pad)
		top, bottom := row(r), row(r+1)
		to := line[left*2*c.C:]
		*w = rowPairArgs{
			top: uintptr(base(top)), bottom: uintptr(base(bottom)), y: uintptr(base(to)), rounds: rounds,
			xStep: uintptr(p.pixels * c.C), yStep: uintptr(p.pixels * 2 * c.C), index: unsafe.Pointer(&p.index), flip: uint32(flip) * 0x01010101,
		}
		p.run(w)
		for i := rounds * p.pixels; i < n; i++ {
			for ch := range c.C {
				to[2*i*c.C+ch] = top[i*c.C+ch] ^ flip
				to[(2*i+1)*c.C+ch] = bottom[i*c.C+ch] ^ flip
			}
		}
		fill(line[right*2*c.C:], pad)
	}
	runtime.KeepAlive(a)
}
