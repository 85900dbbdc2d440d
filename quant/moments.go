package quant

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// Moments gathers what second-order rounding needs to know of a layer's
// inputs: Σ x xᵀ and Σ x, in a memory of K² per group that does not grow with
// the samples.
type Moments struct {
	K, Groups int
	Rows      []float64 // per group: how many rows were added

	// Gram gives xᵀ·x of a GramRows×K matrix; nil stands for gonum's product.
	// A fast engine makes this much faster.
	Gram func(k int, x []float32) ([]float32, error)

	// Sums are of y = x − shift, the mean of the group's first rows: products
	// in float32 would drown small variances under large means.
	shift   []float32   // per group K
	sum     []float64   // per group K: Σ y
	h       []float32   // per group K×K: Σ y yᵀ
	pending [][]float32 // per group: rows not yet multiplied
	row     []float32
}

// GramRows is how many rows are gathered before they are multiplied.
const GramRows = 512

// NewMoments makes empty moments.
func NewMoments(k, groups int) *Moments {
	return &Moments{
		K: k, Groups: groups,
		Rows: make([]float64, groups), sum: make([]float64, groups*k), shift: make([]float32, groups*k), row: make([]float32, k),
		h: make([]float32, groups*k*k), pending: make([][]float32, groups),
	}
}

// MomentBytes is the memory that moments take.
func MomentBytes(k, groups int) int64 {
	b := int64(groups) * int64(k) * int64(k) * 4
	if k > smallK {
		b += int64(groups) * int64(k) * GramRows * 4
	}
	return b
}

// smallK is where plain loops beat the matrix product's overhead.
const smallK = 64

// Add takes rows inputs of group g, a rows×K matrix. After the last Add comes
// Finish.
func (m *Moments) Add(g, rows int, x []float32) error {
	k := m.K
	shift, sum := m.shift[g*k:(g+1)*k], m.sum[g*k:(g+1)*k]
	if m.Rows[g] == 0 {
		first := make([]float64, k)
		for i, v := range x[:rows*k] {
			first[i%k] += float64(v) / float64(rows)
		}
		for i, v := range first {
			shift[i] = float32(v)
		}
	}
	m.Rows[g] += float64(rows)
	for r := range rows {
		for i, v := range x[r*k : (r+1)*k] {
			m.row[i] = v - shift[i]
			sum[i] += float64(m.row[i])
		}
		if k <= smallK {
			m.addSmall(g, m.row)
			continue
		}
		m.pending[g] = append(m.pending[g], m.row...)
		if len(m.pending[g]) == GramRows*k {
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
		if n := len(m.pending[g]); n > 0 {
			// Rows of zeros add nothing.
			m.pending[g] = append(m.pending[g], make([]float32, GramRows*m.K-n)...)
			if err := m.multiply(g); err != nil {
				return err
			}
		}
		m.pending[g] = nil
	}
	return nil
}

// multiply adds the product of the waiting rows of group g.
func (m *Moments) multiply(g int) error {
	k, x := m.K, m.pending[g]
	dst := m.h[g*k*k : (g+1)*k*k]
	m.pending[g] = x[:0]
	if m.Gram == nil {
		xm := blas32.General{Rows: GramRows, Cols: k, Stride: k, Data: x}
		blas32.Gemm(blas.Trans, blas.NoTrans, 1, xm, xm, 1, blas32.General{Rows: k, Cols: k, Stride: k, Data: dst})
		return nil
	}
	p, err := m.Gram(k, x)
	for i, v := range p {
		dst[i] += v
	}
	return err
}

// addSmall adds one row's products by plain loops.
func (m *Moments) addSmall(g int, y []float32) {
	k := m.K
	h := m.h[g*k*k : (g+1)*k*k]
	for i, v := range y {
		if v == 0 {
			continue
		}
		hi := h[i*k : (i+1)*k]
		for j, u := range y {
			hi[j] += v * u
		}
	}
}

// Means gives E[x] of group g.
func (m *Moments) Means(g int) []float64 {
	out := make([]float64, m.K)
	for i := range out {
		j := g*m.K + i
		out[i] = float64(m.shift[j]) + m.sum[j]/max(m.Rows[g], 1)
	}
	return out
}

// covariance writes Cov[x] of group g plus damping to dst (K×K) and gives the
// damping added. The mean is taken out because the bias absorbs it.
func (m *Moments) covariance(g int, damp float64, dst []float64) float64 {
	k := m.K
	n := max(m.Rows[g], 1)
	mu := m.sum[g*k : (g+1)*k] // of y, times n
	h := m.h[g*k*k : (g+1)*k*k]
	trace := 0.0
	for i := range k {
		for j := range k {
			dst[i*k+j] = float64(h[i*k+j])/n - mu[i]/n*(mu[j]/n)
		}
		dst[i*k+i] = max(dst[i*k+i], 0)
		trace += dst[i*k+i]
	}
	d := damp * trace / float64(k)
	if !(d > 0) {
		d = 1 // constant inputs: every rounding is as good
	}
	for i := range k {
		dst[i*k+i] += d
	}
	return d
}

// CorrectedBias gives the bias for which the rounded layer's mean output is
// the float layer's: b + E[(w − ŵ)ᵀx] (empirical bias correction, Nagel et al.
// 2019, without running the layer).
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
		mu := m.Means(g)
		for c := g * ng; c < (g+1)*ng; c++ {
			s := 0.0
			if l.Bias != nil {
				s = float64(l.Bias[c])
			}
			for k := range l.K {
				i := k*l.N + c
				s += (float64(l.W[i]) - float64(q[i])*float64(scale[c])) * mu[k]
			}
			out[c] = float32(s)
		}
	}
	return out
}

// Error gives the variance of the rounded layer's output error and that of the
// layer's output, each summed over columns, of which at most errorColumns of a
// group are looked at. The bias is taken to correct the mean.
func (m *Moments) Error(l *Layer, q []int8, scale []float32) (noise, signal float64) {
	ng := l.N / l.Groups
	cov := make([]float64, l.K*l.K)
	e := make([]float64, l.K)
	w := make([]float64, l.K)
	for g := range l.Groups {
		m.covariance(g, 0, cov)
		for c := g * ng; c < (g+1)*ng; c += (ng + errorColumns - 1) / errorColumns {
			for k := range l.K {
				i := k*l.N + c
				w[k] = float64(l.W[i])
				e[k] = w[k] - float64(q[i])*float64(scale[c])
			}
			noise += max(quadratic(cov, e), 0)
			signal += quadratic(cov, w)
		}
	}
	return noise, signal
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
