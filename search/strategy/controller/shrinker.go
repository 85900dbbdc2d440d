package controller

import (
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// ShrinkerConfig is the size of a Shrinker's world.
type ShrinkerConfig struct {
	Features int // numbers that describe a layer
	Length   int // most layers
	Shares   int // what may stay of a layer
	Rollouts int // networks drawn at once
	Rate     float64
	ShareLR  float64 // of the second policy
	Entropy  float64 // weight of the first policy's: it must not settle on keeping all
	Seed     uint64
}

// shrinkerHidden is the size of N2N's recurrent layers (Ashok et al. 2018).
const shrinkerHidden = 30

// Shrinker is the two policies of N2N: one, two bi-LSTMs above each other, decides for
// each layer of a network whether it stays; the other, an LSTM that is told
// what it decided before, in turn how much of each layer. Their weights do not
// depend on the number of layers: what they learned on one network serves for
// another.
type Shrinker struct {
	ShrinkerConfig
	keep, share           *model.Exec
	learnKeep, learnShare *model.Exec
	keeps, narrows        *policy
}

// NewShrinker draws the policies.
func NewShrinker(c ShrinkerConfig) (*Shrinker, error) {
	s := &Shrinker{ShrinkerConfig: c, keeps: newPolicy(c.Seed), narrows: newPolicy(c.Seed)}
	for _, e := range []struct {
		exec **model.Exec
		p    *policy
		f    graphFunc
		rate float64
	}{{&s.keep, s.keeps, s.drawKeep, 0}, {&s.share, s.narrows, s.drawShares, 0}, {&s.learnKeep, s.keeps, s.keepLoss, c.Rate}, {&s.learnShare, s.narrows, s.shareLoss, c.ShareLR}} {
		var err error
		if *e.exec, err = e.p.compile(e.f, e.rate); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// keepLogits: features [batch, length, features], mask [batch, length] → the
// logits that layers stay.
func (s *Shrinker) keepLogits(n *net, x, mask *graph.Node) *graph.Node {
	b, t := mask.Shape().Dim(0), mask.Shape().Dim(1)
	for _, name := range []string{"below", "above"} {
		x, _, _ = n.in("keep").encode(name, x, mask, shrinkerHidden)
	}
	y := n.in("keep").dense("out", graph.Reshape(x, b*t, 2*shrinkerHidden), 1)
	return graph.AddScalar(graph.Reshape(y, b, t), keepBias)
}

// keepBias makes a policy that has learned nothing keep three layers of four.
const keepBias = 1.1

func (s *Shrinker) drawKeep(n *net, in []*graph.Node) []*graph.Node {
	p := graph.Sigmoid(s.keepLogits(n, in[0], in[1]))
	return []*graph.Node{graph.ConvertDType(graph.LessThan(in[2], p), dtypes.Float32)}
}

func (s *Shrinker) keepLoss(n *net, in []*graph.Node) []*graph.Node {
	log, entropy := logBernoulli(s.keepLogits(n, in[0], in[1]), in[4], in[2])
	gain := graph.Add(graph.Mul(log, in[3]), graph.MulScalar(entropy, s.Entropy))
	return []*graph.Node{graph.MulScalar(graph.ReduceAllSum(gain), -1/float64(s.Rollouts))}
}

// shares runs the decisions on shares, layer by layer. pick turns logits of
// layer i into one-hot rows.
func (s *Shrinker) shares(n *net, x, mask *graph.Node, pick func(i int, logits *graph.Node) *graph.Node) {
	b, t := mask.Shape().Dim(0), mask.Shape().Dim(1)
	d := n.in("share")
	wh := d.weight("recurrent", 0.18, shrinkerHidden, 4*shrinkerHidden)
	h, c := graph.Zeros(n.g, shape(b, shrinkerHidden)), graph.Zeros(n.g, shape(b, shrinkerHidden))
	last := graph.Zeros(n.g, shape(b, s.Shares))
	for i := range t {
		m := graph.SliceAxis(mask, 1, graph.AxisRange(i, i+1))
		z := d.dense("input", graph.Concatenate([]*graph.Node{column(x, i), last}, -1), 4*shrinkerHidden)
		hn, cn := cell(z, h, c, wh, shrinkerHidden)
		h, c = graph.Add(h, graph.Mul(m, graph.Sub(hn, h))), graph.Add(c, graph.Mul(m, graph.Sub(cn, c)))
		y := pick(i, d.dense("out", h, s.Shares))
		last = graph.Add(last, graph.Mul(m, graph.Sub(y, last)))
	}
}

func (s *Shrinker) drawShares(n *net, in []*graph.Node) []*graph.Node {
	var out []*graph.Node
	all := graph.Ones(n.g, shape(in[1].Shape().Dim(0), s.Shares))
	s.shares(n, in[0], in[1], func(i int, logits *graph.Node) *graph.Node {
		y := draw(logits, all, graph.SliceAxis(in[2], 1, graph.AxisRange(i, i+1)))
		out = append(out, y)
		return y
	})
	return []*graph.Node{graph.Concatenate(out, -1)}
}

func (s *Shrinker) shareLoss(n *net, in []*graph.Node) []*graph.Node {
	total := graph.Zeros(n.g, shape())
	all := graph.Ones(n.g, shape(in[1].Shape().Dim(0), s.Shares))
	s.shares(n, in[0], in[1], func(i int, logits *graph.Node) *graph.Node {
		chosen := column(in[2], i)
		log, _ := logProb(logits, all, chosen)
		m := graph.Squeeze(graph.SliceAxis(in[1], 1, graph.AxisRange(i, i+1)), 1)
		total = graph.Sub(total, graph.ReduceAllSum(graph.Mul(graph.Mul(m, log), in[3])))
		return chosen
	})
	return []*graph.Node{graph.MulScalar(total, 1/float64(s.Rollouts))}
}

// inputs repeats the layers for every rollout, to the policies' length.
func (s *Shrinker) inputs(layers [][]float64) (features [][][]float32, mask [][]float32) {
	for range s.Rollouts {
		f, m := make([][]float32, s.Length), make([]float32, s.Length)
		for i := range f {
			f[i] = make([]float32, s.Features)
			if i >= len(layers) {
				continue
			}
			m[i] = 1
			for k, v := range layers[i] {
				f[i][k] = float32(v)
			}
		}
		features, mask = append(features, f), append(mask, m)
	}
	return features, mask
}

func (s *Shrinker) uniform(layers int, u func() float64) [][]float32 {
	out := make([][]float32, s.Rollouts)
	for i := range out {
		out[i] = make([]float32, s.Length)
		for k := range layers {
			out[i][k] = float32(0.9999 * u())
		}
	}
	return out
}

// Keep decides for every rollout which of the layers stay, of those that may
// go.
func (s *Shrinker) Keep(layers [][]float64, may []bool, u func() float64) ([][]bool, error) {
	f, m := s.inputs(layers)
	out, err := call(s.keep, f, m, s.uniform(len(layers), u))
	if err != nil {
		return nil, err
	}
	keep := make([][]bool, s.Rollouts)
	for i := range keep {
		for k := range layers {
			keep[i] = append(keep[i], !may[k] || out[0][i*s.Length+k] > 0)
		}
	}
	return keep, nil
}

// Share decides for every rollout how much of the layers stays.
func (s *Shrinker) Share(layers [][]float64, u func() float64) ([][]int, error) {
	f, m := s.inputs(layers)
	out, err := call(s.share, f, m, s.uniform(len(layers), u))
	if err != nil {
		return nil, err
	}
	shares := make([][]int, s.Rollouts)
	for i := range shares {
		for k := range layers {
			at := (i*s.Length + k) * s.Shares
			shares[i] = append(shares[i], max(0, slices.Index(out[0][at:at+s.Shares], 1)))
		}
	}
	return shares, nil
}

// LearnKeep makes decisions with a high advantage more probable, by one step of
// Adam.
func (s *Shrinker) LearnKeep(layers [][]float64, may []bool, keep [][]bool, advantage []float64) error {
	f, m := s.inputs(layers)
	yes, decided, gain := make([][]float32, s.Rollouts), make([][]float32, s.Rollouts), make([]float32, s.Rollouts)
	for i := range yes {
		yes[i], decided[i] = make([]float32, s.Length), make([]float32, s.Length)
		for k := range layers {
			yes[i][k], decided[i][k] = flag(keep[i][k]), flag(may[k])
		}
		gain[i] = float32(advantage[i])
	}
	_, err := call(s.learnKeep, f, m, yes, gain, decided)
	return err
}

// LearnShare is LearnKeep for shares.
func (s *Shrinker) LearnShare(layers [][]float64, shares [][]int, advantage []float64) error {
	f, m := s.inputs(layers)
	chosen, gain := make([][][]float32, s.Rollouts), make([]float32, s.Rollouts)
	for i := range chosen {
		chosen[i] = make([][]float32, s.Length)
		for k := range chosen[i] {
			chosen[i][k] = make([]float32, s.Shares)
			if k < len(layers) {
				chosen[i][k][shares[i][k]] = 1
			}
		}
		gain[i] = float32(advantage[i])
	}
	_, err := call(s.learnShare, f, m, chosen, gain)
	return err
}
