package ir

import (
	"fmt"
	"slices"
)

var movementOps = []Op{
	move("concatenate", "joins along an axis; all parts have one element type and quantization", inferConcatenate, evalConcatenate,
		AttrSpec{Name: "axis", Kind: Int}).variadic(),
	move("slice", "elements start, start+stride, … below limit, on each axis; a negative stride walks down to limit, which is included", inferSlice, evalSlice,
		AttrSpec{Name: "start", Kind: Ints}, AttrSpec{Name: "limit", Kind: Dims}, AttrSpec{Name: "stride", Kind: Ints, Default: []int{}}),
	move("pad", "adds low and high elements on each axis; quantized tensors get their zero point", inferPad, evalPad,
		AttrSpec{Name: "low", Kind: Ints}, AttrSpec{Name: "high", Kind: Ints}, AttrSpec{Name: "value", Kind: Float, Default: 0.0},
		AttrSpec{Name: "mode", Kind: Str, Default: "constant", Enum: []string{"constant", "edge", "reflect"}}),
	move("reshape", "same elements in row-major order, another shape", inferReshape, evalReshape,
		AttrSpec{Name: "shape", Kind: Dims}),
	move("transpose", "result axis i is operand axis permutation[i]", inferTranspose, evalTranspose,
		AttrSpec{Name: "permutation", Kind: Ints}),
	move("broadcast", "repeats extents of 1 to the given shape (numpy's rule); ONNX Expand", inferBroadcast, evalBroadcast,
		AttrSpec{Name: "shape", Kind: Dims}),
	{
		Name: "gather", Doc: "x at indices along an axis: shape x[:axis] + indices + x[axis+1:]; negative indices count from the end; ONNX Gather, embeddings", Class: Movement, Outs: 1, Grad: Differentiable,
		In: []Operand{{Name: "x"}, {Name: "indices"}}, Attrs: []AttrSpec{{Name: "axis", Kind: Int, Default: 0}},
		Infer: inferGather, MACs: noMACs, Eval: evalGather,
	},
	{
		Name: "split", Doc: "cuts along an axis into parts of the given sizes", Class: Movement, In: oneIn, Grad: Differentiable,
		Attrs: []AttrSpec{{Name: "axis", Kind: Int}, {Name: "sizes", Kind: Ints}},
		Infer: inferSplit, MACs: noMACs, Eval: evalSplit,
	},
	move("resize", "spatial axes brought to size; ONNX Resize. 8-bit operands take mode nearest", inferResize, evalResize, resizeAttrs...),
	{
		Name: "iota", Doc: "0, 1, 2, … along an axis (StableHLO)", Class: Movement, Outs: 1, Grad: NoGrad,
		Attrs: []AttrSpec{{Name: "shape", Kind: Dims}, {Name: "axis", Kind: Int}, {Name: "dtype", Kind: Str, Default: "i64"}},
		Infer: inferIota, MACs: noMACs, Eval: evalIota,
	},
}

