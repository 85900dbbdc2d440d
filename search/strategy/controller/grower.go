package controller

import (
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

func shape(d ...int) shapes.Shape { return shapes.Make(dtypes.Float32, d...) }

// GrowerConfig is the size of a Grower's world.
type GrowerConfig struct {
	Vocabulary int // tokens of layers, 0 of which is no layer
	Length     int // most layers
	Blocks     int // blocks that can be deepened
	Depth      int // most layers of a block
	Kinds      int // what a new layer may be; 1: nothing to choose
	Nets       int // networks drawn at once
	Wide, Deep int // steps of each kind a network takes
	Rate       float64
	Entropy    float64
	Seed       uint64
}

// Sizes of EAS's policy (Cai et al. 2018).
const (
	growerEmbedding = 16
	growerHidden    = 50
)

// Grower is the policy of EAS: a bi-LSTM reads the layers of a network; one
// sigmoid, shared by all places, decides for each layer whether it becomes
// wider; an LSTM that begins with the last states decides in turn the block
// that becomes deeper, the layer behind which, and what comes there.
type Grower struct {
	GrowerConfig
	wide, deep, learn *model.Exec
}

// NewGrower draws a policy.
func NewGrower(c GrowerConfig) (*Grower, error) {
	g := &Grower{GrowerConfig: c}
	p := newPolicy(c.Seed)
	for _, e := range []struct {
		exec **model.Exec
		f    graphFunc
		rate float64
	}{{&g.wide, g.drawWide, 0}, {&g.deep, g.drawDeep, 0}, {&g.learn, g.loss, c.Rate}} {
		var err error
		if *e.exec, err = p.compile(e.f, e.rate); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// WideState is a network before a decision on widths: the tokens of its
// layers, and which may become wider.
type WideState struct {
	Tokens []int32
	May    []bool
}

// DeepState is a network before a decision on depth: the tokens of its layers,
// and how many each block has; 0 for those that cannot become deeper.
type DeepState struct {
	Tokens []int32
	Layers []int
}

// DeepChoice is a decision on depth.
type DeepChoice struct{ Block, After, Kind int }

// encodeNet reads tokens [batch, length].
func (g *Grower) encodeNet(n *net, tokens *graph.Node) (states, h, c *graph.Node) {
	mask := graph.ConvertDType(graph.GreaterThan(tokens, graph.Scalar(n.g, dtypes.Int32, 0)), dtypes.Float32)
	x := n.embed("tokens", tokens, g.Vocabulary, growerEmbedding)
	return n.encode("encoder", x, mask, growerHidden)
}

func (g *Grower) wideLogits(n *net, tokens *graph.Node) *graph.Node {
	states, _, _ := g.encodeNet(n, tokens)
	b, t := tokens.Shape().Dim(0), tokens.Shape().Dim(1)
	return graph.Reshape(n.dense("wider", graph.Reshape(states, b*t, 2*growerHidden), 1), b, t)
}

// drawWide: tokens, uniform numbers [batch, length] → yes or no.
func (g *Grower) drawWide(n *net, in []*graph.Node) []*graph.Node {
	p := graph.Sigmoid(g.wideLogits(n, in[0]))
	return []*graph.Node{graph.ConvertDType(graph.LessThan(in[1], p), dtypes.Float32)}
}

// deeper runs the decisions on depth. pick turns the logits of the k-th, and
// what is allowed, into one-hot rows. may is [batch, blocks, depth]: which layers
// there are.
func (g *Grower) deeper(n *net, tokens, may *graph.Node, pick func(k int, logits, mask *graph.Node) *graph.Node) {
	_, h, c := g.encodeNet(n, tokens)
	const hidden = 2 * growerHidden
	b := tokens.Shape().Dim(0)
	d := n.in("deeper")
	wh := d.weight("recurrent", 0.1, hidden, 4*hidden)
	x := graph.MatMul(graph.Ones(n.g, shape(b, 1)), d.weight("start", 0.1, 1, growerEmbedding))
	step := func(k int, out int, mask *graph.Node) *graph.Node {
		h, c = cell(d.dense("input", x, 4*hidden), h, c, wh, hidden)
		name := []string{"block", "layer", "kind"}[k]
		y := pick(k, d.dense(name, h, out), mask)
		x = graph.MatMul(y, d.in("embed_"+name).weight("table", 0.1, out, growerEmbedding))
		return y
	}
	block := step(0, g.Blocks, graph.ReduceMax(may, -1))
	step(1, g.Depth, graph.ReduceSum(graph.Mul(graph.InsertAxes(block, -1), may), 1))
	if g.Kinds > 1 {
		step(2, g.Kinds, graph.Ones(n.g, shape(b, g.Kinds)))
	}
}

// widths are the numbers of choices of a step of depth.
func (g *Grower) widths() []int {
	if g.Kinds > 1 {
		return []int{g.Blocks, g.Depth, g.Kinds}
	}
	return []int{g.Blocks, g.Depth}
}

// drawDeep: tokens, layers [batch, blocks, depth], uniform numbers [batch, 3]
// → the one-hot rows of all decisions, side by side: gomlx's Go backend fails
// where results are taken out of the middle of a graph.
func (g *Grower) drawDeep(n *net, in []*graph.Node) []*graph.Node {
	var out []*graph.Node
	g.deeper(n, in[0], in[1], func(k int, logits, mask *graph.Node) *graph.Node {
		y := draw(logits, mask, graph.SliceAxis(in[2], 1, graph.AxisRange(k, k+1)))
		out = append(out, y)
		return y
	})
	return []*graph.Node{graph.Concatenate(out, -1)}
}

// loss: tokens, mask, yes and advantage of decisions on widths; tokens,
// layers, one-hot rows of each decision and advantage of those on depth.
func (g *Grower) loss(n *net, in []*graph.Node) []*graph.Node {
	total := graph.Zeros(n.g, shape())
	add := func(log, entropy, advantage, counts *graph.Node) {
		total = graph.Sub(total, graph.ReduceAllSum(graph.Mul(advantage, log)))
		total = graph.Sub(total, graph.MulScalar(graph.ReduceAllSum(graph.Mul(counts, entropy)), g.Entropy))
	}
	log, entropy := logBernoulli(g.wideLogits(n, in[0]), in[1], in[2])
	add(log, entropy, in[3], in[4])
	tokens, may, chosen := in[5], in[6], in[7:len(in)-2]
	g.deeper(n, tokens, may, func(k int, logits, mask *graph.Node) *graph.Node {
		log, entropy := logProb(logits, mask, chosen[k])
		add(log, entropy, in[len(in)-2], in[len(in)-1])
		return chosen[k]
	})
	return []*graph.Node{graph.MulScalar(total, 1/float64(g.Nets))}
}

// pad brings tokens to the policy's length.
func (g *Grower) pad(tokens []int32) []int32 {
	return append(tokens[:len(tokens):len(tokens)], make([]int32, g.Length-len(tokens))...)
}

// Widen decides for each network which layers become wider; u gives a uniform
// number for each place.
func (g *Grower) Widen(states []WideState, u func() float64) ([][]bool, error) {
	tokens, uniform := make([][]int32, g.Nets), make([][]float32, g.Nets)
	for i := range tokens {
		uniform[i] = make([]float32, g.Length)
		tokens[i] = make([]int32, g.Length)
		if i >= len(states) {
			continue
		}
		tokens[i] = g.pad(states[i].Tokens)
		for k := range states[i].Tokens {
			uniform[i][k] = float32(u())
		}
	}
	out, err := call(g.wide, tokens, uniform)
	if err != nil {
		return nil, err
	}
	yes := make([][]bool, len(states))
	for i, s := range states {
		yes[i] = make([]bool, len(s.Tokens))
		for k := range yes[i] {
			yes[i][k] = s.May[k] && out[0][i*g.Length+k] > 0
		}
	}
	return yes, nil
}

// Deepen decides for each network where it becomes deeper. Each needs a block
// that can.
func (g *Grower) Deepen(states []DeepState, u func() float64) ([]DeepChoice, error) {
	tokens, uniform, may := make([][]int32, g.Nets), make([][]float32, g.Nets), make([][][]float32, g.Nets)
	for i := range tokens {
		uniform[i] = []float32{0.5, 0.5, 0.5}
		if i >= len(states) {
			tokens[i], may[i] = make([]int32, g.Length), g.layers(nil)
			continue
		}
		tokens[i], may[i] = g.pad(states[i].Tokens), g.layers(states[i].Layers)
		for k := range 3 {
			uniform[i][k] = float32(0.9999 * u()) // sums of probabilities may fall short of 1
		}
	}
	out, err := call(g.deep, tokens, may, uniform)
	if err != nil {
		return nil, err
	}
	choices := make([]DeepChoice, len(states))
	for i := range states {
		at, width := [3]int{}, len(out[0])/g.Nets
		row := out[0][i*width : (i+1)*width]
		for k, w := range g.widths() {
			at[k] = slices.Index(row[:w], 1)
			row = row[w:]
		}
		choices[i] = DeepChoice{at[0], at[1], at[2]}
	}
	return choices, nil
}

// layers marks those that there are; with nil, one, so that something is
// allowed.
func (g *Grower) layers(of []int) [][]float32 {
	m := make([][]float32, g.Blocks)
	for b := range m {
		m[b] = make([]float32, g.Depth)
		for k := range m[b] {
			if b < len(of) && k < of[b] || of == nil && b == 0 && k == 0 {
				m[b][k] = 1
			}
		}
	}
	return m
}

// WideStep is a decision that was taken, and the advantage of what came of it.
type WideStep struct {
	WideState
	Yes       []bool
	Advantage float64
}

// DeepStep is a decision that was taken, and the advantage of what came of it.
type DeepStep struct {
	DeepState
	DeepChoice
	Advantage float64
}

// Learn makes decisions with a high advantage more probable, by one step of
// Adam. There may be at most Nets·Wide and Nets·Deep of them.
func (g *Grower) Learn(wide []WideStep, deep []DeepStep) error {
	nw, nd := g.Nets*g.Wide, g.Nets*g.Deep
	tokens, mask, yes := make([][]int32, nw), make([][]float32, nw), make([][]float32, nw)
	gain, counts := make([]float32, nw), make([]float32, nw)
	for i := range nw {
		tokens[i], mask[i], yes[i] = make([]int32, g.Length), make([]float32, g.Length), make([]float32, g.Length)
		if i >= len(wide) {
			continue
		}
		s := wide[i]
		copy(tokens[i], s.Tokens)
		for k := range s.Tokens {
			mask[i][k], yes[i][k] = flag(s.May[k]), flag(s.Yes[k])
		}
		gain[i], counts[i] = float32(s.Advantage), 1
	}
	in := []any{tokens, mask, yes, gain, counts}
	tokens, gain, counts = make([][]int32, nd), make([]float32, nd), make([]float32, nd)
	layers := make([][][]float32, nd)
	chosen := make([][][]float32, len(g.widths()))
	for k := range chosen {
		chosen[k] = make([][]float32, nd)
	}
	for i := range nd {
		c := DeepChoice{}
		tokens[i], layers[i] = make([]int32, g.Length), g.layers(nil)
		if i < len(deep) {
			copy(tokens[i], deep[i].Tokens)
			layers[i], c = g.layers(deep[i].Layers), deep[i].DeepChoice
			gain[i], counts[i] = float32(deep[i].Advantage), 1
		}
		for k, w := range g.widths() {
			chosen[k][i] = make([]float32, w)
			chosen[k][i][[]int{c.Block, c.After, c.Kind}[k]] = 1
		}
	}
	in = append(in, tokens, layers)
	for _, c := range chosen {
		in = append(in, c)
	}
	_, err := call(g.learn, append(in, gain, counts)...)
	return err
}

func flag(b bool) float32 {
	if b {
		return 1
	}
	return 0
}
