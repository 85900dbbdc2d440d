package int8

import (
	"fmt"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// QuantizeSpec brings Len float32 to 8 bits:
// Zero + round_half_even(clamp(x·Inv, QMin−Zero, QMax−Zero)); NaN gives Zero.
type QuantizeSpec struct {
	Len int
	Inv float32
	Out Out
}

// quantizeArgs is what the quantizing kernels need. gen/ knows this layout.
type quantizeArgs struct {
	inv, lo, hi float32
	zero        int32
}

// Quantize prepares a uniform_quantize.
func Quantize(s QuantizeSpec, l isa.Level) (Kernel, error) {
	if err := s.Out.check("uniform_quantize"); err != nil {
		return nil, err
	}
	if s.Len < 0 || s.Out.DType > S8 {
		return nil, specError("uniform_quantize", fmt.Sprintf("%d elements to %v", s.Len, s.Out.DType), "u8 or s8")
	}
	o := s.Out.full()
	q := &quantizeArgs{inv: s.Inv, zero: o.Zero}
	q.lo, q.hi = o.bounds()
	k := pick(quantizeKernels, l)
	return elementwise(k.name, s.Len, 0.08, func(lo, hi int, a *Args) {
		k.run(a.Y[lo:hi], words[float32](a.X)[lo:hi], q)
	}), nil
}

type quantizeKernel struct {
	kernel
	run func(y []byte, x []float32, q *quantizeArgs)
}

func quantizePortable(y []byte, x []float32, q *quantizeArgs) {
	y = y[:len(x)]
	for i, v := range x {
		if v != v {
			y[i] = uint8(q.zero)
			continue
		}
		y[i] = uint8(requant(float32(v*q.inv), q.lo, q.hi, q.zero))
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
		d := &dequantizeArgs{flip: uint32(xored(s.XSigned)), zero: zero, scale: scale}
		k := pick(dequantizeKernels, l)
		return elementwise(k.name, s.Inner, 0.08, func(lo, hi int, a *Args) {
			k.run(words[float32](a.Y)[lo:hi], a.X[lo:hi], d)
		}), nil
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

// dequantizeArgs is what the dequantizing kernels need. gen/ knows this layout.
type dequantizeArgs struct {
	flip  uint32
	zero  int32
	scale float32
}

type dequantizeKernel struct {
	kernel
	run func(y []float32, x []byte, d *dequantizeArgs)
}

func dequantizePortable(y []float32, x []byte, d *dequantizeArgs) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = float32(int32(v^uint8(d.flip))-d.zero) * d.scale
	}
}
