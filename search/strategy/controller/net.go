// Package controller holds the recurrent policies of searches that learn by
// reinforcement (EAS, N2N): networks of gomlx, which train on its pure-Go
// backend. A policy draws actions from numbers that its caller gives, so that
// all randomness is the strategy's, and is updated by REINFORCE with Adam. It
// may not import the search.
package controller

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train/optimizer"
)

// backend is gomlx's pure-Go one: policies are small, and it gives the same
// bits everywhere.
var backend = sync.OnceValues(func() (compute.Backend, error) { return gobackend.New("") })

// graphFunc builds what an executable computes.
type graphFunc = func(n *net, in []*graph.Node) []*graph.Node

// policy is a network's variables and the executables that share them.
type policy struct {
	store *model.Store
	seed  uint64
	given map[string][][]float32 // weights to begin with, by path; others are drawn
	made  map[string]bool        // paths of the weights
}

func newPolicy(seed uint64) *policy {
	return &policy{store: model.NewStore(), seed: seed, made: map[string]bool{}}
}

// weights adds the present weights by path.
func (p *policy) weights(to map[string][][]float32) error {
	for path := range p.made {
		t, err := p.store.GetVariable(path).Value()
		if err != nil {
			return err
		}
		to[path] = t.Value().([][]float32)
	}
	return nil
}

// compile makes an executable; loss says that the first output is one, which
// each call lowers by a step of Adam.
func (p *policy) compile(f graphFunc, rate float64) (*model.Exec, error) {
	b, err := backend()
	if err != nil {
		return nil, err
	}
	return model.NewExec(b, p.store, func(scope *model.Scope, in []*graph.Node) []*graph.Node {
		out := f(&net{p, in[0].Graph(), ""}, in)
		if rate > 0 {
			optimizer.Adam().LearningRate(rate).Done().UpdateGraph(scope, in[0].Graph(), out[0])
		}
		return out
	})
}

// call runs an executable on slices and gives each output's numbers in a row.
func call(e *model.Exec, in ...any) ([][]float32, error) {
	out, err := e.Call(in...)
	if err != nil {
		return nil, err
	}
	var flat [][]float32
	for _, t := range out {
		v, err := tensors.CopyFlatData[float32](t)
		if err != nil {
			return nil, err
		}
		flat = append(flat, v)
		if err := t.FinalizeAll(); err != nil {
			return nil, err
		}
	}
	return flat, nil
}

// net builds layers in a graph; path is where their variables are.
type net struct {
	*policy
	g    *graph.Graph
	path string
}

func (n *net) in(name string) *net { return &net{n.policy, n.g, n.path + "/" + name} }

// weight is a variable, drawn once with the given deviation by seed and name.
func (n *net) weight(name string, std float64, rows, cols int) *graph.Node {
	path := n.path + "/" + name
	if v := n.store.GetVariable(path); v != nil {
		return v.NodeValue(n.g)
	}
	h := fnv.New64a()
	h.Write([]byte(path)) // a hash does not fail
	r := rand.New(rand.NewPCG(n.seed, h.Sum64()))
	n.made[path] = true
	if w, ok := n.given[path]; ok {
		if len(w) != rows || slices.ContainsFunc(w, func(r []float32) bool { return len(r) != cols }) {
			panic(fmt.Errorf("the policy's weights %s are not %d by %d", path, rows, cols)) // gomlx's compiler gives it as an error
		}
		return n.store.VariableWithValue(path, w).NodeValue(n.g)
	}
	w := make([][]float32, rows)
	for i := range w {
		w[i] = make([]float32, cols)
		for k := range w[i] {
			w[i][k] = float32(std * r.NormFloat64())
		}
	}
	return n.store.VariableWithValue(path, w).NodeValue(n.g)
}

// dense is a layer on the last axis of [rows, in].
func (n *net) dense(name string, x *graph.Node, out int) *graph.Node {
	d := n.in(name)
	in := x.Shape().Dim(-1)
	return graph.Add(graph.MatMul(x, d.weight("weight", math.Sqrt(1/float64(in)), in, out)), d.weight("bias", 0, 1, out))
}

// embed looks tokens up: [batch, length] of int32 to [batch, length, size].
func (n *net) embed(name string, tokens *graph.Node, vocabulary, size int) *graph.Node {
	b, t := tokens.Shape().Dim(0), tokens.Shape().Dim(1)
	one := graph.Reshape(graph.OneHot(tokens, vocabulary, dtypes.Float32), b*t, vocabulary)
	return graph.Reshape(graph.MatMul(one, n.in(name).weight("table", 0.1, vocabulary, size)), b, t, size)
}

// cell is one step of an LSTM whose input part was multiplied already.
func cell(x, h, c, wh *graph.Node, hidden int) (*graph.Node, *graph.Node) {
	z := graph.Add(x, graph.MatMul(h, wh))
	part := func(k int) *graph.Node { return graph.SliceAxis(z, -1, graph.AxisRange(k*hidden, (k+1)*hidden)) }
	c = graph.Add(graph.Mul(graph.Sigmoid(graph.AddScalar(part(1), 1)), c), graph.Mul(graph.Sigmoid(part(0)), graph.Tanh(part(2))))
	return graph.Mul(graph.Sigmoid(part(3)), graph.Tanh(c)), c
}

