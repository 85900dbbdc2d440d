package passes

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// sameBits compares two graphs on samples and says where they differ.
func sameBits(t *testing.T, what string, a, b *ir.Graph, s SampleList) bool {
	t.Helper()
	for i, in := range s {
		x, y := runOn(t, a, in), runOn(t, b, in)
		for k := range x {
			if !ir.SameData(x[k], y[k]) {
				n := 0
				for e := range x[k].Len() {
					if x[k].At(e) != y[k].At(e) {
						n++
					}
				}
				t.Errorf("%s: sample %d, output %d: %d of %d numbers differ", what, i, k, n, x[k].Len())
				return false
			}
		}
	}
	return true
}

// trained moves everything that training moves, by what many steps may do.
func trained(g *ir.Graph, seed uint64) *ir.Graph {
	g = g.Clone()
	r := rand.New(rand.NewPCG(seed, 6))
	uses := g.Uses()
	for _, v := range g.Constants() {
		if v.Type.DType != ir.F32 || len(v.Type.Shape) == 0 {
			continue
		}
		c := v.Const.Clone()
		scale, zero := false, false
		for _, u := range uses[v] {
			scale = scale || u.Node.Op.Name == "requantize_factor"
			zero = zero || u.Node.Op.Name == "fake_quantize" && u.Index == 2
		}
		for i, w := range c.F32() {
			switch e := r.NormFloat64(); {
			case scale:
				w *= float32(math.Exp(0.2 * e))
			case zero:
				w += float32(3 * e)
			default:
				w *= float32(1 + 0.1*e)
			}
			c.F32()[i] = w
		}
		v.Const = c
	}
	return g
}

// TestSimulate: the simulation gives the bits of the quantized graph, and
// however training moves its numbers, Execute makes an integer graph of it
// that gives the simulation's bits.
func TestSimulate(t *testing.T) {
	for _, c := range []struct {
		name string
		g    *ir.Graph
		same bool // Quantize has the same places in 8 bits
		ops  map[string]int
	}{
		{"mobile", mobileNet(t), true, map[string]int{
			"q_convolution": 6, "q_lookup": 2, "q_add": 1, "q_multiply": 1, "q_reduce_mean": 2, "max_pool": 1, "q_dot": 1,
			"uniform_quantize": 1, "uniform_dequantize": 0, "softmax": 1, "convolution": 0,
		}},
		{"dense", denseNet(t), false, map[string]int{"q_convolution": 5, "concatenate": 1, "q_add": 1, "average_pool": 1, "resize": 1, "convolution": 0}},
		{"segmenter", segmenter(t), true, map[string]int{"q_convolution": 2, "q_convolution_transpose": 2, "q_add": 1, "convolution_transpose": 0}},
		{"encoder", encoder(t), true, map[string]int{"q_dot": 6, "q_dot_general": 2, "dot": 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			calib, fresh := samplesFor(c.g, 24, 5), samplesFor(c.g, 6, 77)
			for _, bits := range []int{8, 4} {
				s, r, err := Simulate(c.g, SimulateOptions{QuantizeOptions: QuantizeOptions{Calib: calib}, WeightBits: bits})
				if err != nil {
					t.Fatal(err)
				}
				if share := r.Int8MACShare(); share < 0.999 {
					t.Errorf("%d bits: int8 share %v", bits, share)
				}
				if s.Outputs[0].Name != c.g.Outputs[0].Name || s.Inputs[0].Name != c.g.Inputs[0].Name {
					t.Errorf("names of inputs or outputs changed: %v -> %v", c.g.Outputs[0], s.Outputs[0])
				}
				if bits == 8 && c.same {
					q, _, err := Quantize(c.g, QuantizeOptions{Calib: calib})
					if err != nil {
						t.Fatal(err)
					}
					sameBits(t, "beside Quantize", s, q, fresh)
				}
				for seed := range uint64(3) {
					m := s
					if seed > 0 {
						m = trained(s, seed)
					}
					q, r, err := Execute(m)
					if err != nil {
						t.Fatalf("%d bits: %v\n%s", bits, err, m.Body())
					}
					if r.Int8MACShare() < 0.999 {
						t.Errorf("%d bits: executed share %v", bits, r.Int8MACShare())
					}
					for op, want := range c.ops {
						if got := q.OpCounts()[op]; got != want {
							t.Errorf("%d bits: %d %s, wanted %d", bits, got, op, want)
						}
					}
					if n := q.OpCounts(); n["fake_quantize"]+n["requantize_factor"] > 0 {
						t.Errorf("%d bits: %v", bits, n)
					}
					if !sameBits(t, "executed", m, q, fresh) {
						t.Fatalf("%d bits, moved %d", bits, seed)
					}
					if bits == 4 {
						narrow(t, q)
					}
				}
				if db := sqnr(t, c.g, s, fresh); db < map[int]float64{8: 22, 4: 5}[bits] {
					t.Errorf("%d bits: %.1f dB", bits, db)
				}
			}
		})
	}
}

// narrow wants weights of 4 bits but in the first and last layer.
func narrow(t *testing.T, q *ir.Graph) {
	t.Helper()
	wide, all := 0, 0
	for _, n := range q.Nodes {
		if !strings.HasPrefix(n.Op.Name, "q_conv") && n.Op.Name != "q_dot" {
			continue
		}
		all++
		if slices.ContainsFunc(n.Inputs[1].Const.S8(), func(w int8) bool { return w > 7 || w < -7 }) {
			wide++
		}
	}
	if wide > 2 || all < 4 {
		t.Errorf("%d of %d layers have weights of more than 4 bits", wide, all)
	}
}

// TestSimulateRandom does it on random float graphs.
func TestSimulateRandom(t *testing.T) {
	done, share := 0, 0.0
	for seed := range uint64(120) {
		g := graphgen.New(graphgen.Config{Seed: seed, Nodes: 10})
		if _, err := Canonicalize(context.Background(), g, Options{}); err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool { return n.Op.Class == ir.Quantized }) {
			continue
		}
		var calib SampleList
		for i := range uint64(6) {
			r := rand.New(rand.NewPCG(seed, i))
			var in []*ir.Tensor
			for _, v := range g.Inputs {
				in = append(in, graphgen.Tensor(r, v.Type))
			}
			calib = append(calib, in)
		}
		s, _, err := Simulate(g, SimulateOptions{QuantizeOptions: QuantizeOptions{Calib: calib[:4]}})
		if err != nil {
			if strings.Contains(err.Error(), "infinite") || strings.Contains(err.Error(), "finite") {
				continue
			}
			t.Fatalf("seed %d: %v\n%s", seed, err, g.Body())
		}
		for k := range uint64(2) {
			m := s
			if k > 0 {
				m = trained(s, seed)
			}
			q, r, err := Execute(m)
			if err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, m.Body())
			}
			if !sameBits(t, "random", m, q, calib) {
				t.Fatalf("seed %d\n%s\n%s", seed, m.Body(), q.Body())
			}
			if r.MACs > 0 {
				done, share = done+1, share+r.Int8MACShare()
			}
		}
	}
	t.Logf("%d graphs with contractions, %.0f %% of them int8", done, 100*share/float64(max(done, 1)))
	if done < 40 || share/float64(done) < 0.5 {
		t.Errorf("%d graphs, int8 share %v", done, share/float64(done))
	}
}
