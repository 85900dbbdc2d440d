package quant

import (
	"errors"
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"
)

// RoundOptions steer second-order rounding.
type RoundOptions struct {
	Damp   float64 // of the mean diagonal, added to it; 0 means 0.03
	Polish int     // passes of coordinate descent after GPTQ
	Iters  int     // AdaRound only; 0 means 500
	// Product does AdaRound's matrix products; nil stands for gonum's.
	Product Product
}

const defaultDamp = 0.03

// gptqBlock rows are finished before their error is fed forward by one matrix
// product.
const gptqBlock = 64

var errNotPositive = errors.New("the inputs' covariance is not finite")

// GPTQ rounds the weights so that the layer's output error, not the weights',
// is small: rows in order of falling input variance, each row's rounding error
// fed forward to the rows not yet rounded (Frantar et al. 2022). The form is
// that of LDLQ (Chee et al. 2023): with Cov = U D Uᵀ, U unit upper triangular,
// row k is rounded after adding Σ_{j<k} (w_j − q_j)·U[j,k], which needs no
// inverse.
func GPTQ(l *Layer, scale []float32, m *Moments, o RoundOptions) ([]int8, error) {
	if o.Damp == 0 {
		o.Damp = defaultDamp
	}
	q := RoundNearest(l, scale)
	k, ng := l.K, l.N/l.Groups
	u := make([]float64, k*k)
	w := make([]float64, k*ng)
	order := make([]int, k)
	for g := range l.Groups {
		if m.Rows[g] == 0 {
			continue
		}
		groupWeights(l, g, w)
		// Rounding of the sums can leave a matrix that is not positive
		// definite: damp it more until it is.
		damp := o.Damp
		for {
			m.covariance(g, damp, u)
			if factorUDU(u, order) {
				break
			}
			if damp *= 10; damp > 1e6 {
				return nil, errNotPositive
			}
		}
		gptqGroup(l, scale, g, u, w, order, q)
		if o.Polish > 0 {
			groupWeights(l, g, w)
			m.covariance(g, o.Damp, u)
			polish(l, scale, g, u, w, q, o.Polish)
		}
	}
	return q, nil
}

// groupWeights writes the weights of group g to w (K×N/Groups).
func groupWeights(l *Layer, g int, w []float64) {
	ng := l.N / l.Groups
	for i := range l.K {
		for c := range ng {
			w[i*ng+c] = float64(l.W[i*l.N+g*ng+c])
		}
	}
}

// factorUDU replaces the symmetric a (K×K) by the factor of its reversed,
// reordered form; order gets the rows in the order of rounding. Row p of U (in
// that order) lies reversed in row K−1−p: U[p][q] = a[K−1−p][K−1−q], q ≥ p.
// It says whether a was positive definite.
func factorUDU(a []float64, order []int) bool {
	k := len(order)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch d := a[j*k+j] - a[i*k+i]; {
		case d > 0:
			return 1
		case d < 0:
			return -1
		}
		return 0
	})
	permuteSymmetric(a, order)
	_, ok := lapack64.Potrf(blas64.Symmetric{N: k, Stride: k, Data: a, Uplo: blas.Lower})
	return ok
}

// permuteSymmetric reorders rows and columns in place so that entry (i, j)
// becomes that of (order[K−1−i], order[K−1−j]).
func permuteSymmetric(a []float64, order []int) {
	k := len(order)
	row := make([]float64, k)
	for i := range k { // columns, row by row
		src := a[i*k : (i+1)*k]
		for j := range k {
			row[j] = src[order[k-1-j]]
		}
		copy(src, row)
	}
	// Rows: follow the permutation's cycles.
	from := make([]int, k) // row i comes from row from[i]
	for i := range from {
		from[i] = order[k-1-i]
	}
	done := make([]bool, k)
	for i := range k {
		if done[i] {
			continue
		}
		copy(row, a[i*k:(i+1)*k])
		for j := i; ; j = from[j] {
			done[j] = true
			if from[j] == i {
				copy(a[j*k:(j+1)*k], row)
				break
			}
			copy(a[j*k:(j+1)*k], a[from[j]*k:(from[j]+1)*k])
		}
	}
}

