package plain

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// DynamicQuantizeSpec quantizes Len f32 values to u8 by their own range: Y is
// the result, Y2 the scale (f32), Y3 the zero point (u8); ONNX's
// DynamicQuantizeLinear.
type DynamicQuantizeSpec struct{ Len int }

// DynamicQuantize prepares it. Check refuses values that are not finite.
func DynamicQuantize(s DynamicQuantizeSpec, _ isa.Level) (Kernel, error) {
	return &op{
		name: "dynamic_quantize", tiles: 1,
		check: func(a *Args) error {
			for i, v := range elems[float32](a.X) {
				if v-v != 0 {
					return fmt.Errorf("element %d is %v; wanted finite numbers", i, v)
				}
			}
			return nil
		},
		run: func(_, _ int, a *Args) {
			x := elems[float32](a.X)[:s.Len]
			var lo, hi float32
			for _, v := range x { // finite: Check has looked; the built-in min is slower
				if v < lo {
					lo = v
				}
				if v > hi {
					hi = v
				}
			}
			scale, zero := float32(1), uint8(0)
			if d := float32(hi-lo) / 255; d != 0 {
				scale = d
				zero = uint8(min(max(math.RoundToEven(float64(float32(-lo)/scale)), 0), 255))
			}
			elems[float32](a.Y2)[0], a.Y3[0] = scale, zero
			// Adding and taking away 1.5·2^23 rounds half to even; clamped
			// before, the sum cannot leave that range.
			const magic = 3 << 22
			least, most := -float32(zero), 255-float32(zero)
			y := a.Y[:len(x)]
			for i, v := range x {
				v /= scale
				if v < least {
					v = least
				}
				if v > most {
					v = most
				}
				y[i] = uint8(int32(math.Float32bits(v+magic)) - int32(math.Float32bits(magic)) + int32(zero))
			}
		},
	}, nil
}

// ZeroPointSpec corrects the sums of products of 8-bit numbers, computed as if
// all zero points were 0, for those that are known only now: X [M,N] i32 sums,
// X2 [M,K] the left operand, X3 its zero point, X4 (empty for none) the right
// operand's, one or N of them. ColSums are Σ_k b[k,n]. Signed says of which
// kind the left operand and its zero point, and the right's zero points, are.
type ZeroPointSpec struct {
	M, K, N          int
	ASigned, BSigned bool
	ColSums          []int32
}

// ZeroPoint prepares it; Y may be X.
func ZeroPoint(s ZeroPointSpec, _ isa.Level) (Kernel, error) {
	if s.M < 1 || s.N < 1 || len(s.ColSums) != s.N {
		return nil, fmt.Errorf("kernel zero_point: %dx%dx%d with %d sums", s.M, s.K, s.N, len(s.ColSums))
	}
	const rows = 16
	return &op{name: "zero_point", tiles: (s.M + rows - 1) / rows, run: func(lo, hi int, a *Args) {
		x, y := elems[int32](a.X), elems[int32](a.Y)
		za := int32(0)
		if len(a.X3) > 0 {
			za = read8(a.X3[0], s.ASigned)
		}
		for m := lo * rows; m < min(hi*rows, s.M); m++ {
			in, out := x[m*s.N:][:s.N], y[m*s.N:][:s.N]
			sum := int32(0)
			if len(a.X4) > 0 { // only then the left rows' sums count
				for _, v := range a.X2[m*s.K:][:s.K] {
					sum += read8(v, s.ASigned)
				}
				sum -= int32(s.K) * za
			}
			for n, v := range in {
				zb := int32(0)
				switch len(a.X4) {
				case 0:
				case 1:
					zb = read8(a.X4[0], s.BSigned)
				default:
					zb = read8(a.X4[n], s.BSigned)
				}
				out[n] = v - za*s.ColSums[n] - zb*sum
			}
		}
	}}, nil
}

func read8(b uint8, signed bool) int32 {
	if signed {
		return int32(int8(b))
	}
	return int32(b)
}
