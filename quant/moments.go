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

	// Gram gives aᵀ·b of two GramRows×K matrices; nil stands for gonum's
	// product. A fast engine makes this much faster.
	Gram func(k int, a, b []float32) ([]float32, error)

	mean  []float64 // per group K: Σ x̂
	diff  []float64 // per group K: Σ (x − x̂)
	h     []float32 // per group K×K: Σ x̂ x̂ᵀ
	cross []float32 // per group K×K: Σ x̂ (x − x̂)ᵀ; nil without float inputs

	pendingX, pendingD [][]float32 // per group: rows not yet multiplied
}

// GramRows is how many rows are gathered before they are multiplied.
const GramRows = 512

// NewMoments makes empty moments; cross asks for those of x − x̂ too.
func NewMoments(k, groups int, cross bool) *Moments {
	m := &Moments{
		K: k, Groups: groups,
		Rows: make([]float64, groups), mean: make([]float64, groups*k), diff: make([]float64, groups*k),
		h: make([]float32, groups*k*k), pendingX: make([][]float32, groups), pendingD: make([][]float32, groups),
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
	if k > smallK {
		b += int64(groups) * int64(k) * GramRows * 4
	}
	if cross {
		b *= 2
	}
	return b
}

// smallK is where plain loops beat the matrix product's overhead.
const smallK = 64

// Add takes rows inputs of group g: x̂ is rows×K, d is x − x̂ (nil without
// cross moments). After the last Add comes Finish.
func (m *Moments) Add(g, rows int, x, d []float32) error {
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
	if k <= smallK {
		m.addSmall(g, rows, x, d)
		return nil
	}
	for len(x) > 0 {
		n := min(len(x), GramRows*k-len(m.pendingX[g]))
		m.pendingX[g] = append(m.pendingX[g], x[:n]...)
		x = x[n:]
		if m.cross != nil {
			m.pendingD[g] = append(m.pendingD[g], d[:n]...)
			d = d[n:]
		}
		if len(m.pendingX[g]) == GramRows*k {
			if err := m.multiply(g); err != nil {
				return err
			}
		}
	}
	return nil
}

// Finish multiplies the rows still waiting.
func (m *Moments) Finish() error {
	for g := range m.Groups {
		if len(m.pendingX[g]) > 0 {
			// Rows of zeros add nothing.
			m.pendingX[g] = append(m.pendingX[g], make([]float32, GramRows*m.K-len(m.pendingX[g]))...)
			if m.cross != nil {
				m.pendingD[g] = append(m.pendingD[g], make([]float32, GramRows*m.K-len(m.pendingD[g]))...)
			}
			if err := m.multiply(g); err != nil {
				return err
			}
		}
		m.pendingX[g], m.pendingD[g] = nil, nil
	}
	return nil
}

// multiply adds the products of the waiting rows of group g.
func (m *Moments) multiply(g int) error {
	k := m.K
	add := func(dst, a, b []float32) error {
		if m.Gram == nil {
			blas32.Gemm(blas.Trans, blas.NoTrans, 1,
				blas32.General{Rows: GramRows, Cols: k, Stride: k, Data: a},
				blas32.General{Rows: GramRows, Cols: k, Stride: k, Data: b}, 1,
				blas32.General{Rows: k, Cols: k, Stride: k, Data: dst})
			return nil
		}
		p, err := m.Gram(k, a, b)
		for i, v := range p {
			dst[i] += v
		}
		return err
	}
	x := m.pendingX[g]
	if err := add(m.h[g*k*k:(g+1)*k*k], x, x); err != nil {
		return err
	}
	if m.cross != nil {
		if err := add(m.cross[g*k*k:(g+1)*k*k], x, m.pendingD[g]); err != nil {
			return err
		}
		m.pendingD[g] = m.pendingD[g][:0]
	}
	m.pendingX[g] = x[:0]
	return nil
}

// addSmall adds the products by plain loops.
func (m *Moments) addSmall(g, rows int, x, d []float32) {
	k := m.K
	h := m.h[g*k*k : (g+1)*k*k]
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
			if m.cross != nil {
				ci := m.cross[(g*k+i)*k : (g*k+i+1)*k]
				for j, u := range d[r*k : (r+1)*k] {
					ci[j] += v * u
				}
			}
		}
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
// the layer's output, by the moments of x̂: both summed over columns, of which
// at most errorColumns of a group are looked at. The bias is taken to correct
// the mean.
func (m *Moments) Error(l *Layer, q []int8, scale []float32) float64 {
	ng := l.N / l.Groups
	cov := make([]float64, l.K*l.K)
	e := make([]float64, l.K)
	w := make([]float64, l.K)
	var num, den float64
	for g := range l.Groups {
		m.covariance(g, 0, cov)
		for c := g * ng; c < (g+1)*ng; c += (ng + errorColumns - 1) / errorColumns {
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

const errorColumns = 64

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
