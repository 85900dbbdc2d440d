package strategy

import (
	"context"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/nasc-dev/nasc/search"
)

// bayesGP proposes where a Gaussian process expects the most improvement. Its
// kernel is Matérn 5/2 over the choices in which two networks differ, each with
// a weight of its own, found by likelihood. A trial that is not told counts as
// what was predicted of it, so that several at once spread out.
type bayesGP struct {
	*pool
	enc     *encoder
	initial int
	n       int // proposals

	points   []gpPoint // in the order of asking
	told     int       // of the points
	process  gaussian
	believed []float64 // of the points: score predicted when asked
	refitAt  int       // points told when the weights are looked for next
}

type gpPoint struct {
	x     []int
	trial *search.Trial // nil before it is told
}

const (
	gpMost = 400 // points at most: then the best and the latest halves of gpKept stay
	gpKept = 300
	gpFit  = 150 // points that the weights are found on
)

func newGP(s search.Setup) (search.Strategy, error) {
	initial, err := number(s, "initial", 1, 1e6)
	if err != nil {
		return nil, err
	}
	b := &bayesGP{pool: newPool(s, "bayesian-gp"), enc: newEncoder(s.Space), initial: int(initial), refitAt: int(initial)}
	b.process = gaussian{enc: b.enc, weight: make([]float64, len(b.enc.options)), noise: 0.01}
	for i := range b.process.weight {
		b.process.weight[i] = 0.3
	}
	return b, nil
}

func (b *bayesGP) Ask(context.Context) (search.Proposal, error) {
	var draw func() search.Genotype
	b.n++
	modelled := b.n > b.initial && b.told > 1
	if modelled {
		known, y, best := b.learn()
		if b.told >= b.refitAt {
			b.refitAt = b.told + max(5, b.told/2)
			xs, sub := b.subset()
			b.process.fit(xs, sub, b.r.IntN)
			b.process.factor(b.xs())
		}
		b.process.solve(y)
		draw = inOrder(b.promising(&b.process, b.enc, known, best))
	}
	g, err := b.pick(draw)
	if err != nil {
		return search.Proposal{}, err
	}
	x := b.enc.encode(g)
	mean := 0.0
	if modelled {
		mean, _ = b.process.predict(x)
	}
	b.points, b.believed = append(b.points, gpPoint{x: x}), append(b.believed, mean)
	b.process.grow(x)
	return search.Proposal{Genotype: g}, nil
}

func (b *bayesGP) Tell(_ context.Context, t *search.Trial) error {
	b.points[b.told].trial = t
	b.told++
	if len(b.points) > gpMost {
		b.forget()
	}
	return nil
}

// learn gives the told trials, the scores of all points and the best one told.
func (b *bayesGP) learn() (known []*search.Trial, y []float64, best float64) {
	for _, p := range b.points[:b.told] {
		known = append(known, p.trial)
	}
	y = scores(known)
	best = floats.Max(y)
	return known, append(y, b.believed[b.told:]...), best
}

func (b *bayesGP) xs() [][]int {
	out := make([][]int, len(b.points))
	for i, p := range b.points {
		out[i] = p.x
	}
	return out
}

// byWorth lists told points, the best first.
func (b *bayesGP) byWorth() []int {
	order := make([]int, b.told)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return compareTrials(b.points[j].trial, b.points[i].trial) })
	return order
}

// subset is what the weights are found on: the best told points and others.
func (b *bayesGP) subset() (xs [][]int, y []float64) {
	order := b.byWorth()
	if rest := order[min(gpFit/2, len(order)):]; len(rest) > 0 {
		b.r.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	}
	order = order[:min(gpFit, len(order))]
	var trials []*search.Trial
	for _, i := range order {
		xs, trials = append(xs, b.points[i].x), append(trials, b.points[i].trial)
	}
	return xs, scores(trials)
}

// forget keeps the best and the latest points, and all that are not told.
func (b *bayesGP) forget() {
	keep := make([]bool, len(b.points))
	for _, i := range b.byWorth()[:min(gpKept/2, b.told)] {
		keep[i] = true
	}
	for i := max(0, b.told-gpKept/2); i < len(keep); i++ {
		keep[i] = true
	}
	var points []gpPoint
	var believed []float64
	told := 0
	for i, k := range keep {
		if k {
			points, believed = append(points, b.points[i]), append(believed, b.believed[i])
			if i < b.told {
				told++
			}
		}
	}
	b.refitAt -= b.told - told
	b.points, b.believed, b.told = points, believed, told
	b.process.factor(b.xs())
}