// gptqGroup rounds group g. w holds its weights.
func gptqGroup(l *Layer, scale []float32, g int, u, w []float64, order []int, q []int8) {
	k, ng := l.K, l.N/l.Groups
	sc := scale[g*ng : (g+1)*ng]
	// Work in the order of rounding, reversed, so that U's rows are a's:
	// position r = K−1−p.
	e := make([]float64, k*ng) // errors, by position r
	acc := make([]float64, k*ng)
	for hi := k; hi > 0; hi -= gptqBlock {
		lo := max(hi-gptqBlock, 0)
		for r := hi - 1; r >= lo; r-- {
			row := order[k-1-r]
			er, ar, wr := e[r*ng:(r+1)*ng], acc[r*ng:(r+1)*ng], w[row*ng:(row+1)*ng]
			qr := q[row*l.N+g*ng : row*l.N+(g+1)*ng]
			for c := range ng {
				v := int8(0)
				if wr[c] != 0 { // zeros stay: they may be a mask's
					v = RoundWeight(wr[c]+ar[c], sc[c])
				}
				qr[c] = v
				er[c] = wr[c] - float64(v)*float64(sc[c])
			}
			// Feed forward inside the block: U[p][q]/U[q][q] for later q.
			for s := r - 1; s >= lo; s-- {
				f := u[r*k+s] / u[s*k+s]
				if f == 0 {
					continue
				}
				blas64.Axpy(f, blas64.Vector{N: ng, Inc: 1, Data: er}, blas64.Vector{N: ng, Inc: 1, Data: acc[s*ng : (s+1)*ng]})
			}
		}
		if lo > 0 {
			// acc[s] += Σ_r U[r][s]/U[s][s]·e[r], s < lo; the division comes
			// last, so it is taken back and done again.
			part := blas64.General{Rows: lo, Cols: ng, Stride: ng, Data: acc[:lo*ng]}
			for s := range lo {
				blas64.Scal(u[s*k+s], blas64.Vector{N: ng, Inc: 1, Data: acc[s*ng : (s+1)*ng]})
			}
			blas64.Gemm(blas.Trans, blas.NoTrans, 1,
				blas64.General{Rows: hi - lo, Cols: lo, Stride: k, Data: u[lo*k:]},
				blas64.General{Rows: hi - lo, Cols: ng, Stride: ng, Data: e[lo*ng : hi*ng]}, 1, part)
			for s := range lo {
				blas64.Scal(1/u[s*k+s], blas64.Vector{N: ng, Inc: 1, Data: acc[s*ng : (s+1)*ng]})
			}
		}
	}
}

// polish lowers the output error further by moving single weights one level,
// as long as that helps: coordinate descent on eᵀ·Cov·e of every column.
func polish(l *Layer, scale []float32, g int, h, w []float64, q []int8, passes int) {
	k, ng := l.K, l.N/l.Groups
	// grad = Cov·(ŵ − w), a column at a time lying together: [ng][K]
	e := blas64.General{Rows: ng, Cols: k, Stride: k, Data: make([]float64, ng*k)}
	for i := range k {
		for c := range ng {
			e.Data[c*k+i] = float64(q[i*l.N+g*ng+c])*float64(scale[g*ng+c]) - w[i*ng+c]
		}
	}
	grad := blas64.General{Rows: ng, Cols: k, Stride: k, Data: make([]float64, ng*k)}
	blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, e, blas64.General{Rows: k, Cols: k, Stride: k, Data: h}, 0, grad)
	for c := range ng {
		s := float64(scale[g*ng+c])
		gc := grad.Data[c*k : (c+1)*k]
		for range passes {
			moved := false
			for i := range k {
				// A step of d levels changes the error by 2·d·s·grad + (d·s)²·h.
				hii := h[i*k+i]
				d := -math.Round(gc[i] / (s * hii))
				if d == 0 || w[i*ng+c] == 0 {
					continue
				}
				at := i*l.N + g*ng + c
				v := min(max(float64(q[at])+d, -maxWeight), maxWeight)
				d = v - float64(q[at])
				if d == 0 {
					continue
				}
				q[at] = int8(v)
				moved = true
				blas64.Axpy(d*s, blas64.Vector{N: k, Inc: 1, Data: h[i*k : (i+1)*k]}, blas64.Vector{N: k, Inc: 1, Data: gc})
			}
			if !moved {
				break
			}
		}
	}
}
