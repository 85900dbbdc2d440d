package passes

import (
	"context"
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/mat"

	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
	"github.com/nasc-dev/nasc/quant"
)

// lessons are what the layers of a pruned network are fitted to: what they gave
// in the whole one. Layer after layer, in order, so that each sees the inputs
// that the ones before it now make, weights and bias are moved to where they
// give the least squared difference (He, Zhang and Sun 2017), held to where
// they are by a ridge that a fifth of the samples chooses.
type lessons struct {
	o     *PruneOptions
	whole *ir.Graph
	of    []*lesson
}

// lesson is one layer's.
type lesson struct {
	n    *ir.Node  // of the pruned network
	was  *ir.Value // its result before the activation, in the whole network
	kept []int     // channels of it that are left
	rows []float32 // that result at the rows looked at, of the kept channels
	at   []int     // rows of each sample
}

// lessons finds the layers that a plan changes, or that see what changed.
func (o *PruneOptions) lessons(whole, g *ir.Graph, an *coupling.Analysis, p coupling.Plan) *lessons {
	l := &lessons{o: o}
	if !o.Correct || len(p.Copies) == 0 {
		return l
	}
	l.whole = whole.Clone()
	named := map[string]*ir.Node{}
	for _, n := range l.whole.Nodes {
		named[n.Out().Name] = n
	}
	uses := g.Uses()
	touched := map[*ir.Value]bool{} // computed from what the plan changes
	for _, n := range g.Nodes {
		hit := false
		for _, v := range n.Inputs {
			if v == nil {
				continue
			}
			hit = hit || touched[v]
			for k := range v.Type.Shape {
				for _, u := range an.Of(v, k) {
					if c, ok := p.Copies[u]; ok && c == 0 && !v.IsConst() {
						hit = true
					}
				}
			}
		}
		for _, v := range n.Outputs {
			touched[v] = hit
		}
		if !hit || n.Op.Name != "convolution" && n.Op.Name != "dot" || len(n.Inputs[1].Type.Shape) > 4 {
			continue
		}
		if w, b := n.Inputs[1], n.In(2); !w.IsConst() || w.Type.DType != ir.F32 || len(uses[w]) > 1 || b != nil && (!b.IsConst() || len(uses[b]) > 1) {
			continue
		}
		old := named[n.Out().Name]
		if old == nil { // a block that is gone took its name
			continue
		}
		x := &lesson{n: n, was: old.Out()}
		s := n.Out().Type.Shape
		units := an.Of(n.Out(), len(s)-1)
		for c := range s[len(s)-1] {
			if units != nil {
				if k, ok := p.Copies[units[c]]; ok && k == 0 {
					continue
				}
			}
			x.kept = append(x.kept, c)
		}
		if old.Op.Attr("activation") != nil && old.Str("activation") != "" {
			attrs := old.Attrs.Clone()
			for _, a := range []string{"activation", "act_min", "act_max"} {
				delete(attrs, a)
			}
			bare, err := l.whole.Add(old.Op.Name, attrs, old.Inputs...)
			if err != nil {
				continue
			}
			x.was = bare
		}
		l.of = append(l.of, x)
	}
	return l
}

// run fits the layers and says how many it moved.
func (l *lessons) run(ctx context.Context, g *ir.Graph) (int, error) {
	if len(l.of) == 0 {
		return 0, nil
	}
	if err := l.learn(ctx); err != nil {
		return 0, err
	}
	moved := 0
	for i, x := range l.of {
		l.o.Progress("fit layers", i+1, len(l.of))
		ok, err := l.fit(ctx, g, x)
		if err != nil {
			return moved, err
		}
		if ok {
			moved++
		}
		x.rows = nil
	}
	return moved, nil
}

// rowsOf is how many rows of a layer are looked at in each sample.
func (l *lessons) rowsOf(n *ir.Node) int {
	w := n.Inputs[1].Type.Shape
	k := w[:len(w)-1].Elems()
	total := max(4096, 6*k)
	return max(1, total/len(l.o.Samples))
}

// learn runs the whole network once and keeps its results at some rows.
func (l *lessons) learn(ctx context.Context) error {
	var watch []*ir.Value
	for _, x := range l.of {
		watch = append(watch, x.was)
	}
	if err := l.whole.Sort(); err != nil {
		return err
	}
	return l.each(ctx, l.whole, watch, func(sample int, out []*ir.Tensor) error {
		for i, x := range l.of {
			p, err := x.patches(l, sample)
			if err != nil {
				return err
			}
			y, c := out[i].F32(), out[i].Shape[len(out[i].Shape)-1]
			for _, r := range p.at {
				for _, k := range x.kept {
					x.rows = append(x.rows, y[r*c+k])
				}
			}
			x.at = append(x.at, len(p.at))
		}
		return nil
	})
}

