package quant

import (
	"math"
	"runtime"
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// AdaRound's constants (Nagel et al. 2020): the rectified sigmoid stretches
// from −gamma to 1+gamma; the regularizer's exponent falls from betaStart to
// betaEnd after a warm start without it.
const (
	adaGamma     = 0.1
	adaBetaStart = 20
	adaBetaEnd   = 2
	adaWarmup    = 0.2
	adaLambda    = 0.01
	adaRate      = 1e-2
	defaultIters = 500
)

// RoundAdaptively learns for every weight whether to round up or down, by Adam
// on the layer's output error plus a regularizer that drives the choices to 0
// or 1. The error is the quadratic form of the inputs' moments, so that a step
// needs neither samples nor memory beyond a few copies of the weights. What
// the descent leaves undecided is rounded, then polished.
func RoundAdaptively(l *Layer, scale []float32, m *Moments, o RoundOptions) ([]int8, error) {
	if o.Damp == 0 {
		o.Damp = defaultDamp
	}
	iters := o.Iters
	if iters == 0 {
		iters = defaultIters
	}
	q := RoundNearest(l, scale)
	k, ng := l.K, l.N/l.Groups
	h := make([]float64, k*k)
	w := make([]float64, k*ng)
	for g := range l.Groups {
		if m.Rows[g] == 0 {
			continue
		}
		groupWeights(l, g, w)
		m.covariance(g, o.Damp, h)
		if err := adaGroup(l, scale, g, h, w, q, iters, o.Product); err != nil {
			return nil, err
		}
		if o.Polish > 0 {
			polish(l, scale, g, h, w, q, o.Polish)
		}
	}
	return q, nil
}

func adaGroup(l *Layer, scale []float32, g int, h, w []float64, q []int8, iters int, product Product) error {
	k, ng := l.K, l.N/l.Groups
	n := k * ng
	v := make([]float32, n)     // the logits that are learned
	floor := make([]float32, n) // levels
	m1, m2 := make([]float32, n), make([]float32, n)
	e := make([]float32, n)
	h32 := make([]float32, k*k)
	sc := scale[g*ng : (g+1)*ng]
	for i := range v {
		x := w[i] / float64(sc[i%ng])
		f := x - math.Floor(x)
		floor[i] = float32(math.Floor(x))
		// The logit whose rectified sigmoid is the fraction.
		v[i] = float32(-math.Log((1+2*adaGamma)/(f+adaGamma) - 1))
	}
	// Errors are measured in units of the mean of s²·h, so that one rate and
	// one lambda fit every layer.
	unit := 0.0
	for i := range k {
		unit += h[i*k+i] / float64(k)
	}
	for i, x := range h {
		h32[i] = float32(x)
	}
	if product == nil {
		product = PlainProduct
	}
	for t := range iters {
		inParallel(k, func(lo, hi int) {
			for i := lo * ng; i < hi*ng; i++ {
				e[i] = float32((float64(floor[i])+rectified(float64(v[i])))*float64(sc[i%ng]) - w[i])
			}
		})
		grad, err := product(k, ng, h32, e)
		if err != nil {
			return err
		}
		progress := float64(t) / float64(iters)
		beta, lambda := 0.0, 0.0
		if progress >= adaWarmup {
			r := (progress - adaWarmup) / (1 - adaWarmup)
			beta = adaBetaEnd + 0.5*(adaBetaStart-adaBetaEnd)*(1+math.Cos(r*math.Pi))
			lambda = adaLambda
		}
		c1, c2 := 1-math.Pow(0.9, float64(t+1)), 1-math.Pow(0.999, float64(t+1))
		inParallel(k, func(lo, hi int) {
			for i := lo * ng; i < hi*ng; i++ {
				if w[i] == 0 { // zeros stay: they may be a mask's
					continue
				}
				sig := 1 / (1 + math.Exp(-float64(v[i])))
				hv := sig*(1+2*adaGamma) - adaGamma
				gi := 0.0
				if hv > 0 && hv < 1 {
					d := sig * (1 - sig) * (1 + 2*adaGamma)
					gi = 2 * float64(grad[i]) / (float64(sc[i%ng]) * unit) * d
					if u := 2*hv - 1; lambda > 0 {
						gi -= lambda * 2 * beta * math.Copysign(math.Pow(math.Abs(u), beta-1), u) * d
					}
				}
				a := 0.9*float64(m1[i]) + 0.1*gi
				b := 0.999*float64(m2[i]) + 0.001*gi*gi
				m1[i], m2[i] = float32(a), float32(b)
				v[i] -= float32(adaRate * (a / c1) / (math.Sqrt(b/c2) + 1e-8))
			}
		})
	}
	for i := range v {
		up := 0.0
		if rectified(float64(v[i])) >= 0.5 {
			up = 1
		}
		q[i/ng*l.N+g*ng+i%ng] = int8(min(max(float64(floor[i])+up, -maxWeight), maxWeight))
	}
	return nil
}

// Product gives h·e of a K×K and a K×N matrix.
type Product func(k, n int, h, e []float32) ([]float32, error)

// PlainProduct is gonum's.
func PlainProduct(k, n int, h, e []float32) ([]float32, error) {
	out := blas32.General{Rows: k, Cols: n, Stride: n, Data: make([]float32, k*n)}
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1,
		blas32.General{Rows: k, Cols: k, Stride: k, Data: h}, blas32.General{Rows: k, Cols: n, Stride: n, Data: e}, 0, out)
	return out.Data, nil
}

// inParallel cuts [0, n) among the processors. Elements do not depend on one
// another, so the result is the same however it is cut.
func inParallel(n int, f func(lo, hi int)) {
	parts := min(runtime.GOMAXPROCS(0), n)
	var wg sync.WaitGroup
	for p := range parts {
		wg.Go(func() { f(n*p/parts, n*(p+1)/parts) })
	}
	wg.Wait()
}

// rectified is AdaRound's stretched, clipped sigmoid.
func rectified(v float64) float64 {
	return min(max((1+2*adaGamma)/(1+math.Exp(-v))-adaGamma, 0), 1)
}
