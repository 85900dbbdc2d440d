package arch

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// net is the network being built: x is the value that the next stage takes.
type net struct {
	*ir.Builder
	info       *Info
	x, mask    *ir.Value
	vocabulary int
	seed       uint64
	weights    map[string]*ir.Tensor // nil: random ones
	made       map[string]bool       // the weights by name
	named      map[string]int        // how many nodes have a name
	total      int                   // of their values
	hollow     bool                  // weights are zeros of one memory
	broken     bool                  // later stages would only repeat the fault

	p    *params // of the stage being built
	path string  // prefix of its weights' names
}

// maxValues bounds all weights together, so that a wrong number is an error and
// not the end of the memory. The fuzzer lowers it.
var maxValues = 1 << 28

// weight gives the constant path.name: from the weights file, or drawn by init
// from a generator seeded by its name.
func (n *net) weight(name string, init func(r *rand.Rand) float64, shape ...int) *ir.Value {
	full := n.path + "." + name
	size := 1
	for _, d := range shape {
		if d < 1 || size > maxValues/d {
			size = maxValues + 1 // the product itself may not fit an int
			break
		}
		size *= d
	}
	if size > maxValues-n.total {
		return n.refuse(full, &diag.Error{Found: fmt.Sprintf("%s of shape %v", full, shape), Wanted: fmt.Sprintf("at most %d values in all weights", maxValues)})
	}
	if n.made[full] {
		return n.refuse(full, &diag.Error{Found: "a second weight " + full, Wanted: "one of each name", Fix: "give the stages different names"})
	}
	n.total += size
	if n.made == nil {
		n.made = map[string]bool{}
	}
	n.made[full] = true
	if n.weights != nil {
		t, ok := n.weights[full]
		switch {
		case !ok:
			n.p.fail("", &diag.Error{Found: "no " + full + " in the weights file", Wanted: fmt.Sprintf("f32%v", ir.Shape(shape))})
			t = ir.NewTensor(ir.F32, shape...)
		case t.DType != ir.F32 || !slices.Equal([]int(t.Shape), shape):
			n.p.fail("", &diag.Error{Found: fmt.Sprintf("%s is %v%v in the weights file", full, t.DType, t.Shape), Wanted: fmt.Sprintf("f32%v", ir.Shape(shape))})
			t = ir.NewTensor(ir.F32, shape...)
		default:
			if i := slices.IndexFunc(t.F32(), func(v float32) bool { return v-v != 0 }); i >= 0 {
				n.p.fail("", &diag.Error{Found: fmt.Sprintf("%s[%d] is %v in the weights file", full, i, t.F32()[i]), Wanted: "finite weights"})
			}
		}
		return n.Const(full, t)
	}
	if n.hollow {
		return n.Const(full, ir.From(zeros(size), shape...))
	}
	h := fnv.New64a()
	h.Write([]byte(full))
	r := rand.New(rand.NewPCG(n.seed, h.Sum64()))
	data := make([]float32, size)
	for i := range data {
		data[i] = float32(init(r))
	}
	return n.Const(full, ir.From(data, shape...))
}

// hollowWeights are the zeros of all traced networks; nobody writes them.
var hollowWeights struct {
	sync.Mutex
	data []float32
}

func zeros(n int) []float32 {
	hollowWeights.Lock()
	defer hollowWeights.Unlock()
	if n > len(hollowWeights.data) {
		hollowWeights.data = make([]float32, 2*n)
	}
	return hollowWeights.data[:n:n]
}

// refuse reports a weight that cannot be made and stops the building.
func (n *net) refuse(name string, e *diag.Error) *ir.Value {
	if !n.broken {
		n.p.fail("", e)
	}
	n.broken = true
	return n.Const(name, ir.NewTensor(ir.F32, 1))
}

// Op is the builder's, and names the node after its place: the operation that
// takes a stage's weights has the stage's name, others add their own.
func (n *net) Op(op string, attrs ir.Attrs, in ...*ir.Value) *ir.Value {
	v := n.Builder.Op(op, attrs, in...)
	if v.Def == nil {
		return v // an error
	}
	name := n.path
	if !strings.HasPrefix(op, "convolution") && op != "dot" && !strings.Contains(op, "norm") {
		name += "." + op
	}
	if n.named == nil {
		n.named = map[string]int{}
	}
	n.named[name]++
	if k := n.named[name]; k > 1 {
		name = fmt.Sprintf("%s%d", name, k)
	}
	v.Def.Name = name
	return v
}

