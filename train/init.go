package train

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// Init draws the parameters anew, by what they are used for: weights with the
// variance that keeps activations at unit scale (He et al. 2015: 2/fan-in in
// front of a ReLU-like activation, else 1/fan-in), scales 1, biases 0,
// embeddings 0.02. Running statistics become mean 0, variance 1. A parameter's
// numbers depend on seed and its name only.
func (n *Network) Init(seed uint64) {
	uses := n.graph.Uses()
	byName := map[string]*ir.Value{}
	for _, v := range n.graph.Constants() {
		byName[v.Name] = v
	}
	for _, p := range slices.Concat(n.Params, n.aside) {
		h := fnv.New64a()
		h.Write([]byte(p.Name)) // a hash does not fail
		r := rand.New(rand.NewPCG(seed, h.Sum64()))
		value := 0.0
		std := 0.0
		switch u := uses[byName[p.Name]][0]; {
		case u.Node == nil:
		case u.Node.Op.Name == "convolution" && u.Index == 1:
			std = math.Sqrt(gain(u.Node, uses) / float64(p.Shape[:len(p.Shape)-1].Elems()))
		case u.Node.Op.Name == "convolution_transpose" && u.Index == 1:
			std = math.Sqrt(gain(u.Node, uses) / float64(p.Shape[:len(p.Shape)-2].Elems()*p.Shape[len(p.Shape)-2]/u.Node.Int("groups")))
		case u.Node.Op.Name == "dot" && u.Index == 1, u.Node.Op.Name == "dot_general":
			std = math.Sqrt(gain(u.Node, uses) / float64(p.Shape[len(p.Shape)-2]))
		case u.Node.Op.Class == ir.Norm && u.Index == 1, u.Node.Op.Name == "multiply":
			value = 1
		case u.Node.Op.Name == "prelu":
			value = 0.25
		case len(p.Shape) > 1:
			std = 0.02
		}
		for i := range p.Value {
			p.Value[i] = float32(value)
			if std > 0 {
				p.Value[i] = float32(std * r.NormFloat64())
			}
		}
	}
	for _, s := range n.norms {
		clear(s.mean)
		for i := range s.variance {
			s.variance[i] = 1
		}
	}
}

// gain is 2 where the node's result goes, perhaps through a norm, into an
// activation that halves the variance.
func gain(n *ir.Node, uses map[*ir.Value][]ir.Use) float64 {
	if a := n.Op.Attr("activation"); a != nil && n.Str("activation") != "" {
		return 2
	}
	for range 4 {
		u := uses[n.Outputs[0]]
		if len(u) == 0 || u[0].Node == nil {
			return 1
		}
		switch n = u[0].Node; n.Op.Name {
		case "relu", "clamp", "leaky_relu", "prelu", "elu", "selu", "hard_swish", "silu", "gelu", "mish", "softplus":
			return 2
		case "batch_norm_inference", "group_norm", "instance_norm", "add":
		default:
			return 1
		}
	}
	return 1
}
