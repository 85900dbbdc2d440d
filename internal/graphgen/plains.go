package graphgen

import "github.com/nasc-dev/nasc/ir"

// drawSelect compares, perhaps combines, and selects.
func drawSelect(g *gen) {
	x := g.x()
	y := g.partner(x)
	p := g.add("compare", ir.Attrs{"direction": pick(g, []string{"EQ", "NE", "LT", "LE", "GT", "GE"})}, x, y)
	switch g.IntN(4) {
	case 0:
		p = g.add("not", nil, p)
	case 1:
		p = g.add(pick(g, []string{"and", "or", "xor"}), nil, p, g.add("is_nan", nil, x))
	case 2:
		g.add("convert", ir.Attrs{"dtype": "f32"}, p)
		return
	}
	g.add("select", nil, p, x, y)
}

// drawWhole does arithmetic on whole numbers and comes back to floats.
func drawWhole(g *gen) {
	x := g.x()
	if len(x.Type.Shape) == 0 {
		return
	}
	i := g.add("arg_max", ir.Attrs{"axis": g.IntN(len(x.Type.Shape)), "keep_dims": g.IntN(2) == 0}, x)
	if g.IntN(2) == 0 {
		i = g.add("convert", ir.Attrs{"dtype": "i32"}, i)
	}
	i = g.add(pick(g, []string{"add", "multiply", "maximum", "subtract"}), nil, i, i)
	g.add("convert", ir.Attrs{"dtype": "f32"}, i)
}

// drawDynamic is a dense layer with a scale found while it runs.
func drawDynamic(g *gen) {
	x := g.x()
	s := x.Type.Shape
	if len(s) < 2 || s.Elems() > 4096 {
		return
	}
	// log_softmax or exponentials may have overflowed before: bring it in range.
	x = g.add("tanh", nil, x)
	q := g.b.Multi("dynamic_quantize_linear", "", nil, x)
	for range 1 + g.IntN(2) {
		g.integerProduct(q, s[len(s)-1], 1+g.IntN(40))
	}
}

// integerProduct is a product of what dynamic_quantize_linear gives, scaled to
// real numbers and perhaps with a bias.
func (g *gen) integerProduct(q []*ir.Value, k, n int) {
	var w *ir.Tensor
	var zero *ir.Value
	if g.IntN(2) == 0 {
		w = ir.NewTensor(ir.S8, k, n)
		for i := range w.S8() {
			w.S8()[i] = int8(g.IntN(256) - 128)
		}
	} else {
		w = ir.NewTensor(ir.U8, k, n)
		for i := range w.U8() {
			w.U8()[i] = uint8(g.IntN(256))
		}
		z := ir.Scalar(uint8(g.IntN(256)))
		if g.IntN(2) == 0 {
			z = ir.NewTensor(ir.U8, n)
			for i := range z.U8() {
				z.U8()[i] = uint8(g.IntN(256))
			}
		}
		zero = g.b.Const(g.name(), z)
	}
	acc := g.add("dot_integer", nil, q[0], g.b.Const(g.name(), w), q[2], zero)
	scale := q[1]
	switch g.IntN(4) {
	case 0:
	case 1:
		scale = g.b.Op("multiply", nil, g.b.Const(g.name(), ir.Scalar(float32(0.01))), scale)
	default:
		scale = g.b.Op("multiply", nil, scale, g.positive(n))
	}
	y := g.add("multiply", nil, g.add("convert", ir.Attrs{"dtype": "f32"}, acc), scale)
	if g.IntN(2) == 0 {
		g.add("add", nil, g.weights(1, n), y)
	}
}

// drawDynamicDot is one or two dense layers of the same rows, quantized by
// their own ranges.
func drawDynamicDot(g *gen) {
	x := g.x()
	s := x.Type.Shape
	if len(s) < 1 || s.Elems() > 4096 {
		return
	}
	x = g.add("tanh", nil, x)
	k := s[len(s)-1]
	for range 1 + g.IntN(2) {
		n := 1 + g.IntN(80)
		g.add("dynamic_dot", nil, x, g.qweights(k, n), g.maybe(g.weights(1, n)))
	}
}

// drawRecurrent is an LSTM or GRU over the rows of a tensor.
func drawRecurrent(g *gen) {
	x := g.x()
	s := x.Type.Shape
	if len(s) != 3 || s.Elems() > 2048 {
		return
	}
	gates, op := 4, "lstm"
	if g.IntN(2) == 0 {
		gates, op = 3, "gru"
	}
	a, dirs, h := ir.Attrs{}, 1, 1+g.IntN(12)
	a["hidden_size"] = h
	switch g.IntN(3) {
	case 0:
		a["direction"], dirs = "bidirectional", 2
	case 1:
		a["direction"] = "reverse"
	}
	if op == "gru" && g.IntN(2) == 0 {
		a["linear_before_reset"] = true
	}
	in := []*ir.Value{x, g.weights(s[2], dirs, gates*h, s[2]), g.weights(h, dirs, gates*h, h), g.maybe(g.weights(4, dirs, 2*gates*h)), nil}
	if g.IntN(3) == 0 {
		lens := ir.NewTensor(ir.I32, s[1])
		for i := range lens.I32() {
			lens.I32()[i] = int32(g.IntN(s[0] + 1))
		}
		in[4] = g.b.Const(g.name(), lens)
	}
	in = append(in, g.maybe(g.weights(1, dirs, s[1], h)))
	if op == "lstm" {
		in = append(in, g.maybe(g.weights(1, dirs, s[1], h)), g.maybe(g.weights(1, dirs, 3*h)))
	}
	g.add(op, a, in...)
}
