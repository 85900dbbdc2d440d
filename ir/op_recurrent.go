package ir

import "fmt"

var directionAttr = AttrSpec{Name: "direction", Kind: Str, Default: "forward", Enum: []string{"forward", "reverse", "bidirectional"}}

var recurrentOps = []Op{
	{
		Name: "lstm", Class: Contraction, Grad: NoGrad, Outs: 3,
		Doc: "ONNX LSTM: x [T,N,C], w [D,4H,C], r [D,4H,H], gates i o f c; bias [D,8H], seq_lens i32 [N], h0, c0 [D,N,H], peephole [D,3H]; gives y [T,D,N,H], h and c [D,N,H]",
		In: []Operand{
			{Name: "x"},
			{Name: "w"},
			{Name: "r"},
			{Name: "bias", Optional: true},
			{Name: "seq_lens", Optional: true},
			{Name: "h0", Optional: true},
			{Name: "c0", Optional: true},
			{Name: "peephole", Optional: true},
		},
		Attrs: []AttrSpec{{Name: "hidden_size", Kind: Int}, directionAttr},
		Infer: func(n *Node) ([]Type, error) { return inferRecurrent(n, 4) }, MACs: recurrentMACs, Eval: evalLSTM,
	},
	{
		Name: "gru", Class: Contraction, Grad: NoGrad, Outs: 2,
		Doc: "ONNX GRU: x [T,N,C], w [D,3H,C], r [D,3H,H], gates z r h; bias [D,6H], seq_lens i32 [N], h0 [D,N,H]; gives y [T,D,N,H], h [D,N,H]",
		In: []Operand{
			{Name: "x"},
			{Name: "w"},
			{Name: "r"},
			{Name: "bias", Optional: true},
			{Name: "seq_lens", Optional: true},
			{Name: "h0", Optional: true},
		},
		Attrs: []AttrSpec{{Name: "hidden_size", Kind: Int}, directionAttr, {Name: "linear_before_reset", Kind: BoolA, Default: false}},
		Infer: func(n *Node) ([]Type, error) { return inferRecurrent(n, 3) }, MACs: recurrentMACs, Eval: evalGRU,
	},
	{
		Name: "attention", Class: Contraction, Grad: Differentiable, Outs: 1,
		Doc:   "softmax(q·kᵀ·scale + mask)·v with q [...,T,D], k [...,S,D], v [...,S,V], mask broadcasting to [...,T,S] (Vaswani et al. 2017)",
		In:    []Operand{{Name: "q"}, {Name: "k"}, {Name: "v"}, {Name: "mask", Optional: true}},
		Attrs: []AttrSpec{{Name: "scale", Kind: Float, Default: 1.0}},
		Infer: inferAttention, MACs: attentionMACs, Eval: evalAttention,
	},
}

func inferRecurrent(n *Node, gates int) ([]Type, error) {
	x := n.Inputs[0].Type
	if x.DType != F32 && x.DType != F64 || len(x.Shape) != 3 {
		return nil, fmt.Errorf("x is %v; wanted f32 [T,N,C]", x)
	}
	t, b, c := x.Shape[0], x.Shape[1], x.Shape[2]
	h, d := n.Int("hidden_size"), 1
	if n.Str("direction") == "bidirectional" {
		d = 2
	}
	if h < 1 {
		return nil, fmt.Errorf("hidden_size is %d; wanted 1 or more", h)
	}
	want := map[string]Shape{
		"w": {d, gates * h, c}, "r": {d, gates * h, h}, "bias": {d, 2 * gates * h}, "seq_lens": {b},
		"h0": {d, b, h}, "c0": {d, b, h}, "peephole": {d, 3 * h},
	}
	for i := 1; i < len(n.Inputs); i++ {
		v := n.Inputs[i]
		if v == nil {
			continue
		}
		name, dt := n.Op.In[i].Name, x.DType
		if name == "seq_lens" {
			dt = I32
		}
		if v.Type.DType != dt || !v.Type.Shape.Equal(want[name]) {
			return nil, fmt.Errorf("%s is %v; wanted %v%v", name, v.Type, dt, want[name])
		}
	}
	last := Type{DType: x.DType, Shape: Shape{d, b, h}}
	out := []Type{{DType: x.DType, Shape: Shape{t, d, b, h}}, last}
	if gates == 4 {
		out = append(out, last)
	}
	return out, nil
}

func recurrentMACs(n *Node) int64 {
	x := n.Inputs[0].Type.Shape
	return int64(x[:2].Elems()) * int64(n.Inputs[1].Type.Shape.Elems()+n.Inputs[2].Type.Shape.Elems())
}

func inferAttention(n *Node) ([]Type, error) {
	d, err := wantFloat(n)
	if err != nil {
		return nil, err
	}
	q, k, v := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape, n.Inputs[2].Type.Shape
	r := len(q)
	if r < 2 || len(k) != r || len(v) != r || q[r-1] != k[r-1] || k[r-2] != v[r-2] || !q[:r-2].Equal(k[:r-2]) || !q[:r-2].Equal(v[:r-2]) {
		return nil, fmt.Errorf("q %v, k %v, v %v; wanted [...,T,D], [...,S,D], [...,S,V]", q, k, v)
	}
	if m := n.In(3); m != nil {
		s := q.Clone()
		s[r-1] = k[r-2]
		b, err := Broadcast(m.Type.Shape, s)
		if err != nil || !b.Equal(s) {
			return nil, fmt.Errorf("mask %v does not broadcast to %v", m.Type, s)
		}
	}
	s := q.Clone()
	s[r-1] = v[r-1]
	return []Type{{DType: d, Shape: s}}, nil
}

func attentionMACs(n *Node) int64 {
	q, v := n.Inputs[0].Type.Shape, n.Inputs[2].Type.Shape
	r := len(q)
	return int64(q.Elems()/max(1, q[r-1])) * int64(v[r-2]) * int64(q[r-1]+v[r-1])
}
