package quant

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// Moments gathers what second-order rounding needs to know of a layer's
// inputs, in a memory of K² per group that does not grow with the samples.
// x̂ are the inputs that the quantized layer will see, x those of the float
// layer; without the latter the two are taken to be equal.
type Moments struct {
	K, Groups int
	Rows      []float64 // per group: how many rows were added

	mean  []float64 // per group K: Σ x̂
	diff  []float64 // per group K: Σ (x − x̂)
	h     []float32 // per group K×K: Σ x̂ x̂ᵀ
	cross []float32 // per group K×K: Σ x̂ (x − x̂)ᵀ; nil without float inputs
}

// NewMoments makes empty moments; cross asks for those of x − x̂ too.
func NewMoments(k, groups int, cross bool) *Moments {
	m := &Moments{
		K: k, Groups: groups,
		Rows: make([]float64, groups), mean: make([]float64, groups*k), diff: make([]float64, groups*k),
		h: make([]float32, groups*k*k),
	}
	if cross {
		m.cross = make([]float32, groups*k*k)
	}
	return m
}

// Cross says whether moments of x − x̂ are gathered.
func (m *Moments) Cross() bool { return m.cross != nil }

// MomentBytes is the memory that NewMoments takes.
func MomentBytes(k, groups int, cross bool) int64 {
	b := int64(groups) * int64(k) * int64(k) * 4
	if cross {
		b *= 2
	}
	return b
}

// smallK is where plain loops beat the matrix product's overhead.
const smallK = 64

// Add takes rows inputs of group g: x̂ is rows×K, d is x − x̂ (nil without
// cross moments).
func (m *Moments) Add(g, rows int, x, d []float32) {
	k := m.K
	m.Rows[g] += float64(rows)
	mean, diff := m.mean[g*k:(g+1)*k], m.diff[g*k:(g+1)*k]
	for r := range rows {
		for i, v := range x[r*k : (r+1)*k] {
			mean[i] += float64(v)
		}
		if d != nil {
			for i, v := range d[r*k : (r+1)*k] {
				diff[i] += float64(v)
			}
		}
	}
	h := m.h[g*k*k : (g+1)*k*k]
	var cross []float32
	if m.cross != nil && d != nil {
		cross = m.cross[g*k*k : (g+1)*k*k]
	}
	if k <= smallK {
		for r := range rows {
			xr := x[r*k : (r+1)*k]
			for i, v := range xr {
				if v == 0 {
					continue
				}
				hi := h[i*k : (i+1)*k]
				for j, u := range xr {
					hi[j] += v * u
				}
				if cross != nil {
					ci := cross[i*k : (i+1)*k]
					for j, u := range d[r*k : (r+1)*k] {
						ci[j] += v * u
					}
				}
			}
		}
		return
	}
	xm := blas32.General{Rows: rows, Cols: k, Stride: k, Data: x}
	blas32.Gemm(blas.Trans, blas.NoTrans, 1, xm, xm, 1, blas32.General{Rows: k, Cols: k, Stride: k, Data: h})
	if cross != nil {
		dm := blas32.General{Rows: rows, Cols: k, Stride: k, Data: d}
		blas32.Gemm(blas.Trans, blas.NoTrans, 1, xm, dm, 1, blas32.General{Rows: k, Cols: k, Stride: k, Data: cross})
	}
}

// Means gives E[x̂] and E[x] of group g.
func (m *Moments) Means(g int) (quantized, float []float64) {
	k := m.K
	n := max(m.Rows[g], 1)
	quantized, float = make([]float64, k), make([]float64, k)
	for i := range k {
		quantized[i] = m.mean[g*k+i] / n
		float[i] = quantized[i] + m.diff[g*k+i]/n
	}
	return quantized, float
}

// covariance writes Cov[x̂] of group g plus damping to dst (K×K) and gives the
// damping added. The mean is taken out because the bias absorbs it.
func (m *Moments) covariance(g int, damp float64, dst []float64) float64 {
	k := m.K
	n := max(m.Rows[g], 1)
	mu := make([]float64, k)
	for i := range mu {
		mu[i] = m.mean[g*k+i] / n
	}
	h := m.h[g*k*k : (g+1)*k*k]
	trace := 0.0
	for i := range k {
		for j := range k {
			dst[i*k+j] = float64(h[i*k+j])/n - mu[i]*mu[j]
		}
		dst[i*k+i] = max(dst[i*k+i], 0)
		trace += dst[i*k+i]
	}
	d := damp * trace / float64(k)
	if !(d > 0) {
		d = 1 // constant inputs: every rounding is as good
	}
	// Rounding in float32 leaves about 1e-7 of the raw moment in place of 0.
	for i := range k {
		dst[i*k+i] += d + 1e-6*mu[i]*mu[i]
	}
	return d
}

// crossCovariance writes Cov[x̂, x − x̂] of group g to dst.
func (m *Moments) crossCovariance(g int, dst []float64) {
	k := m.K
	n := max(m.Rows[g], 1)
	for i := range k {
		mu := m.mean[g*k+i] / n
		for j := range k {
			dst[i*k+j] = float64(m.cross[(g*k+i)*k+j])/n - mu*m.diff[g*k+j]/n
		}
	}
}

// CorrectedBias gives the bias for which the rounded layer's mean output is
// the float layer's: b + E[wᵀx] − E[ŵᵀx̂] (empirical bias correction, Nagel et
// al. 2019, without running the layer).
func (m *Moments) CorrectedBias(l *Layer, q []int8, scale []float32) []float32 {
	out := make([]float32, l.N)
	ng := l.N / l.Groups
	for g := range l.Groups {
		if m.Rows[g] == 0 {
			for c := g * ng; c < (g+1)*ng && l.Bias != nil; c++ {
				out[c] = l.Bias[c]
			}
			continue
		}
		xq, xf := m.Means(g)
		for c := g * ng; c < (g+1)*ng; c++ {
			s := 0.0
			if l.Bias != nil {
				s = float64(l.Bias[c])
			}
			for k := range l.K {
				i := k*l.N + c
				s += float64(l.W[i])*xf[k] - float64(q[i])*float64(scale[c])*xq[k]
			}
			out[c] = float32(s)
		}
	}
	return out
}

// Error gives the variance of the rounded layer's output error over that of
// the layer's output, by the moments of x̂: both summed over columns. The
// bias is taken to correct the mean.
func (m *Moments) Error(l *Layer, q []int8, scale []float32) float64 {
	ng := l.N / l.Groups
	cov := make([]float64, l.K*l.K)
	e := make([]float64, l.K)
	w := make([]float64, l.K)
	var num, den float64
	for g := range l.Groups {
		m.covariance(g, 0, cov)
		for c := g * ng; c < (g+1)*ng; c++ {
			for k := range l.K {
				i := k*l.N + c
				w[k] = float64(l.W[i])
				e[k] = w[k] - float64(q[i])*float64(scale[c])
			}
			num += quadratic(cov, e)
			den += quadratic(cov, w)
		}
	}
	if den == 0 {
		return 0
	}
	return math.Max(num, 0) / den
}

func quadratic(h, v []float64) float64 {
	k := len(v)
	s := 0.0
	for i, a := range v {
		if a == 0 {
			continue
		}
		t := 0.0
		for j, b := range h[i*k : (i+1)*k] {
			t += b * v[j]
		}
		s += a * t
	}
	return s
}