// patches says where a sample's rows of a layer are read.
func (x *lesson) patches(l *lessons, sample int) (*patches, error) {
	t := ir.Tensor{DType: ir.F32, Shape: x.n.Inputs[0].Type.Shape.With(1)}
	return patchesOf(x.n, &t, sample, l.rowsOf(x.n))
}

// each runs a graph over the samples and shows what the watched values are.
func (l *lessons) each(ctx context.Context, g *ir.Graph, watch []*ir.Value, see func(sample int, out []*ir.Tensor) error) error {
	s, err := ir.Specialize(watchGraph(g, watch), 1)
	if err != nil {
		return err
	}
	run, free, err := l.o.Run(s)
	if err != nil {
		return err
	}
	if free != nil {
		defer free()
	}
	for i, in := range l.o.Samples {
		if err := ctx.Err(); err != nil {
			return err
		}
		out, err := run(in)
		if err != nil {
			return err
		}
		if err := see(i, out); err != nil {
			return err
		}
	}
	return nil
}

// fit moves one layer's weights and bias.
func (l *lessons) fit(ctx context.Context, g *ir.Graph, x *lesson) (bool, error) {
	n := x.n
	w := n.Inputs[1].Const
	r := len(w.Shape)
	cout := w.Shape[r-1]
	k := w.Shape[:r-1].Elems()
	groups := 1
	if n.Op.Name == "convolution" {
		groups = n.Int("groups")
	}
	in := make([][]float32, groups)
	if err := l.each(ctx, g, []*ir.Value{n.Inputs[0]}, func(sample int, out []*ir.Tensor) error {
		p, err := x.patches(l, sample)
		if err != nil {
			return err
		}
		for i := range in {
			in[i] = append(in[i], p.rows(out[0].F32(), i, nil)...)
		}
		return nil
	}); err != nil {
		return false, err
	}
	if cout != len(x.kept) || cout%groups != 0 {
		return false, nil
	}
	var bias *ir.Tensor
	if b := n.In(2); b != nil {
		bias = b.Const
	}
	each := cout / groups
	total, fitted := len(x.rows)/cout, 0
	for _, rows := range x.at[:len(x.at)*4/5] {
		fitted += rows
	}
	if fitted == 0 || fitted == total {
		return false, nil
	}
	moved, shift := w.Clone(), make([]float64, cout)
	some := false
	for i := range groups {
		f := &fitting{k: k, n: each, rows: total, fitted: fitted, x: in[i], y: make([]float32, 0, total*each), w: make([]float32, 0, k*each)}
		for row := range k {
			f.w = append(f.w, w.F32()[row*cout+i*each:row*cout+(i+1)*each]...)
		}
		for row := range total {
			f.y = append(f.y, x.rows[row*cout+i*each:row*cout+(i+1)*each]...)
			if bias != nil {
				for c := range each {
					f.y[row*each+c] -= float32(bias.At(i*each + c))
				}
			}
		}
		dw, db := f.solve()
		if db == nil {
			continue
		}
		some = true
		for c, v := range db {
			shift[i*each+c] = v
		}
		if dw == nil {
			continue
		}
		for row := range k {
			for c := range each {
				moved.F32()[row*cout+i*each+c] += float32(dw.At(row, c))
			}
		}
	}
	if !some {
		return false, nil
	}
	uses := g.Uses()
	addBias(g, uses, n, shift)
	n.Inputs[1] = g.Const(n.Inputs[1].Name, moved)
	return true, nil
}

// fitting is y ≈ x·w + b of one group of a layer; the first rows are fitted, the
// others choose the ridge.
type fitting struct {
	k, n, rows, fitted int
	x, y, w            []float32
}

// ridges are the damping factors tried, as shares of the mean variance of the
// inputs; with the first only the bias moves.
var ridges = []float64{math.Inf(1), 1, 0.1, 0.01, 0.001}

// solve gives what to add to weights and bias: nil and nil where nothing
// helps, nil weights where the bias alone does.
func (f *fitting) solve() (dw *mat.Dense, db []float64) {
	// The residual of the weights as they are.
	res := make([]float32, len(f.y))
	copy(res, f.y)
	xm := blas32.General{Rows: f.rows, Cols: f.k, Stride: f.k, Data: f.x}
	blas32.Gemm(blas.NoTrans, blas.NoTrans, -1, xm, blas32.General{Rows: f.k, Cols: f.n, Stride: f.n, Data: f.w}, 1, blas32.General{Rows: f.rows, Cols: f.n, Stride: f.n, Data: res})
	if power(res) <= 1e-12*power(f.y) {
		return nil, nil
	}
	a, b := f.normal(res, 0, f.fitted), f.normal(res, f.fitted, f.rows)
	if a == nil || b == nil {
		return nil, nil
	}
	best, least := -1, b.error(nil, make([]float64, f.n))
	for i, r := range ridges {
		w, s := a.solve(r)
		if s == nil {
			continue
		}
		if e := b.error(w, s); e < least {
			best, least = i, e
		}
	}
	if best < 0 {
		return nil, nil
	}
	a.add(b)
	return a.solve(ridges[best])
}

