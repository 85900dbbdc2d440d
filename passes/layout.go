package passes

import (
	"maps"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// layout moves transposes down through the ops that do not care, so that those
// an importer put around convolutions meet and cancel.
//
//	%t = transpose %c [0,3,1,2]; %r = relu %t; %u = transpose %r [0,2,3,1]
//	                                                            →  %r = relu %c
//
// Safe: an elementwise op, a reduction or a movement gives the same elements
// in another order when its operand comes in another order; axes in attributes
// are renamed, constants are transposed at compile time.
func layout(g *ir.Graph) (bool, error) {
	changed, err := settle(g, sinkTransposes, foldShapes, removeIdentity)
	if err != nil {
		return changed, err
	}
	// Only now, since a reshape does not sink.
	c, err := rewrite(g, nil, onesToReshape)
	if err != nil || !c {
		return changed || c, err
	}
	_, err = settle(g, foldShapes, removeIdentity)
	return true, err
}

// settle runs passes in turn until none changes anything. Each round moves
// transposes strictly down or removes nodes, so there is an end.
func settle(g *ir.Graph, passes ...func(*ir.Graph) (bool, error)) (changed bool, err error) {
	for again := true; again; {
		again = false
		for _, p := range passes {
			c, err := p(g)
			if err != nil {
				return changed, err
			}
			again, changed = again || c, changed || c
		}
	}
	return changed, nil
}

// onesToReshape replaces a transpose that only moves extents of 1.
func onesToReshape(e *editor, n *ir.Node) (*ir.Value, error) {
	if n.Op.Name != "transpose" {
		return nil, nil
	}
	x := n.Inputs[0]
	if !movesOnlyOnes(x.Type.Shape, n.Ints("permutation")) || !x.Type.Quant.PerTensor() {
		return nil, nil
	}
	return e.add(n, "reshape", ir.Attrs{"shape": n.Out().Type.Shape}, x)
}

// movesOnlyOnes says whether the axes longer than 1 keep their order.
func movesOnlyOnes(s ir.Shape, perm []int) bool {
	last := -1
	for _, a := range perm {
		if s[a] == 1 {
			continue
		}
		if a < last {
			return false
		}
		last = a
	}
	return true
}

func sinkTransposes(g *ir.Graph) (bool, error) {
	e := edit(g)
	for _, n := range slices.Clone(g.Nodes) {
		// Results of nodes sunk earlier in this round are operands by now.
		k, perm, err := sink(e, n)
		if err != nil {
			return e.touched, err
		}
		if k == nil {
			continue
		}
		e.touched = true
		for i, v := range n.Outputs {
			if len(e.uses[v]) == 0 {
				continue
			}
			p := perm
			if len(v.Type.Shape) != len(perm) { // a reduction dropped axes
				p = dropped(n, perm)
			}
			if identity(p) {
				e.replace(v, k.Outputs[i])
				continue
			}
			t, err := e.add(n, "transpose", ir.Attrs{"permutation": p}, k.Outputs[i])
			if err != nil {
				return e.touched, err
			}
			e.replace(v, t)
		}
	}
	if e.touched {
		if err := g.Sort(); err != nil {
			return true, err
		}
		g.RemoveDead()
	}
	return e.touched, nil
}

func identity(p []int) bool {
	for i, a := range p {
		if a != i {
			return false
		}
	}
	return true
}

// transposed gives the operand and permutation of a transpose.
func transposed(v *ir.Value) (*ir.Value, []int) {
	if t := def(v, "transpose"); t != nil {
		return t.Inputs[0], t.Ints("permutation")
	}
	return nil, nil
}

// inverse is the permutation that undoes p.
func inverse(p []int) []int {
	q := make([]int, len(p))
	for i, a := range p {
		q[a] = i
	}
	return q
}

func permuted[E any](v []E, p []int) []E {
	out := make([]E, len(p))
	for i, a := range p {
		out[i] = v[a]
	}
	return out
}

// sink builds the node that computes n's results before the transposition that
// its operands come from; perm is what then has to follow. nil where n does
// not take part.
func sink(e *editor, n *ir.Node) (*ir.Node, []int, error) {
	if len(n.Inputs) == 0 || n.Inputs[0] == nil {
		return nil, nil, nil
	}
	switch n.Op.Name {
	case "dot_general":
		return nil, nil, swapB(e, n)
	case "reshape":
		if done, err := flattenDot(e, n); done || err != nil {
			return nil, nil, err
		}
		return sinkOnes(e, n)
	}
	elementwise := n.Op.Class == ir.Unary || n.Op.Class == ir.Binary || n.Op.Name == "concatenate" ||
		n.Op.Name == "q_add" || n.Op.Name == "q_multiply"
	var perm []int
	if elementwise {
		for _, v := range n.Inputs {
			if _, p := transposed(v); p != nil && len(p) == len(n.Outputs[0].Type.Shape) {
				perm = p
				break
			}
		}
	} else {
		_, perm = transposed(n.Inputs[0])
	}
	if perm == nil {
		return nil, nil, nil
	}
	attrs, in := maps.Clone(n.Attrs), slices.Clone(n.Inputs)
	if attrs == nil {
		attrs = ir.Attrs{}
	}
	inv := inverse(perm)
	axis := func(a int) int { // of the transposed operand → of the operand
		if a < 0 {
			a += len(perm)
		}
		return perm[a]
	}
	if !elementwise {
		in[0], _ = transposed(in[0])
	}
	switch n.Op.Name {
	case "uniform_quantize", "uniform_dequantize", "q_lookup":
		if !in[0].Type.Quant.PerTensor() {
			return nil, nil, nil
		}
	case "softmax", "log_softmax":
		attrs["axis"] = axis(n.Int("axis"))
	case "slice":
		attrs["start"] = permuted(n.Ints("start"), inv)
		attrs["limit"] = ir.Shape(permuted(n.Dims("limit"), inv))
		if s := n.Ints("stride"); len(s) > 0 {
			attrs["stride"] = permuted(s, inv)
		}
	case "pad":
		attrs["low"], attrs["high"] = permuted(n.Ints("low"), inv), permuted(n.Ints("high"), inv)
	case "split":
		attrs["axis"] = axis(n.Int("axis"))
	case "broadcast":
		if len(n.Dims("shape")) != len(perm) {
			return nil, nil, nil
		}
		attrs["shape"] = ir.Shape(permuted(n.Dims("shape"), inv))
	case "reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod", "q_reduce_mean":
		axes, err := ir.ReduceAxes(n)
		if err != nil {
			return nil, nil, err
		}
		for i, a := range axes {
			axes[i] = perm[a]
		}
		slices.Sort(axes)
		attrs["axes"] = axes
	case "concatenate":
		attrs["axis"] = axis(n.Int("axis"))
		fallthrough
	default:
		if !elementwise {
			return nil, nil, nil
		}
		ok, err := operands(e, n, in, perm, inv)
		if !ok || err != nil {
			return nil, nil, err
		}
	}
	k, err := e.g.AddNamed(n.Op.Name, n.Outputs[0].Name, attrs, in...)
	if err != nil {
		return nil, nil, err
	}
	k.Name = n.Name
	for i, v := range in {
		if v != nil {
			e.uses[v] = append(e.uses[v], ir.Use{Node: k, Index: i})
		}
	}
	return k, perm, nil
}

// operands brings every operand of an elementwise op to the order before the
// transposition: those that come from an equal one lose it, constants and
// small tensors are turned back.
func operands(e *editor, n *ir.Node, in []*ir.Value, perm, inv []int) (bool, error) {
	rank := len(perm)
	for i, v := range in {
		if v == nil || len(v.Type.Shape) == 0 {
			continue
		}
		if n.Op.Name == "q_lookup" && i == 1 {
			continue
		}
		if x, p := transposed(v); slices.Equal(p, perm) {
			in[i] = x
			continue
		}
		s := v.Type.Shape
		full := len(s) == rank && s.Elems() == n.Outputs[0].Type.Shape.Elems()
		if !v.IsConst() && (len(s) != rank || full || n.Op.Name == "concatenate") {
			return false, nil
		}
		if !v.Type.Quant.PerTensor() {
			return false, nil
		}
		for len(s) < rank { // numpy's leading ones, written out
			s = append(ir.Shape{1}, s...)
		}
		if v.IsConst() {
			t, err := evalConst("transpose", ir.Attrs{"permutation": inv}, v.Const.Reshaped(s...))
			if err != nil {
				return false, err
			}
			in[i] = e.g.QConst(v.Name, t, v.Type.Quant)
			continue
		}
		x, err := e.add(n, "transpose", ir.Attrs{"permutation": inv}, v)
		if err != nil {
			return false, err
		}
		in[i] = x
	}
	return true, nil
}

// evalConst runs one op on a constant.
func evalConst(op string, attrs ir.Attrs, x *ir.Tensor) (*ir.Tensor, error) {
	g := ir.NewGraph("const")
	n, err := g.AddNamed(op, "y", attrs, g.Const("x", x))
	if err != nil {
		return nil, err
	}
	out, err := n.Op.Eval(n, []*ir.Tensor{x})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// dropped is the permutation left when a reduction without keep_dims drops
// axes of the transposed operand.
func dropped(n *ir.Node, perm []int) []int {
	axes, err := ir.ReduceAxes(n)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	var kept []int // axes before the transposition, in the order after it
	for i, a := range perm {
		if !slices.Contains(axes, i) {
			kept = append(kept, a)
		}
	}
	order := slices.Clone(kept)
	slices.Sort(order)
	out := make([]int, len(kept))
	for i, a := range kept {
		out[i] = slices.Index(order, a)
	}
	return out
}

// swapB lets a matrix product read its second operand transposed, where that
// saves turning it.
func swapB(e *editor, n *ir.Node) error {
	x, p := transposed(n.Inputs[1])
	if x == nil || n.Bool("transpose_b") {
		return nil
	}
	r := len(p)
	q := slices.Clone(p)
	q[r-1], q[r-2] = q[r-2], q[r-1]
	if q[r-1] != r-1 {
		return nil
	}
	if !identity(q) {
		var err error
		if x, err = e.add(n, "transpose", ir.Attrs{"permutation": q}, x); err != nil {
			return err
		}
	}
	n.Inputs[1] = x
	n.SetAttr("transpose_b", true)
	e.touched = true
	return nil
}

// flattenDot lets a dense layer after a flattening read the elements in the
// order before a transposition, with its weight's rows in that order.
//
//	dot (reshape (transpose %x [0,3,1,2])) @w  →  dot (reshape %x) @w'
func flattenDot(e *editor, n *ir.Node) (bool, error) {
	x, perm := transposed(n.Inputs[0])
	s := n.Dims("shape")
	if x == nil || len(s) != 2 || perm[0] != 0 || !e.only(n.Inputs[0]) || !e.only(n.Out()) || s[0] != x.Type.Shape[0] {
		return false, nil
	}
	d := e.uses[n.Out()][0].Node
	if d.Op.Name != "dot" || d.Inputs[0] != n.Out() || !d.Inputs[1].IsConst() || d.Inputs[1].Type.Quant != nil {
		return false, nil
	}
	w := d.Inputs[1].Const
	out := w.Shape[1]
	rows := append(permuted(x.Type.Shape, perm)[1:], out) // the weight's rows by axis, as stored
	order := make([]int, 0, len(perm))
	for _, a := range inverse(perm)[1:] {
		order = append(order, a-1)
	}
	order = append(order, len(perm)-1)
	t, err := evalConst("transpose", ir.Attrs{"permutation": order}, w.Reshaped(rows...))
	if err != nil {
		return false, err
	}
	n.Inputs[0] = x
	d.Inputs[1] = e.g.Const(d.Inputs[1].Name, t.Reshaped(w.Shape...))
	e.touched = true
	e.uses = e.g.Uses()
	return true, nil
}

// sinkOnes moves a transpose below a reshape that only adds or drops extents
// of 1; added ones go to the end first.
//
//	reshape (transpose %x [0,3,1,2]) [N,C,W]  →  transpose (reshape %x [N,W,C]) [0,2,1]
//	(x: [N,1,W,C])
func sinkOnes(e *editor, n *ir.Node) (*ir.Node, []int, error) {
	x, perm := transposed(n.Inputs[0])
	if x == nil || !x.Type.Quant.PerTensor() {
		return nil, nil, nil
	}
	to := n.Dims("shape")
	from, ok := keptAxes(x.Type.Shape, perm, to)
	if !ok {
		return nil, nil, nil
	}
	kept := slices.DeleteFunc(slices.Clone(from), func(a int) bool { return a < 0 })
	slices.Sort(kept)
	shape := make(ir.Shape, 0, len(to))
	for _, a := range kept {
		shape = append(shape, x.Type.Shape[a])
	}
	p := make([]int, len(to))
	for i, a := range from {
		if a >= 0 {
			p[i] = slices.Index(kept, a)
			continue
		}
		p[i] = len(shape)
		shape = append(shape, 1)
	}
	if movesOnlyOnes(shape, p) {
		shape = to
		for i := range p {
			p[i] = i
		}
	}
	v, err := e.add(n, "reshape", ir.Attrs{"shape": shape}, x)
	if err != nil {
		return nil, nil, err
	}
	return v.Def, p, nil
}

// keptAxes says for each axis of to which axis of shape it is after the
// permutation, −1 for an added one; ok is false where more than ones come and
// go. Of several ones that may be meant, axis 0 stays: it is the batch.
func keptAxes(shape ir.Shape, perm []int, to ir.Shape) (from []int, ok bool) {
	i := 0
	for j := 0; ; {
		var ones []int // the run of ones here, before and after
		for ; i < len(perm) && shape[perm[i]] == 1; i++ {
			ones = append(ones, perm[i])
		}
		want := 0
		for ; j < len(to) && to[j] == 1; j++ {
			want++
		}
		for len(ones) > want {
			at := 0
			if ones[0] == 0 && len(ones) > 1 && want > 0 {
				at = 1
			}
			ones = slices.Delete(ones, at, at+1)
		}
		from = append(from, ones...)
		for range want - len(ones) {
			from = append(from, -1)
		}
		if i == len(perm) || j == len(to) {
			return from, i == len(perm) && j == len(to)
		}
		if shape[perm[i]] != to[j] {
			return nil, false
		}
		from = append(from, perm[i])
		i, j = i+1, j+1
	}
}
