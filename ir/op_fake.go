package ir

import "fmt"

// Ops of quantization-aware training. They compute on levels: what a quantized
// tensor stores less its zero point, as float32 numbers that are whole. Sums of
// products of levels are whole too and exact below 2^24, so that a float graph
// of these ops carries out the integer arithmetic of quant/README.md to the
// last bit, while scales and weights are tensors that a gradient reaches.
var fakeOps = []Op{
	{
		Name: "fake_quantize", Class: Other, Outs: 1, Grad: Differentiable,
		In:    []Operand{{Name: "x"}, {Name: "factor"}, {Name: "zero", Optional: true}},
		Doc:   "round_half_even(clamp(x·factor, qmin−z, qmax−z)), z = round_half_even(clamp(zero, qmin, qmax)), 0 without; NaN gives 0, and 0 is positive; factor is one number or one a channel, the last axis. The gradient is the clamp's: straight through the rounding",
		Attrs: fakeAttrs, Infer: inferFakeQuantize, MACs: noMACs, Eval: evalFakeQuantize,
	},
	{
		Name: "fake_quantize_grad", Class: Other, Outs: 3, Grad: NoGrad,
		In:    []Operand{{Name: "x"}, {Name: "factor"}, {Name: "zero", Optional: true}, {Name: "dy"}},
		Doc:   "the gradients of fake_quantize for x (no −0), factor and zero (f32[1]); the sums of FakeRows rows are a chain of FMAs or subtractions a channel, which are added in float64, by channel and then over channels",
		Attrs: fakeAttrs, Infer: inferFakeQuantizeGrad, MACs: noMACs, Eval: evalFakeQuantizeGrad,
	},
	{
		Name: "requantize_factor", Class: Other, Outs: 1, Grad: Differentiable,
		In:  []Operand{{Name: "a", Optional: true}, {Name: "b", Optional: true}, {Name: "out", Optional: true}},
		Doc: "the float32 factor that brings sums of levels of scales a and b to levels of scale out; absent ones are 1; of one number or one a channel",
		Attrs: []AttrSpec{
			{Name: "kind", Kind: Str, Enum: []string{"channel", "product", "mean", "add", "share"}, Doc: "channel: (a·b)/out, each step in float32, as of q_convolution and uniform_quantize; product: a·b/out of q_multiply; mean: a/count/out; add: max(a,b)·2^−14/out of q_add; share: round(a/max(a,b)·2^14), its A"},
			{Name: "count", Kind: Int, Default: 1, Doc: "of a mean"},
		},
		Infer: inferRequantizeFactor, MACs: noMACs, Eval: evalRequantizeFactor,
	},
}

var fakeAttrs = []AttrSpec{
	{Name: "qmin", Kind: Int, Doc: "least level stored"},
	{Name: "qmax", Kind: Int, Doc: "greatest level stored"},
	{Name: "floor", Kind: BoolA, Default: false, Doc: "no result below 0, as behind a ReLU"},
}

// FakeRows is how many rows fake_quantize_grad sums at a time.
const FakeRows = 256

// FakeLevels bounds qmin and qmax: within it rounding to float32 is exact.
const FakeLevels = 1 << 22

func inferFakeQuantize(n *Node) ([]Type, error) {
	t, err := fakeOperands(n)
	return []Type{t}, err
}

// fakeOperands checks x, factor, zero and the levels.
func fakeOperands(n *Node) (Type, error) {
	if _, err := wantFloat(n); err != nil {
		return Type{}, err
	}
	x, f := n.Inputs[0].Type, n.Inputs[1].Type.Shape
	if len(x.Shape) == 0 {
		return x, fmt.Errorf("x is %v; wanted one axis or more", x)
	}
	if c := x.Shape[len(x.Shape)-1]; len(f) > 1 || len(f) == 1 && f[0] != 1 && f[0] != c {
		return x, fmt.Errorf("factor is %v; wanted one number or %d", n.Inputs[1].Type, c)
	}
	if z := n.In(2); z != nil && (len(z.Type.Shape) > 1 || z.Type.Shape.Elems() != 1) {
		return x, fmt.Errorf("zero is %v; wanted one number", z.Type)
	}
	if lo, hi := n.Int("qmin"), n.Int("qmax"); lo >= hi || lo < -FakeLevels || hi > FakeLevels {
		return x, fmt.Errorf("levels are %d to %d; wanted an interval within ±2^22", lo, hi)
	}
	return x, nil
}

func inferFakeQuantizeGrad(n *Node) ([]Type, error) {
	x, err := fakeOperands(n)
	if err != nil {
		return nil, err
	}
	if dy := n.Inputs[3].Type; !dy.Shape.Equal(x.Shape) {
		return nil, fmt.Errorf("dy is %v; wanted %v", dy, x)
	}
	return []Type{x, n.Inputs[1].Type, {DType: x.DType, Shape: Shape{1}}}, nil
}

func inferRequantizeFactor(n *Node) ([]Type, error) {
	d, size := F32, 1
	given := false
	for i := range n.Inputs {
		v := n.In(i)
		if v == nil {
			continue
		}
		s := v.Type.Shape
		if given && v.Type.DType != d || v.Type.DType != F32 && v.Type.DType != F64 || len(s) != 1 || s[0] != 1 && size != 1 && s[0] != size {
			return nil, fmt.Errorf("operand %s is %v; wanted f32[1] or one for each channel", n.Op.In[i].Name, v.Type)
		}
		d, given, size = v.Type.DType, true, max(size, s[0])
	}
	two := n.In(0) != nil && n.In(1) != nil
	switch k := n.Str("kind"); {
	case !given:
		return nil, fmt.Errorf("no operand; wanted one at least")
	case (k == "add" || k == "share") && (!two || size != 1):
		return nil, fmt.Errorf("kind %s wants a and b of one number", k)
	case k == "mean" && (n.In(0) == nil || n.In(1) != nil):
		return nil, fmt.Errorf("kind mean wants a and no b")
	case k == "share" && n.In(2) != nil:
		return nil, fmt.Errorf("kind share takes no out")
	case n.Int("count") < 1 || n.Int("count") != 1 && k != "mean":
		return nil, fmt.Errorf("count is %d; wanted 1 or more, and 1 but for a mean", n.Int("count"))
	}
	return []Type{{DType: d, Shape: Shape{size}}}, nil
}