func (n *net) unused() []string {
	var out []string
	for k := range n.weights {
		if !n.made[k] {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

func normal(std float64) func(*rand.Rand) float64 {
	return func(r *rand.Rand) float64 { return r.NormFloat64() * std }
}

// around draws near a mean, so that no scale or bias is trivially left out.
func around(mean, width float64) func(*rand.Rand) float64 {
	return func(r *rand.Rand) float64 { return mean + width*(2*r.Float64()-1) }
}

// in runs f with a longer prefix for weights; an empty name adds nothing.
func (n *net) in(name string, f func()) {
	old := n.path
	if name != "" {
		n.path += "." + name
	}
	f()
	n.path = old
}

// dim is an extent of a value's shape, from the end where i is negative.
func dim(v *ir.Value, i int) int {
	if i < 0 {
		i += len(v.Type.Shape)
	}
	if i < 0 || i >= len(v.Type.Shape) {
		return 1
	}
	return v.Type.Shape[i]
}

// wants reports a stage whose input is not what it takes.
func (n *net) wants(rank int, what string) bool {
	if len(n.x.Type.Shape) == rank && n.x.Type.DType == ir.F32 {
		return true
	}
	n.p.fail("block", &diag.Error{Found: fmt.Sprintf("block %q after %v", n.p.m["block"], n.x.Type), Wanted: what})
	n.broken = true
	return false
}

// conv is the description of one convolution.
type conv struct {
	out, kernel, stride, groups, dilation int
	padding                               string // same: kernel/2 on all sides; tf: as TensorFlow's SAME; valid
	norm                                  bool   // batch norm instead of a bias
	eps                                   float64
	act                                   string
}

// pad gives the padding before and after one axis.
func (c conv) pad(in int) (before, after int) {
	span := (c.kernel - 1) * c.dilation
	switch c.padding {
	case "valid":
		return 0, 0
	case "tf":
		total := max(0, ((in+c.stride-1)/c.stride-1)*c.stride+span+1-in)
		return total / 2, total - total/2
	}
	return span / 2, span / 2
}

func (n *net) conv(name string, x *ir.Value, c conv) *ir.Value {
	c.stride, c.groups, c.dilation = max(1, c.stride), max(1, c.groups), max(1, c.dilation)
	in := dim(x, -1)
	if in%c.groups != 0 || c.out%c.groups != 0 {
		n.p.fail("groups", &diag.Error{Found: fmt.Sprintf("%d to %d channels in %d groups", in, c.out, c.groups), Wanted: "multiples of the groups"})
		n.broken = true
		return x
	}
	t, b := c.pad(dim(x, 1))
	l, r := c.pad(dim(x, 2))
	gain := 1.0
	if c.act != "none" && c.act != "" {
		gain = 2
	}
	std := math.Sqrt(gain / float64(c.kernel*c.kernel*in/c.groups))
	var y *ir.Value
	n.in(name, func() {
		w := n.weight("weight", normal(std), c.kernel, c.kernel, in/c.groups, c.out)
		attrs := ir.Attrs{
			"strides": []int{c.stride, c.stride}, "padding": []int{t, l, b, r}, "dilation": []int{c.dilation, c.dilation}, "groups": c.groups,
		}
		if c.norm {
			y = n.batchNorm("bn", n.Op("convolution", attrs, x, w), c.eps)
			return
		}
		y = n.Op("convolution", attrs, x, w, n.weight("bias", around(0, 0.05), c.out))
	})
	return n.act(c.act, y)
}

func (n *net) batchNorm(name string, x *ir.Value, eps float64) *ir.Value {
	if eps == 0 {
		eps = 1e-5
	}
	c := dim(x, -1)
	var y *ir.Value
	n.in(name, func() {
		y = n.Op("batch_norm_inference", ir.Attrs{"epsilon": eps}, x,
			n.weight("scale", around(1, 0.1), c), n.weight("bias", around(0, 0.1), c), n.weight("mean", around(0, 0.1), c), n.weight("variance", around(1, 0.2), c))
	})
	return y
}

// acts are the activations by name.
var acts = []string{"none", "relu", "relu6", "hard_swish", "hard_sigmoid", "silu", "gelu", "gelu_tanh", "tanh", "logistic"}

func (n *net) act(name string, x *ir.Value) *ir.Value {
	switch name {
	case "", "none":
		return x
	case "relu6":
		return n.Op("clamp", ir.Attrs{"min": 0.0, "max": 6.0}, x)
	case "gelu_tanh":
		return n.Op("gelu", ir.Attrs{"approximate": "tanh"}, x)
	}
	return n.Op(name, nil, x)
}

func (n *net) dense(name string, x *ir.Value, out int, act string, bias bool) *ir.Value {
	in := dim(x, -1)
	var y *ir.Value
	n.in(name, func() {
		args := []*ir.Value{x, n.weight("weight", normal(math.Sqrt(1/float64(in))), in, out)}
		if bias {
			args = append(args, n.weight("bias", around(0, 0.02), out))
		}
		y = n.Op("dot", nil, args...)
	})
	return n.act(act, y)
}

func (n *net) layerNorm(name string, x *ir.Value, eps float64) *ir.Value {
	d := dim(x, -1)
	var y *ir.Value
	n.in(name, func() {
		y = n.Op("layer_norm", ir.Attrs{"epsilon": eps}, x, n.weight("scale", around(1, 0.1), d), n.weight("bias", around(0, 0.1), d))
	})
	return y
}