// lstm runs over x [batch, length, features]; where mask [batch, length] is 0,
// the state stays. It gives the states at all places and the last ones.
func (n *net) lstm(name string, x, mask *graph.Node, hidden int, reverse bool) (all []*graph.Node, h, c *graph.Node) {
	l := n.in(name)
	b, t, f := x.Shape().Dim(0), x.Shape().Dim(1), x.Shape().Dim(2)
	wh := l.weight("recurrent", math.Sqrt(1/float64(hidden)), hidden, 4*hidden)
	z := graph.Reshape(l.dense("input", graph.Reshape(x, b*t, f), 4*hidden), b, t, 4*hidden)
	h, c = graph.Zeros(n.g, shape(b, hidden)), graph.Zeros(n.g, shape(b, hidden))
	all = make([]*graph.Node, t)
	for i := range t {
		if reverse {
			i = t - 1 - i
		}
		hn, cn := cell(column(z, i), h, c, wh, hidden)
		m := graph.SliceAxis(mask, 1, graph.AxisRange(i, i+1))
		h = graph.Add(h, graph.Mul(m, graph.Sub(hn, h)))
		c = graph.Add(c, graph.Mul(m, graph.Sub(cn, c)))
		all[i] = h
	}
	return all, h, c
}

// column is x[:, i, :] of [batch, length, features].
func column(x *graph.Node, i int) *graph.Node {
	return graph.Squeeze(graph.SliceAxis(x, 1, graph.AxisRange(i, i+1)), 1)
}

// encode is a bi-LSTM: both directions' states at each place, [batch, length,
// 2·hidden], and the last ones of both.
func (n *net) encode(name string, x, mask *graph.Node, hidden int) (states, h, c *graph.Node) {
	l := n.in(name)
	f, hf, cf := l.lstm("forward", x, mask, hidden, false)
	r, hr, cr := l.lstm("backward", x, mask, hidden, true)
	both := make([]*graph.Node, len(f))
	for i := range f {
		both[i] = graph.InsertAxes(graph.Concatenate([]*graph.Node{f[i], r[i]}, -1), 1)
	}
	return graph.Concatenate(both, 1), graph.Concatenate([]*graph.Node{hf, hr}, -1), graph.Concatenate([]*graph.Node{cf, cr}, -1)
}

// masked makes what a mask forbids improbable beyond doubt.
func masked(logits, mask *graph.Node) *graph.Node {
	return graph.Add(logits, graph.MulScalar(graph.AddScalar(mask, -1), 1e9))
}

// draw picks by uniform numbers u [batch, 1] among the allowed columns of
// logits [batch, k]: the choice as one-hot rows.
func draw(logits, mask, u *graph.Node) *graph.Node {
	k := logits.Shape().Dim(-1)
	below := graph.MatMul(graph.Softmax(masked(logits, mask), -1), triangle(logits.Graph(), k))                            // running sums
	passed := graph.ConvertDType(graph.LessThan(below, graph.BroadcastToDims(u, below.Shape().Dim(0), k)), dtypes.Float32) // places before the choice
	at := graph.ConvertDType(graph.ReduceSum(passed, -1), dtypes.Int32)
	return graph.OneHot(at, k, dtypes.Float32)
}

// triangle has ones where the column is not before the row.
func triangle(g *graph.Graph, k int) *graph.Node {
	t := make([][]float32, k)
	for i := range t {
		t[i] = make([]float32, k)
		for j := i; j < k; j++ {
			t[i][j] = 1
		}
	}
	return graph.Const(g, t)
}

// logProb is the logarithm of a choice's probability, and the entropy, both
// [batch].
func logProb(logits, mask, chosen *graph.Node) (log, entropy *graph.Node) {
	l := graph.LogSoftmax(masked(logits, mask), -1)
	clipped := graph.Max(l, graph.Scalar(l.Graph(), dtypes.Float32, -1e4)) // 0·log 0
	return graph.ReduceSum(graph.Mul(clipped, chosen), -1), graph.Neg(graph.ReduceSum(graph.Mul(graph.Exp(l), clipped), -1))
}

// logBernoulli is the logarithm of the probabilities of independent yes and no
// where mask is 1, and the entropy, both summed over the last axis.
func logBernoulli(logits, mask, yes *graph.Node) (log, entropy *graph.Node) {
	// log σ(x) = −softplus(−x), log(1−σ(x)) = −softplus(x)
	on, off := graph.Neg(softplus(graph.Neg(logits))), graph.Neg(softplus(logits))
	l := graph.Add(graph.Mul(yes, on), graph.Mul(graph.OneMinus(yes), off))
	p := graph.Sigmoid(logits)
	h := graph.Neg(graph.Add(graph.Mul(p, on), graph.Mul(graph.OneMinus(p), off)))
	return graph.ReduceSum(graph.Mul(mask, l), -1), graph.ReduceSum(graph.Mul(mask, h), -1)
}

func softplus(x *graph.Node) *graph.Node {
	zero := graph.Scalar(x.Graph(), dtypes.Float32, 0)
	return graph.Add(graph.Max(x, zero), graph.Log1P(graph.Exp(graph.Neg(graph.Abs(x)))))
}
