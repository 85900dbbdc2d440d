package train

import (
	"math"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Hyper are the numbers of an optimizer.
type Hyper struct {
	Momentum     float64 // of sgd
	Beta1, Beta2 float64 // of adam, adamw, lamb
	Epsilon      float64
	WeightDecay  float64
	Nesterov     bool
}

// optimizer is one row: how many moments a parameter has and how one step
// changes it.
type optimizer struct {
	name    string
	moments int
	lr      float64 // used when none is given
	// step changes w by gradient g; m are the moments, t counts from 1, decay
	// is 0 for parameters without.
	step func(h *Hyper, t int, lr, decay float64, w, g []float32, m [][]float32)
}

var optimizers = []optimizer{
	{"sgd", 1, 0.1, sgd},
	{"adam", 2, 1e-3, func(h *Hyper, t int, lr, decay float64, w, g []float32, m [][]float32) {
		if decay != 0 { // L2, in the gradient
			for i := range g {
				g[i] += float32(decay) * w[i]
			}
		}
		adam(h, t, lr, 0, w, g, m)
	}},
	{"adamw", 2, 1e-3, adam},
	{"lamb", 2, 2e-3, lamb},
}

// Optimizers lists them.
func Optimizers() []string {
	var names []string
	for _, o := range optimizers {
		names = append(names, o.name)
	}
	return names
}

func findOptimizer(name string) (*optimizer, error) {
	i := slices.IndexFunc(optimizers, func(o optimizer) bool { return o.name == name })
	if i < 0 {
		return nil, &diag.Error{Place: "--optimizer", Found: name, Wanted: strings.Join(Optimizers(), ", ")}
	}
	return &optimizers[i], nil
}

// sgd with momentum as PyTorch's: v = µv + g; w −= lr·v, or lr·(g + µv) with
// Nesterov.
func sgd(h *Hyper, _ int, lr, decay float64, w, g []float32, m [][]float32) {
	v := m[0]
	mu, r, d := float32(h.Momentum), float32(lr), float32(decay)
	for i := range w {
		gi := g[i] + float32(d*w[i])
		v[i] = float32(mu*v[i]) + gi
		if h.Nesterov {
			gi += float32(mu * v[i])
		} else {
			gi = v[i]
		}
		w[i] -= float32(r * gi)
	}
}

// moments updates the running means of g and g² and gives their corrections.
func (h *Hyper) moments(t int, g []float32, m [][]float32) (c1, c2 float32) {
	b1, b2 := float32(h.Beta1), float32(h.Beta2)
	for i, d := range g {
		m[0][i] = float32(b1*m[0][i]) + float32((1-b1)*d)
		m[1][i] = float32(b2*m[1][i]) + float32((1-b2)*float32(d*d))
	}
	return float32(1 - math.Pow(h.Beta1, float64(t))), float32(1 - math.Pow(h.Beta2, float64(t)))
}

// adam (Kingma and Ba 2015) with decoupled decay (Loshchilov and Hutter 2019).
func adam(h *Hyper, t int, lr, decay float64, w, g []float32, m [][]float32) {
	c1, c2 := h.moments(t, g, m)
	r, d, eps := float32(lr), float32(decay), float32(h.Epsilon)
	for i := range w {
		u := m[0][i] / c1 / (float32(math.Sqrt(float64(m[1][i]/c2))) + eps)
		w[i] -= float32(r * (u + float32(d*w[i])))
	}
}

// lamb (You et al. 2020): Adam's step scaled to the norm of the weights.
func lamb(h *Hyper, t int, lr, decay float64, w, g []float32, m [][]float32) {
	c1, c2 := h.moments(t, g, m)
	d, eps := float32(decay), float32(h.Epsilon)
	var nw, nu float64
	for i := range w {
		u := m[0][i]/c1/(float32(math.Sqrt(float64(m[1][i]/c2)))+eps) + float32(d*w[i])
		g[i] = u
		nw += float64(w[i]) * float64(w[i])
		nu += float64(u) * float64(u)
	}
	ratio := 1.0
	if nw > 0 && nu > 0 {
		ratio = math.Sqrt(nw / nu)
	}
	r := float32(lr * ratio)
	for i := range w {
		w[i] -= float32(r * g[i])
	}
}

// clip scales gradients so that their joint norm is at most limit; it gives
// the norm.
func clip(grads [][]float32, limit float64) float64 {
	var sum float64
	for _, g := range grads {
		for _, v := range g {
			sum += float64(v) * float64(v)
		}
	}
	norm := math.Sqrt(sum)
	if limit > 0 && norm > limit {
		f := float32(limit / norm)
		for _, g := range grads {
			for i := range g {
				g[i] *= f
			}
		}
	}
	return norm
}