func power(v []float32) float64 {
	s := 0.0
	for _, x := range v {
		s += float64(x) * float64(x)
	}
	return s
}

// normal is what least squares needs of rows: their products, about nothing.
type normal struct {
	rows   float64
	xx     *mat.SymDense // Σ x xᵀ
	xr     *mat.Dense    // Σ x rᵀ
	x, r   []float64     // Σ x, Σ r
	square float64       // Σ r²
}

func (f *fitting) normal(res []float32, from, to int) *normal {
	m := &normal{rows: float64(to - from), x: make([]float64, f.k), r: make([]float64, f.n)}
	x, r := f.x[from*f.k:to*f.k], res[from*f.n:to*f.n]
	for i, v := range x {
		m.x[i%f.k] += float64(v)
	}
	for i, v := range r {
		m.r[i%f.n] += float64(v)
	}
	m.square = power(r)
	if math.IsNaN(m.square) || math.IsInf(m.square, 0) {
		return nil
	}
	xx, xr := make([]float64, f.k*f.k), make([]float64, f.k*f.n)
	// In float32 by short runs of rows, summed in float64.
	part, cross := make([]float32, f.k*f.k), make([]float32, f.k*f.n)
	for at := 0; at < to-from; at += quant.GramRows {
		n := min(quant.GramRows, to-from-at)
		xm := blas32.General{Rows: n, Cols: f.k, Stride: f.k, Data: x[at*f.k:]}
		rm := blas32.General{Rows: n, Cols: f.n, Stride: f.n, Data: r[at*f.n:]}
		blas32.Gemm(blas.Trans, blas.NoTrans, 1, xm, xm, 0, blas32.General{Rows: f.k, Cols: f.k, Stride: f.k, Data: part})
		blas32.Gemm(blas.Trans, blas.NoTrans, 1, xm, rm, 0, blas32.General{Rows: f.k, Cols: f.n, Stride: f.n, Data: cross})
		for i, v := range part {
			xx[i] += float64(v)
		}
		for i, v := range cross {
			xr[i] += float64(v)
		}
	}
	m.xx, m.xr = mat.NewSymDense(f.k, xx), mat.NewDense(f.k, f.n, xr)
	return m
}

func (m *normal) add(o *normal) {
	m.rows += o.rows
	m.square += o.square
	m.xx.AddSym(m.xx, o.xx)
	m.xr.Add(m.xr, o.xr)
	for i, v := range o.x {
		m.x[i] += v
	}
	for i, v := range o.r {
		m.r[i] += v
	}
}

// solve gives the ridge regression of r on x, with a free constant.
func (m *normal) solve(ridge float64) (w *mat.Dense, b []float64) {
	k, n := len(m.x), len(m.r)
	b = make([]float64, n)
	for c := range b {
		b[c] = m.r[c] / m.rows
	}
	if math.IsInf(ridge, 1) {
		return nil, b
	}
	cov := mat.NewSymDense(k, nil)
	trace := 0.0
	for i := range k {
		for j := i; j < k; j++ {
			cov.SetSym(i, j, m.xx.At(i, j)-m.x[i]*m.x[j]/m.rows)
		}
		trace += cov.At(i, i)
	}
	if !(trace > 0) {
		return nil, b
	}
	for i := range k {
		cov.SetSym(i, i, cov.At(i, i)+ridge*trace/float64(k))
	}
	cross := mat.NewDense(k, n, nil)
	for i := range k {
		for c := range n {
			cross.Set(i, c, m.xr.At(i, c)-m.x[i]*m.r[c]/m.rows)
		}
	}
	var ch mat.Cholesky
	if !ch.Factorize(cov) {
		return nil, nil
	}
	w = mat.NewDense(k, n, nil)
	if err := ch.SolveTo(w, cross); err != nil {
		return nil, nil
	}
	for c := range b {
		for i := range k {
			b[c] -= m.x[i] / m.rows * w.At(i, c)
		}
	}
	return w, b
}

// error is Σ (r − x·w − b)².
func (m *normal) error(w *mat.Dense, b []float64) float64 {
	e := m.square
	for c, v := range b {
		e += m.rows*v*v - 2*v*m.r[c]
	}
	if w == nil {
		return e
	}
	var xw mat.Dense
	xw.Mul(m.xx, w)
	k, n := w.Dims()
	for i := range k {
		for c := range n {
			e += w.At(i, c) * (xw.At(i, c) - 2*m.xr.At(i, c) + 2*m.x[i]*b[c])
		}
	}
	return e
}
