package int8

import (
	"encoding/binary"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// band is the output pixels of one unit of work: rows oy0 to oy1 of image n, or,
// of a matrix product, pixels ox0 to ox1.
type band struct{ n, oy0, oy1, ox0, ox1 int }

// input copies what a band of a convolution reads to scratch memory, with the
// padding around it, as the kernels want it: u8, or int16 with the zero point
// taken away.
type input struct {
	ConvSpec
	elem   int // bytes of an element as the kernel sees it
	ph, pw int // extent of the padded image
	widen  func(*convertArgs)
}

// inputSlack is what kernels may read behind the copied input.
const inputSlack = 128

func newInput(s ConvSpec, elem int, l isa.Level) input {
	s.Weights, s.Bias, s.WZero, s.Mult, s.Residual, s.Table = nil, nil, nil, nil, nil, nil
	return input{ConvSpec: s, elem: elem, ph: (s.OH-1)*s.SH + (s.KH-1)*s.DH + 1, pw: (s.OW-1)*s.SW + (s.KW-1)*s.DW + 1, widen: pick(widenKernels, l).run}
}

// rows is the number of rows of the padded input that a band reads.
func (c *input) rows(b band) int { return (b.oy1-b.oy0-1)*c.SH + (c.KH-1)*c.DH + 1 }

// origin is the column of the padded image that a band's copy begins with: of
// images of a single row, that is a matrix product's, each band has only its part.
func (c *input) origin(b band) int {
	if c.OH == 1 && c.KH == 1 {
		return b.ox0 * c.SW
	}
	return 0
}

// bytes is the scratch memory of a band.
func (c *input) bytes(b band) int {
	cols := c.pw
	if c.OH == 1 && c.KH == 1 {
		cols = (b.ox1-b.ox0-1)*c.SW + (c.KW-1)*c.DW + 1
	}
	return align64(c.rows(b)*cols*c.C*c.elem + inputSlack)
}

// copy writes the padded input of a band to the scratch memory, in rows of the
// padded image's length.
func (c *input) copy(w *convertArgs, a *Args, b *band) {
	lo := b.ox0 * c.SW // columns of the padded input that the band reads
	hi := min(c.pw, (b.ox1-1)*c.SW+(c.KW-1)*c.DW+1)
	left := min(max(c.PL, lo), hi)
	right := max(left, min(hi, c.W+c.PL))
	flip, origin := xored(c.XSigned), c.origin(*b)
	for r := range c.rows(*b) {
		iy := b.oy0*c.SH - c.PT + r
		l, e := left, right
		if iy < 0 || iy >= c.H {
			l, e = lo, lo
		}
		var src []byte
		if e > l {
			src = a.X[((b.n*c.H+iy)*c.W+l-c.PL)*c.C:][:(e-l)*c.C]
		}
		// Where the row starts, its inner part and its end.
		at, mid, end, stop := (lo-origin)*c.C, (l-origin)*c.C, (e-origin)*c.C, (hi-origin)*c.C
		if c.elem == 1 {
			row := a.Scratch[r*c.pw*c.C:][:stop]
			pad := uint8(c.XZero) ^ flip
			fill(row[at:mid], pad)
			if flip == 0 {
				copy(row[mid:], src)
			} else {
				flipInto(row[mid:], src)
			}
			fill(row[end:], pad)
			continue
		}
		row := view[int16](unsafe.Pointer(&a.Scratch[r*c.pw*c.C*2]), stop)
		clear(row[at:mid])
		clear(row[end:])
		if len(src) > 0 {
			*w = convertArgs{x: base(src), y: base(row[mid:]), n: len(src), flip: uint32(flip), zero: c.XZero + offset(c.XSigned)}
			c.widen(w)
		}
	}
}

// copyChannels is copy of bytes for channels [c0, c1) alone.
func (c *input) copyChannels(a *Args, b *band, c0, c1 int) {
	lo := b.ox0 * c.SW
	hi := min(c.pw, (b.ox1-1)*c.SW+(c.KW-1)*c.DW+1)
	flip, origin := xored(c.XSigned), c.origin(*b)
	pad := uint8(c.XZero) ^ flip
	for r := range c.rows(*b) {
		iy := b.oy0*c.SH - c.PT + r
		row := (b.n*c.H + iy) * c.W
		for px := lo; px < hi; px++ {
			to := a.Scratch[(r*c.pw+px-origin)*c.C+c0:][:c1-c0]
			ix := px - c.PL
			switch {
			case iy < 0 || iy >= c.H || ix < 0 || ix >= c.W:
				fill(to, pad)
			case flip == 0:
				move(to, a.X[(row+ix)*c.C+c0:])
			default:
				flipInto(to, a.X[(row+ix)*c.C+c0:][:c1-c0])
			}
		}
	}
}

// shortBytes is up to where a loop of 16 bytes is faster than a call.
const shortBytes = 128

// fill sets all bytes: a few, then what is done again and again.
func fill(b []byte, v byte) {
	if len(b) >= 16 {
		var p [16]byte
		binary.LittleEndian.PutUint64(p[:], uint64(v)*0x0101010101010101)
		binary.LittleEndian.PutUint64(p[8:], uint64(v)*0x0101010101010101)
		n := 0
		for ; n+16 <= len(b) && n < shortBytes; n += 16 {
			*(*[16]byte)(b[n:]) = p
		}
		for n < len(b) {
			n += copy(b[n:], b[:n])
		}
		return
	}
	for i := range b {
		b[i] = v
	}
}

// move copies as many bytes as dst has.
func move(dst, src []byte) {
	src = src[:len(dst)]
	i := 0
	if len(dst) <= shortBytes {
		for ; i+16 <= len(dst); i += 16 {
			*(*[16]byte)(dst[i:]) = *(*[16]byte)(src[i:])
		}
	}
	if i < len(dst) {
		copy(dst[i:], src[i:])
	}
}

// flipInto copies s8 values as u8.
func flipInto(dst, src []byte) {
	dst = dst[:len(src)]
	n := len(src) / 8
	d, s := view[[8]byte](base(dst), n), view[[8]byte](base(src), n)
	for i := range s {
		binary.LittleEndian.PutUint64(d[i][:], binary.LittleEndian.Uint64(s[i][:])^0x8080808080808080)
	}
	for i := n * 8; i < len(src); i++ {
		dst[i] = src[i] ^ 0x80
	}
}

// widenPortable copies bytes as int16 less a zero point.
func widenPortable(a *convertArgs) {
	x, y := view[uint8](a.x, a.n), view[int16](a.y, a.n)
	for i, v := range x {
		y[i] = int16(int32(v^uint8(a.flip)) - a.zero)
	}
}
