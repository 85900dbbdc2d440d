package int8

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// QuantizeSpec brings Len float32 to 8 bits:
// Zero + round_half_even(clamp(x·Inv, QMin−Zero, QMax−Zero)); NaN gives Zero.
type QuantizeSpec struct {
	Len int
	Inv float32
	Out Out
}

// convertArgs is the argument block of the kernels between float32 and 8 bits,
// for n elements. gen/ knows this layout; TestLayouts compares.
type convertArgs struct {
	y, x   unsafe.Pointer
	n      int
	scale  float32
	lo, hi float32
	zero   int32
	flip   uint32 // turns stored bytes into u8
}

type convertKernel struct {
	kernel
	run func(*convertArgs)
}

// converter prepares an elementwise operator whose elements have inBytes and
// outBytes bytes.
func converter(k convertKernel, c convertArgs, n, inBytes, outBytes int) Kernel {
	return elementwise(k.name, n, 0.05, func(lo, hi int, a *Args) {
		p := convertPool.Get().(*convertArgs)
		*p = c
		p.x, p.y, p.n = unsafe.Pointer(&a.X[lo*inBytes]), unsafe.Pointer(&a.Y[lo*outBytes]), hi-lo
		k.run(p)
		*p = convertArgs{}
		convertPool.Put(p)
	})
}

var convertPool = sync.Pool{New: func() any { return new(convertArgs) }}

// Quantize prepares a uniform_quantize.
func Quantize(s QuantizeSpec, l isa.Level) (Kernel, error) {
	if err := s.Out.check("uniform_quantize"); err != nil {
		return nil, err
	}
	if s.Len < 0 || s.Out.DType > S8 {
		return nil, specError("uniform_quantize", fmt.Sprintf("%d elements to %v", s.Len, s.Out.DType), "u8 or s8")
	}
	o := s.Out.full()
	c := convertArgs{scale: s.Inv, zero: o.Zero}
	c.lo, c.hi = o.bounds()
	return converter(pick(quantizeKernels, l), c, s.Len, 4, 1), nil
}

func quantizePortable(c *convertArgs) {
	x, y := view[float32](c.x, c.n), view[uint8](c.y, c.n)
	for i, v := range x {
		if v != v {
			y[i] = uint8(c.zero)
			continue
		}
		y[i] = uint8(requant(float32(v*c.scale), c.lo, c.hi, c.zero))
	}
}

// DequantizeSpec brings an 8-bit tensor, seen as [Outer, Channels, Inner], to
// float32(x−Zero[c])·Scale[c].
type DequantizeSpec struct {
	Outer, Channels, Inner int
	XSigned                bool
	Zero                   []int32
	Scale                  []float32
}

// Dequantize prepares a uniform_dequantize.
func Dequantize(s DequantizeSpec, l isa.Level) (Kernel, error) {
	const name = "uniform_dequantize"
	if err := positive(name, s.Outer, s.Channels, s.Inner); err != nil {
		return nil, err
	}
	if len(s.Zero) != s.Channels || len(s.Scale) != s.Channels {
		return nil, specError(name, fmt.Sprintf("%d zero points and %d scales", len(s.Zero), len(s.Scale)), "%d", s.Channels)
	}
	if s.Channels == 1 {
		s.Inner, s.Outer = s.Inner*s.Outer, 1
		zero, scale := s.Zero[0]+offset(s.XSigned), s.Scale[0]
		c := convertArgs{scale: scale, zero: zero, flip: uint32(xored(s.XSigned))}
		return converter(pick(dequantizeKernels, l), c, s.Inner, 1, 4), nil
	}
	per := max(1, elementUnit/(s.Channels*s.Inner))
	units := ceilDiv(s.Outer, per)
	flip, off := xored(s.XSigned), offset(s.XSigned)
	run := func(lo, hi int, a *Args) {
		y := words[float32](a.Y)
		for o := lo * per; o < min(hi*per, s.Outer); o++ {
			for c := range s.Channels {
				at := (o*s.Channels + c) * s.Inner
				z, m := s.Zero[c]+off, s.Scale[c]
				for i := at; i < at+s.Inner; i++ {
					y[i] = float32(int32(a.X[i]^flip)-z) * m
				}
			}
		}
	}
	return &op{name: "dequantize_channels", tiles: units, run: run, cost: float64(s.Outer*s.Channels*s.Inner) / float64(units)}, nil
}

func dequantizePortable(c *convertArgs) {
	x, y := view[uint8](c.x, c.n), view[float32](c.y, c.n)
	for i, v := range x {
		y[i] = float32(int32(v^uint8(c.flip))-c.zero) * c.scale
	}
}
