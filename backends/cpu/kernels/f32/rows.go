package f32

import (
	"fmt"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// rowFuncs are the operations on contiguous rows, by instruction set: softmax
// and layerNorm take rows of n values, one after the other, the others one.
type rowFuncs struct {
	sum        func(x []float32) float32
	sumSq      func(x []float32, c float32) float32
	max, min   func(x []float32) float32
	softmax    func(y, x, bias []float32, n int) // bias: n values that are added to each row, or nil
	logSoftmax func(y, x []float32)
	layerNorm  func(y, x, scale, bias []float32, n int, eps float32)
	rmsNorm    func(y, x, scale []float32, eps float32)
}

var portableRows = rowFuncs{
	sum: fmath.Sum16, sumSq: fmath.SumSq16, max: fmath.Max16, min: fmath.Min16,
	logSoftmax: fmath.LogSoftmax, rmsNorm: fmath.RMSNorm,
	softmax: func(y, x, bias []float32, n int) {
		for ; len(x) > 0; y, x = y[n:], x[n:] {
			in := x[:n]
			if bias != nil {
				in = y[:n]
				for i, v := range bias {
					in[i] = x[i] + v
				}
			}
			fmath.Softmax(y[:n], in)
		}
	},
	layerNorm: func(y, x, scale, bias []float32, n int, eps float32) {
		for ; len(x) > 0; y, x = y[n:], x[n:] {
			fmath.LayerNorm(y[:n], x[:n], scale, bias, eps)
		}
	},
}

// rowUnit gives how many rows of n values make one unit.
func rowUnit(n int) int { return max(1, elementUnit/2/max(n, 1)) }

func product(s []int) int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// SoftmaxSpec is softmax, or log softmax, along one axis (negative: from the
// end). With Biases, X2 holds so many rows of the last axis, each of which is
// added to as many consecutive rows of X before the softmax, not log, of these.
type SoftmaxSpec struct {
	Shape  []int
	Axis   int
	Log    bool
	Biases int
}

// Softmax prepares fmath.Softmax or fmath.LogSoftmax along an axis; Y may be X
// for softmax along the last axis.
func Softmax(s SoftmaxSpec, l isa.Level) (Kernel, error) {
	name, softmax := "softmax", rowsFor(l).softmax
	f := func(y, x []float32) { softmax(y, x, nil, len(x)) }
	if s.Log {
		name, f = "log_softmax", rowsFor(l).logSoftmax
	}
	if s.Axis < 0 {
		s.Axis += len(s.Shape)
	}
	if s.Axis < 0 || s.Axis >= len(s.Shape) {
		return nil, specError(name, fmt.Sprintf("axis %d", s.Axis), "an axis of %v", s.Shape)
	}
	n, inner := s.Shape[s.Axis], product(s.Shape[s.Axis+1:])
	rows := product(s.Shape[:s.Axis]) * inner
	per := rowUnit(n)
	k := &op{name: fmt.Sprintf("%s_f32_%dx%d_%s", name, rows, n, l), tiles: ceilDiv(rows, per)}
	if s.Biases > 0 {
		if s.Log || inner > 1 || rows%s.Biases != 0 {
			return nil, specError(name, fmt.Sprintf("%d biases", s.Biases), "a softmax along the last axis, its %d rows a multiple of them", rows)
		}
		k.name = "add+" + k.name
	}
	if !s.Log && inner == 1 {
		biases := max(1, s.Biases)
		k.run = func(lo, hi int, a *Args) {
			x, y := floats(a.X), floats(a.Y)
			for r, end := lo*per, min(hi*per, rows); r < end; {
				// Up to the end of the rows of one bias.
				each := rows / biases
				e := min(end, (r/each+1)*each)
				var bias []float32
				if s.Biases > 0 {
					bias = floats(a.X2)[r/each*n:][:n]
				}
				softmax(y[r*n:e*n], x[r*n:e*n], bias, n)
				r = e
			}
		}
		return k, nil
	}
	if inner > 1 {
		k.scratch = 2 * align64(n*4)
	}
	k.run = func(lo, hi int, a *Args) {
		x, y := floats(a.X), floats(a.Y)
		for r := lo * per; r < min(hi*per, rows); r++ {
			if inner == 1 {
				f(y[r*n:(r+1)*n], x[r*n:(r+1)*n])
				continue
			}
			in, out := floats(a.Scratch)[:n], floats(a.Scratch[align64(n*4):])[:n]
			at := r/inner*n*inner + r%inner
			for i := range in {
				in[i] = x[at+i*inner]
			}
			f(out, in)
			for i, v := range out {
				y[at+i*inner] = v
			}
		}
	}
	return k, nil
}

// NormSpec is a normalization of Rows rows of N contiguous values; Scale and
// Bias have N values or are nil.
type NormSpec struct {
	Rows, N     int
	Scale, Bias []float32
	Eps         float32
}

func (s *NormSpec) check(op string) error {
	if s.N < 1 || s.Scale != nil && len(s.Scale) != s.N || s.Bias != nil && len(s.Bias) != s.N {
		return specError(op, fmt.Sprintf("%d scales, %d biases", len(s.Scale), len(s.Bias)), "%d or none", s.N)
	}
	return nil
}

// LayerNorm prepares fmath.LayerNorm of each row; Y may be X.
func LayerNorm(s NormSpec, l isa.Level) (Kernel, error) {
	f := rowsFor(l).layerNorm
	return rowNorm("layer_norm", s, l, func(y, x []float32) { f(y, x, s.Scale, s.Bias, s.N, s.Eps) })
}

// RMSNorm prepares fmath.RMSNorm of each row (no bias); Y may be X.
func RMSNorm(s NormSpec, l isa.Level) (Kernel, error) {
	f := rowsFor(l).rmsNorm
	return rowNorm("rms_norm", s, l, eachRow(s.N, func(y, x []float32) { f(y, x, s.Scale, s.Eps) }))
}

// eachRow applies f to each row of n values.
func eachRow(n int, f func(y, x []float32)) func(y, x []float32) {
	return func(y, x []float32) {
		for ; len(x) > 0; y, x = y[n:], x[n:] {
			f(y[:n], x[:n])
		}
	}
}

// rowNorm prepares f, which takes whole rows of s.N values.
func rowNorm(name string, s NormSpec, l isa.Level, f func(y, x []float32)) (Kernel, error) {
	if err := s.check(name); err != nil {
		return nil, err
	}
	per := rowUnit(s.N)
	return &op{
		name: fmt.Sprintf("%s_f32_%dx%d_%s", name, s.Rows, s.N, l), tiles: ceilDiv(s.Rows, per),
		run: func(lo, hi int, a *Args) {
			x, y := floats(a.X), floats(a.Y)
			if a, b := lo*per*s.N, min(hi*per, s.Rows)*s.N; a < b {
				f(y[a:b], x[a:b])
			}
		},
	}, nil
}

// ChannelNormSpec is group_norm over [N, Space, C] with Groups groups of
// channels; Groups = C is instance_norm. Scale and Bias have C values or are nil.
type ChannelNormSpec struct {
	N, Space, C, Groups int
	Scale, Bias         []float32
	Eps                 float32
}

// ChannelNorm prepares group_norm or instance_norm: the row of a group is its
// positions, at each its channels, in order; its moments are fmath.Moments.
func ChannelNorm(s ChannelNormSpec, l isa.Level) (Kernel, error) {
	if s.Groups < 1 || s.C%s.Groups != 0 || s.Scale != nil && len(s.Scale) != s.C || s.Bias != nil && len(s.Bias) != s.C {
		return nil, specError("group_norm", fmt.Sprintf("%d channels in %d groups, %d scales, %d biases", s.C, s.Groups, len(s.Scale), len(s.Bias)), "matching counts")
	}
	f, cg := rowsFor(l), s.C/s.Groups
	n := s.Space * cg
	return &op{
		name: fmt.Sprintf("group_norm_f32_%dx%dx%dg%d_%s", s.N, s.Space, s.C, s.Groups, l), tiles: s.N * s.Groups, scratch: align64(n * 4),
		run: func(lo, hi int, a *Args) {
			x, y, row := floats(a.X), floats(a.Y), floats(a.Scratch)[:n]
			for u := lo; u < hi; u++ {
				at := u/s.Groups*s.Space*s.C + u%s.Groups*cg
				for p := range s.Space {
					copy(row[p*cg:(p+1)*cg], x[at+p*s.C:])
				}
				inv := fmath.InvCount(n)
				mean := float32(f.sum(row) * inv)
				rstd := fmath.Rstd(float32(f.sumSq(row, mean)*inv), s.Eps)
				for i, v := range row {
					c := i % cg
					v = float32((v - mean) * rstd)
					if s.Scale != nil {
						v = float32(v * s.Scale[u%s.Groups*cg+c])
					}
					if s.Bias != nil {
						v += s.Bias[u%s.Groups*cg+c]
					}
					y[at+i/cg*s.C+c] = v
				}
			}
		},
	}, nil
}

// BatchNormSpec is a fixed normalization of Rows pixels of C channels.
type BatchNormSpec struct {
	Rows, C                     int
	Scale, Bias, Mean, Variance []float32
	Eps                         float32
}

// BatchNorm prepares fmath.BatchNorm per channel; Y may be X.
func BatchNorm(s BatchNormSpec, l isa.Level) (Kernel, error) {
	for _, v := range [][]float32{s.Scale, s.Bias, s.Mean, s.Variance} {
		if len(v) != s.C {
			return nil, specError("batch_norm", fmt.Sprintf("%d values", len(v)), "%d of each", s.C)
		}
	}
	rstd := make([]float32, s.C)
	for i, v := range s.Variance {
		rstd[i] = fmath.Rstd(v, s.Eps)
	}
	sub, err := binaryFunc("subtract", l)
	if err != nil {
		return nil, err
	}
	mul, err := binaryFunc("multiply", l)
	if err != nil {
		return nil, err
	}
	add, err := binaryFunc("add", l)
	if err != nil {
		return nil, err
	}
	return rowNorm("batch_norm", NormSpec{Rows: s.Rows, N: s.C}, l, eachRow(s.C, func(y, x []float32) {
		sub(y, x, s.Mean, false, false)
		mul(y, y, rstd, false, false)
		mul(y, y, s.Scale, false, false)
		add(y, y, s.Bias, false, false)
	}))
}
