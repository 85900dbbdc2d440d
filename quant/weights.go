package quant

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// Layer is a contraction's weight as a matrix: K rows (taps × input channels
// of a group) by N columns (output channels), row-major, as HWIO convolution
// and [K,N] dense weights lie in memory. Column c belongs to group c/(N/Groups).
type Layer struct {
	K, N, Groups int
	W            []float32
	Bias         []float32 // nil for none
}

// Rounded is a layer in integers: real weight = Q·Scale[column].
type Rounded struct {
	Q     []int8
	Scale []float32
	Bias  []int32
}

// The weights' levels; −128 is not used, so that signs are symmetric.
const maxWeight = 127

// WeightScales gives the scale of each column:
// max(absmax/127, |bias|/(s_x·2^30), 2^−100). The second term keeps the int32
// bias within 2^30, the third is for columns of zeros.
func WeightScales(l *Layer, sx float32) []float32 {
	s := make([]float32, l.N)
	for k := range l.K {
		for c, w := range l.W[k*l.N : (k+1)*l.N] {
			s[c] = max(s[c], float32(math.Abs(float64(w))))
		}
	}
	for c, m := range s {
		v := float64(m) / maxWeight
		if l.Bias != nil {
			v = max(v, math.Abs(float64(l.Bias[c]))/(float64(sx)*(1<<30)))
		}
		s[c] = float32(max(v, MinScale))
	}
	return s
}

// RoundWeight rounds one weight to its level.
func RoundWeight(w float64, s float32) int8 {
	return int8(min(max(math.RoundToEven(w/float64(s)), -maxWeight), maxWeight))
}

// RoundNearest rounds every weight to the nearest level.
func RoundNearest(l *Layer, scale []float32) []int8 {
	q := make([]int8, len(l.W))
	for i, w := range l.W {
		q[i] = RoundWeight(float64(w), scale[i%l.N])
	}
	return q
}

// RoundBias gives round_half_even(b/(s_x·s_w,c)), within ±2^30.
func RoundBias(bias []float32, sx float32, sw []float32) []int32 {
	if bias == nil {
		return nil
	}
	q := make([]int32, len(bias))
	for c, b := range bias {
		v := math.RoundToEven(float64(b) / (float64(sx) * float64(sw[c])))
		q[c] = int32(min(max(v, -1<<30), 1<<30))
	}
	return q
}

// The range of requantization factors: outside it a float32 product could
// round away or overflow.
const (
	MinMult = 0x1p-32
	MaxMult = 0x1p8
)

// Mult is the factor of one output channel: (s_x·s_w)/s_y, each step rounded
// to float32.
func Mult(sx, sw, sy float32) float32 { return float32(float32(sx*sw) / sy) }

// Mults gives the factors of all channels. For f32 results sy is 1: the factor
// is then s_x·s_w.
func Mults(sx float32, sw []float32, sy float32) []float32 {
	m := make([]float32, len(sw))
	for c, s := range sw {
		m[c] = Mult(sx, s, sy)
	}
	return m
}

// FitOutScale gives the scale next to sy for which no factor is too large.
func FitOutScale(sx float32, sw []float32, sy float32) float32 {
	top := float32(0)
	for _, s := range sw {
		top = max(top, float32(sx*s))
	}
	for float32(top/sy) >= MaxMult {
		sy *= 2
	}
	return sy
}

// RaiseScales makes every factor at least MinMult by raising weight scales;
// such columns hold nothing that the result could show.
func RaiseScales(sx float32, sw []float32, sy float32) {
	for c := range sw {
		for Mult(sx, sw[c], sy) < MinMult {
			sw[c] = float32(max(sw[c]*2, MinMult*(sy/sx)))
		}
	}
}

// CheckOverflow proves from the stored weights that no final sum leaves int32:
// for every column, the extremes of Σ(x − zero)·w + bias over all 8-bit x.
// The error names the worst column.
func CheckOverflow(q []int8, k, n int, bias []int32, x ir.DType, zero int32) error {
	qlo, qhi := x.Range()
	down, up := int64(qlo-zero), int64(qhi-zero)
	lo, hi := make([]int64, n), make([]int64, n)
	for i := range k {
		for c, w := range q[i*n : (i+1)*n] {
			a, b := down*int64(w), up*int64(w)
			lo[c] += min(a, b, 0)
			hi[c] += max(a, b, 0)
		}
	}
	for c := range n {
		b := int64(0)
		if bias != nil {
			b = int64(bias[c])
		}
		if hi[c]+b > math.MaxInt32 || lo[c]+b < math.MinInt32 {
			return fmt.Errorf("channel %d: the sum can reach %d to %d, outside int32", c, lo[c]+b, hi[c]+b)
		}
	}
	return nil
}

// Dequantized gives the real weights of q.
func Dequantized(q []int8, scale []float32) []float32 {
	w := make([]float32, len(q))
	for i, v := range q {
		w[i] = float32(v) * scale[i%len(scale)]
	}
	return w
}
