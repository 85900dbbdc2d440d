package quant

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
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
		iters = 1000
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
		adaGroup(l, scale, g, h, w, q, iters)
		if o.Polish > 0 {
			polish(l, scale, g, h, w, q, o.Polish)
		}
	}
	return q, nil
}

func adaGroup(l *Layer, scale []float32, g int, h, w []float64, q []int8, iters int) {
	k, ng := l.K, l.N/l.Groups
	n := k * ng
	v := make([]float64, n)     // the logits that are learned
	floor := make([]float64, n) // levels
	m1, m2 := make([]float64, n), make([]float64, n)
	e, grad := make([]float64, n), make([]float64, n)
	sc := scale[g*ng : (g+1)*ng]
	for i := range v {
		x := w[i] / float64(sc[i%ng])
		floor[i] = math.Floor(x)
		f := x - floor[i]
		// The logit whose rectified sigmoid is the fraction.
		v[i] = -math.Log((1+2*adaGamma)/(f+adaGamma) - 1)
	}
	hm := blas64.General{Rows: k, Cols: k, Stride: k, Data: h}
	em := blas64.General{Rows: k, Cols: ng, Stride: ng, Data: e}
	gm := blas64.General{Rows: k, Cols: ng, Stride: ng, Data: grad}
	// Errors are measured in units of the mean of s²·h, so that one rate and
	// one lambda fit every layer.
	unit := 0.0
	for i := range k {
		unit += h[i*k+i]
	}
	unit /= float64(k)
	for t := range iters {
		for i := range e {
			s := float64(sc[i%ng])
			e[i] = (floor[i]+rectified(v[i]))*s - w[i]
		}
		blas64.Gemm(blas.NoTrans, blas.NoTrans, 2, hm, em, 0, gm)
		progress := float64(t) / float64(iters)
		beta, lambda := 0.0, 0.0
		if progress >= adaWarmup {
			r := (progress - adaWarmup) / (1 - adaWarmup)
			beta = adaBetaEnd + 0.5*(adaBetaStart-adaBetaEnd)*(1+math.Cos(r*math.Pi))
			lambda = adaLambda
		}
		c1, c2 := 1-math.Pow(0.9, float64(t+1)), 1-math.Pow(0.999, float64(t+1))
		for i := range v {
			s := float64(sc[i%ng])
			sig := 1 / (1 + math.Exp(-v[i]))
			hv := sig*(1+2*adaGamma) - adaGamma
			d := 0.0
			if hv > 0 && hv < 1 {
				d = sig * (1 - sig) * (1 + 2*adaGamma)
			}
			gi := grad[i] * s / (s * s * unit) * d
			if lambda > 0 && hv > 0 && hv < 1 {
				u := 2*hv - 1
				gi -= lambda * 2 * beta * math.Copysign(math.Pow(math.Abs(u), beta-1), u) * d
			}
			m1[i] = 0.9*m1[i] + 0.1*gi
			m2[i] = 0.999*m2[i] + 0.001*gi*gi
			v[i] -= adaRate * (m1[i] / c1) / (math.Sqrt(m2[i]/c2) + 1e-8)
		}
	}
	for i := range v {
		up := 0.0
		if rectified(v[i]) >= 0.5 {
			up = 1
		}
		q[i/ng*l.N+g*ng+i%ng] = int8(min(max(floor[i]+up, -maxWeight), maxWeight))
	}
}

// rectified is AdaRound's stretched, clipped sigmoid.
func rectified(v float64) float64 {
	return min(max((1+2*adaGamma)/(1+math.Exp(-v))-adaGamma, 0), 1)
}