// gaussian is a Gaussian process with mean 0 over encoded networks.
type gaussian struct {
	enc    *encoder
	weight []float64 // of each choice in the squared distance
	noise  float64   // variance, where the signal's is 1
	scale  float64   // variance of the signal

	x     [][]int
	low   [][]float64 // rows of the Cholesky factor of the kernel matrix
	alpha []float64   // kernel matrix⁻¹ · scores
	k     []float64   // scratch
}

func (p *gaussian) kernel(a, b []int) float64 {
	d := 0.0
	for i := range a {
		if a[i] != b[i] {
			d += p.weight[i] * p.enc.distance(i, a[i], b[i])
		}
	}
	r := math.Sqrt(5 * d)
	return (1 + r + r*r/3) * math.Exp(-r)
}

// grow appends a point to the factor.
func (p *gaussian) grow(x []int) {
	n := len(p.x)
	row := make([]float64, n+1)
	for i, o := range p.x {
		row[i] = p.kernel(x, o)
	}
	p.forward(row[:n])
	row[n] = math.Sqrt(max(1+p.noise-floats.Dot(row[:n], row[:n]), 1e-10))
	p.x, p.low = append(p.x, x), append(p.low, row)
}

// forward solves low · v = k in place.
func (p *gaussian) forward(k []float64) {
	for i := range k {
		row := p.low[i]
		k[i] = (k[i] - floats.Dot(row[:i], k[:i])) / row[i]
	}
}

func (p *gaussian) factor(xs [][]int) {
	p.x, p.low = nil, nil
	for _, x := range xs {
		p.grow(x)
	}
}

// solve takes the scores of the points.
func (p *gaussian) solve(y []float64) {
	v := slices.Clone(y)
	p.forward(v)
	p.scale = max(floats.Dot(v, v)/float64(len(v)), 1e-6)
	for i := len(v) - 1; i >= 0; i-- {
		v[i] /= p.low[i][i]
		floats.AddScaled(v[:i], -v[i], p.low[i][:i])
	}
	p.alpha = v
}

func (p *gaussian) predict(x []int) (mean, std float64) {
	p.k = p.k[:0]
	for _, o := range p.x[:len(p.alpha)] {
		p.k = append(p.k, p.kernel(x, o))
	}
	mean = floats.Dot(p.k, p.alpha)
	p.forward(p.k)
	return mean, math.Sqrt(p.scale * max(1-floats.Dot(p.k, p.k), 1e-9))
}

// likelihood is the logarithm of that of the scores, up to a constant, with the
// best scale.
func (p *gaussian) likelihood(xs [][]int, y []float64) float64 {
	p.factor(xs)
	v := slices.Clone(y)
	p.forward(v)
	l := -float64(len(y)) / 2 * math.Log(max(floats.Dot(v, v)/float64(len(y)), 1e-9))
	for i, row := range p.low {
		l -= math.Log(row[i])
	}
	// A weak prior keeps weights of choices that the points tell little about.
	for _, w := range p.weight {
		d := math.Log(w / 0.3)
		l -= d * d / 16
	}
	return l
}

// fit climbs in the likelihood: all weights together, the noise, then the
// weights one by one, in as many tries as stay within a bound. What it leaves in
// the factor is of xs: factor the points again.
func (p *gaussian) fit(xs [][]int, y []float64, intN func(int) int) {
	const most = 80
	best, tries := p.likelihood(xs, y), 0
	try := func(set func(up bool)) {
		for _, up := range []bool{true, false} {
			for moved := true; moved && tries < most; {
				tries++
				weight, noise := slices.Clone(p.weight), p.noise
				set(up)
				l := p.likelihood(xs, y)
				if moved = l > best+1e-9; moved {
					best = l
				} else {
					p.weight, p.noise = weight, noise
				}
			}
		}
	}
	by := func(v *float64, up bool, f, lo, hi float64) {
		if !up {
			f = 1 / f
		}
		*v = min(max(*v*f, lo), hi)
	}
	try(func(up bool) {
		for i := range p.weight {
			by(&p.weight[i], up, 2, 1e-3, 1e2)
		}
	})
	try(func(up bool) { by(&p.noise, up, 3, 1e-4, 1) })
	if len(p.weight) == 0 {
		return
	}
	for i, from := 0, intN(len(p.weight)); i < 2*len(p.weight) && tries < most; i++ {
		at := (from + i) % len(p.weight)
		try(func(up bool) { by(&p.weight[at], up, 2.5, 1e-3, 1e2) })
	}
}