var resizeAttrs = []AttrSpec{
	{Name: "size", Kind: Ints, Doc: "extent of each spatial axis"},
	{Name: "mode", Kind: Str, Default: "nearest", Enum: []string{"nearest", "linear", "cubic"}},
	{Name: "coordinates", Kind: Str, Default: "half_pixel", Enum: []string{"half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"}},
	{Name: "nearest_mode", Kind: Str, Default: "round_prefer_floor", Enum: []string{"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}},
	{Name: "cubic_a", Kind: Float, Default: -0.75},
	{Name: "scales", Kind: Floats, Default: []float64{}, Doc: "the factors asked for, where they differ from size/in: they decide the sampling positions"},
}

func move(name, doc string, infer func(*Node) ([]Type, error), eval func(*Node, []*Tensor) ([]*Tensor, error), attrs ...AttrSpec) Op {
	return Op{Name: name, Doc: doc, Class: Movement, In: oneIn, Attrs: attrs, Outs: 1, Grad: Differentiable, Infer: infer, MACs: noMACs, Eval: eval}
}

func (o Op) variadic() Op {
	o.In = []Operand{{Name: "x", Variadic: true}}
	return o
}

// moved gives t in another shape; per-channel quantization must keep its axis.
func moved(n *Node, s Shape, axisMap func(int) int) ([]Type, error) {
	t := n.Inputs[0].Type
	q := t.Quant
	if q != nil && q.Axis >= 0 {
		a := axisMap(q.Axis)
		if a < 0 || a >= len(s) || s[a] != len(q.Scale) {
			return nil, fmt.Errorf("%v would break its per-channel quantization", n.Op.Name)
		}
		q = &Quant{Axis: a, Scale: q.Scale, Zero: q.Zero}
	}
	return []Type{{DType: t.DType, Shape: s, Quant: q}}, nil
}

func sameAxis(a int) int { return a }

func inferConcatenate(n *Node) ([]Type, error) {
	first := n.Inputs[0].Type
	axis, err := NormAxis(n.Int("axis"), len(first.Shape))
	if err != nil {
		return nil, err
	}
	s := first.Shape.Clone()
	for i, v := range n.Inputs[1:] {
		t := v.Type
		if t.DType != first.DType || !t.Quant.Equal(first.Quant) || len(t.Shape) != len(s) {
			return nil, fmt.Errorf("part %d is %v, part 0 is %v", i+1, t, first)
		}
		for a, d := range t.Shape {
			switch {
			case a != axis && d != s[a]:
				return nil, fmt.Errorf("part %d is %v, part 0 is %v: they differ on axis %d", i+1, t, first, a)
			case a == axis && (d < 0) != (s[a] < 0):
				return nil, fmt.Errorf("part %d is %v, part 0 is %v: only one depends on the batch", i+1, t, first)
			case a == axis:
				s[a] += d
			}
		}
	}
	if first.Quant != nil && first.Quant.Axis == axis {
		return nil, fmt.Errorf("concatenates along the quantized axis")
	}
	return moved(n, s, sameAxis)
}

// SliceAxis gives start, limit, stride and the extent of one axis of a slice.
func SliceAxis(n *Node, axis int) (start, limit, stride, extent int, err error) {
	d := n.Inputs[0].Type.Shape[axis]
	start, limit, stride = n.Ints("start")[axis], n.Dims("limit")[axis], 1
	if s := n.Ints("stride"); len(s) > 0 {
		stride = s[axis]
	}
	if d < 0 {
		if start != 0 || limit != d || stride != 1 {
			return 0, 0, 0, 0, fmt.Errorf("axis %d is the batch and can only be kept whole", axis)
		}
		return 0, d, 1, d, nil
	}
	switch {
	case stride > 0 && 0 <= start && start <= limit && limit <= d:
		extent = (limit - start + stride - 1) / stride
	case stride < 0 && 0 <= limit && limit <= start+1 && start < d: // start, start+stride, … down to limit or above
		extent = (start - limit - stride) / -stride
	default:
		err = fmt.Errorf("axis %d of extent %d: start %d, limit %d, stride %d", axis, d, start, limit, stride)
	}
	return start, limit, stride, extent, err
}

func inferSlice(n *Node) ([]Type, error) {
	x := n.Inputs[0].Type.Shape
	if len(n.Ints("start")) != len(x) || len(n.Dims("limit")) != len(x) || len(n.Ints("stride")) != 0 && len(n.Ints("stride")) != len(x) {
		return nil, fmt.Errorf("start, limit and stride need %d entries for %v", len(x), x)
	}
	s := make(Shape, len(x))
	for i := range x {
		_, _, _, e, err := SliceAxis(n, i)
		if err != nil {
			return nil, err
		}
		s[i] = e
	}
	return moved(n, s, sameAxis)
}

func inferPad(n *Node) ([]Type, error) {
	x := n.Inputs[0].Type
	lo, hi := n.Ints("low"), n.Ints("high")
	if len(lo) != len(x.Shape) || len(hi) != len(x.Shape) {
		return nil, fmt.Errorf("low %v and high %v need %d entries", lo, hi, len(x.Shape))
	}
	s := x.Shape.Clone()
	for i, d := range s {
		if lo[i] == 0 && hi[i] == 0 {
			continue
		}
		if d < 0 {
			return nil, fmt.Errorf("axis %d is the batch and cannot be padded", i)
		}
		if s[i] = d + lo[i] + hi[i]; s[i] < 0 {
			return nil, fmt.Errorf("axis %d of extent %d with low %d, high %d", i, d, lo[i], hi[i])
		}
		if n.Str("mode") == "reflect" && (lo[i] >= d || hi[i] >= d) || n.Str("mode") == "edge" && d == 0 {
			return nil, fmt.Errorf("axis %d of extent %d is too short to %s by %d and %d", i, d, n.Str("mode"), lo[i], hi[i])
		}
	}
	return moved(n, s, sameAxis)
}

func inferReshape(n *Node) ([]Type, error) {
	x := n.Inputs[0].Type
	s := n.Dims("shape").Clone()
	in, err1 := MulDims(x.Shape...)
	out, err2 := MulDims(s...)
	if err1 != nil || err2 != nil || in != out {
		return nil, fmt.Errorf("%v does not reshape to %v", x, s)
	}
	if q := x.Quant; q != nil && q.Axis >= 0 {
		before, _ := MulDims(x.Shape[:q.Axis]...)
		at := -1
		for a := range s {
			if b, err := MulDims(s[:a]...); err == nil && b == before && s[a] == x.Shape[q.Axis] {
				at = a
			}
		}
		return moved(n, s, func(int) int { return at })
	}
	return moved(n, s, sameAxis)
}

func inferTranspose(n *Node) ([]Type, error) {
	x := n.Inputs[0].Type
	p := n.Ints("permutation")
	sorted := slices.Clone(p)
	slices.Sort(sorted)
	for i, a := range sorted {
		if a != i {
			return nil, fmt.Errorf("permutation %v of %d axes", p, len(x.Shape))
		}
	}
	if len(p) != len(x.Shape) {
		return nil, fmt.Errorf("permutation %v of %d axes", p, len(x.Shape))
	}
	s := make(Shape, len(p))
	for i, a := range p {
		s[i] = x.Shape[a]
	}
	return moved(n, s, func(a int) int { return slices.Index(p, a) })
}

func inferBroadcast(n *Node) ([]Type, error) {
	x := n.Inputs[0].Type
	s := n.Dims("shape").Clone()
	b, err := Broadcast(x.Shape, s)
	if err != nil {
		return nil, err
	}
	if !b.Equal(s) {
		return nil, fmt.Errorf("%v does not broadcast to %v", x, s)
	}
	return moved(n, s, func(a int) int { return a + len(s) - len(x.Shape) })
}

func inferGather(n *Node) ([]Type, error) {
	x, idx := n.Inputs[0].Type, n.Inputs[1].Type
	if idx.DType != I64 && idx.DType != I32 {
		return nil, fmt.Errorf("indices are %v; wanted i64 or i32", idx)
	}
	a, err := NormAxis(n.Int("axis"), len(x.Shape))
	if err != nil {
		return nil, err
	}
	s := slices.Concat(x.Shape[:a], idx.Shape, x.Shape[a+1:])
	return moved(n, s, func(q int) int {
		switch {
		case q < a:
			return q
		case q > a:
			return q + len(idx.Shape) - 1
		}
		return -1
	})
}

func inferSplit(n *Node) ([]Type, error) {
	x := n.Inputs[0].Type
	a, err := NormAxis(n.Int("axis"), len(x.Shape))
	if err != nil {
		return nil, err
	}
	sum := 0
	var out []Type
	for _, k := range n.Ints("sizes") {
		if k < 0 {
			return nil, fmt.Errorf("sizes %v: wanted 0 or more", n.Ints("sizes"))
		}
		sum += k
		s := x.Shape.Clone()
		s[a] = k
		ts, err := moved(n, s, sameAxis)
		if err != nil {
			return nil, err
		}
		out = append(out, ts[0])
	}
	if sum != x.Shape[a] || len(out) == 0 {
		return nil, fmt.Errorf("sizes %v sum to %d; axis %d of %v has %s", n.Ints("sizes"), sum, a, x, dimString(x.Shape[a]))
	}
	return out, nil
}

// resizeShape is the rule that resize and q_resize share.
func resizeShape(n *Node) (Shape, error) {
	x := n.Inputs[0].Type
	size := n.Ints("size")
	if r := len(x.Shape) - 2; r < 1 || len(size) != r {
		return nil, fmt.Errorf("size %v for %v; wanted one extent for each spatial axis", size, x)
	}
	if f := n.Floats("scales"); len(f) != 0 && len(f) != len(size) {
		return nil, fmt.Errorf("scales %v for %d spatial axes", f, len(size))
	}
	s := x.Shape.Clone()
	for i, d := range size {
		if d < 1 || s[i+1] < 1 {
			return nil, fmt.Errorf("resizes %v to %v", x, size)
		}
		s[i+1] = d
	}
	return s, nil
}

func inferResize(n *Node) ([]Type, error) {
	s, err := resizeShape(n)
	if err != nil {
		return nil, err
	}
	if t := n.Inputs[0].Type; !t.DType.IsFloat() && n.Str("mode") != "nearest" {
		return nil, fmt.Errorf("%s resize of %v; wanted f32", n.Str("mode"), t)
	}
	return moved(n, s, sameAxis)
}

func inferIota(n *Node) ([]Type, error) {
	s := n.Dims("shape").Clone()
	d, ok := ParseDType(n.Str("dtype"))
	if !ok || d == Bool {
		return nil, fmt.Errorf("dtype is %q; wanted a number type", n.Str("dtype"))
	}
	_, err := NormAxis(n.Int("axis"), len(s))
	return []Type{{DType: d, Shape: s}}, err
}
