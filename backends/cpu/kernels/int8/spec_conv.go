package int8

import (
	"fmt"
	"math"
)

// ConvSpec is a two-dimensional convolution, NHWC times HWIO
// [KH,KW,C/Groups,K]; a one-dimensional one has H = KH = 1. PT and PL are the
// padding at the top and left; what is missing at the bottom and right follows
// from OH and OW. Padding is XZero.
//
// acc = Σ(x−XZero)(w−WZero[k]) + Bias[k] must fit in 32 bits; then Out with
// Mult[k], then Residual, then Table.
type ConvSpec struct {
	N, H, W, C                     int
	OH, OW, K                      int
	KH, KW, SH, SW, DH, DW, PT, PL int
	Groups                         int
	XSigned                        bool
	XZero                          int32
	Weights                        []int8
	WZero                          []int32 // nil: zeros; else K values in [−128, 127]
	Bias                           []int32 // nil: zeros
	Mult                           []float32
	Out                            Out
	Residual                       *Residual   // nil: none
	Table                          *[256]uint8 // nil: none
	Kernel                         string      // one of Kernel.Choices, for this shape; others and "": chosen here
}

// Residual is a fused q_add: the result q, of type u8 or s8 by Out, and
// X2, of the shape of Y, give acc = (q−Out.Zero)·A + (x2−Zero)·B, which Mult
// and the residual's own Out bring to Y. A and B lie in [0, 2^14].
type Residual struct {
	Signed bool // X2 is s8
	Zero   int32
	A, B   int32
	Mult   float32
	Out    Out // U8 or S8
}

// DotSpec is a dense layer, x [M,K] times w [K,N]; the rest is as in ConvSpec.
// A Table maps the 8-bit result (s8 values index it plus 128).
type DotSpec struct {
	M, K, N  int
	XSigned  bool
	XZero    int32
	Weights  []int8
	WZero    []int32
	Bias     []int32
	Mult     []float32
	Out      Out
	Residual *Residual
	Table    *[256]uint8
	Kernel   string
}

// conv gives the dense layer as a 1×1 convolution over a row of M pixels.
func (s *DotSpec) conv() ConvSpec {
	return ConvSpec{
		N: 1, H: 1, W: s.M, C: s.K, OH: 1, OW: s.M, K: s.N, KH: 1, KW: 1, SH: 1, SW: 1, DH: 1, DW: 1, Groups: 1,
		XSigned: s.XSigned, XZero: s.XZero, Weights: s.Weights, WZero: s.WZero, Bias: s.Bias, Mult: s.Mult,
		Out: s.Out, Residual: s.Residual, Table: s.Table, Kernel: s.Kernel,
	}
}

func (s *ConvSpec) check(op string) error {
	if err := positive(op, s.N, s.H, s.W, s.C, s.OH, s.OW, s.K, s.KH, s.KW, s.SH, s.SW, s.DH, s.DW, s.Groups); err != nil {
		return err
	}
	lo, hi := int32(0), int32(255)
	if s.XSigned {
		lo, hi = -128, 127
	}
	switch {
	case s.PT < 0 || s.PL < 0:
		return specError(op, fmt.Sprintf("padding %d,%d", s.PT, s.PL), "0 or more")
	case s.C%s.Groups != 0 || s.K%s.Groups != 0:
		return specError(op, fmt.Sprintf("%d to %d channels in %d groups", s.C, s.K, s.Groups), "a multiple of the groups")
	case len(s.Weights) != s.KH*s.KW*s.C/s.Groups*s.K:
		return specError(op, fmt.Sprintf("%d weights", len(s.Weights)), "%d", s.KH*s.KW*s.C/s.Groups*s.K)
	case s.Bias != nil && len(s.Bias) != s.K:
		return specError(op, fmt.Sprintf("%d biases", len(s.Bias)), "%d", s.K)
	case s.WZero != nil && len(s.WZero) != s.K:
		return specError(op, fmt.Sprintf("%d zero points of weights", len(s.WZero)), "%d", s.K)
	case s.Out.DType != I32 && len(s.Mult) != s.K:
		return specError(op, fmt.Sprintf("%d factors", len(s.Mult)), "%d", s.K)
	case s.XZero < lo || s.XZero > hi:
		return specError(op, fmt.Sprintf("zero point %d of x", s.XZero), "%d to %d", lo, hi)
	}
	for _, z := range s.WZero {
		if z < -128 || z > 127 {
			return specError(op, fmt.Sprintf("zero point %d of weights", z), "-128 to 127")
		}
	}
	if err := s.Out.check(op); err != nil {
		return err
	}
	last := s.Out
	if r := s.Residual; r != nil {
		if err := r.Out.check(op); err != nil {
			return err
		}
		if s.Out.DType > S8 || r.Out.DType > S8 || r.A < 0 || r.B < 0 || r.A > 1<<14 || r.B > 1<<14 {
			return specError(op, fmt.Sprintf("residual %+v on %v", *r, s.Out.DType), "8-bit types and factors from 0 to 16384")
		}
		last = r.Out
	}
	if s.Table != nil && last.DType > S8 {
		return specError(op, fmt.Sprintf("a table on %v", last.DType), "u8 or s8")
	}
	return nil
}

func (s *ConvSpec) dims() string {
	return fmt.Sprintf("%dx%dx%dx%d_%dx%dx%d_k%dx%ds%dg%d", s.N, s.H, s.W, s.C, s.OH, s.OW, s.K, s.KH, s.KW, s.SH, s.Groups)
}

// flat turns what is a plain matrix product into one row of pixels.
func (s *ConvSpec) flat() {
	if s.KH == 1 && s.KW == 1 && s.SH == 1 && s.SW == 1 && s.PT == 0 && s.PL == 0 && s.H == s.OH && s.W == s.OW {
		s.OW *= s.N * s.OH
		s.N, s.OH, s.H, s.W = 1, 1, 1, s.OW
	}
}

// weightAt is the weight minus its zero point.
func (s *ConvSpec) weightAt(i int) int32 {
	w := int32(s.Weights[i])
	if s.WZero != nil {
		w -= s.WZero[i%s.K]
	}
	return w
}

// bound is at least |acc·mult| of any channel.
func (s *ConvSpec) bound() float64 {
	sum := 255 * 128 * float64(s.KH*s.KW*s.C/s.Groups)
	if s.WZero != nil {
		sum *= 2
	}
	mult, bias := 0.0, 0.0
	for _, m := range s.Mult {
		mult = max(mult, math.Abs(float64(m)))
	}
	for _, b := range s.Bias {
		bias = max(bias, math.Abs(float64(b)))
	}
	return mult * (sum + bias)
}
