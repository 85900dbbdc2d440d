package onnx

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

type writer func(e *exporter, n *ir.Node) error

// writers are the ops that have an ONNX form.
var writers = func() map[string]writer {
	all := map[string]writer{}
	for _, m := range []map[string]writer{floatOps, movementOps, quantizedOps} {
		maps.Copy(all, m)
	}
	return all
}()

var floatOps = map[string]writer{
	"convolution": conv("Conv"), "convolution_transpose": conv("ConvTranspose"),
	"dot": dot, "dot_general": dotGeneral, "attention": attention,
	"add": binary("Add"), "subtract": binary("Sub"), "multiply": binary("Mul"), "divide": binary("Div"), "maximum": binary("Max"), "minimum": binary("Min"),
	"power": binary("Pow"), "and": binary("And"), "or": binary("Or"), "xor": binary("Xor"), "prelu": binary("PRelu"),
	"compare": compare, "select": selectOp,
	"remainder": func(e *exporter, n *ir.Node) error {
		in, first := e.aligned(n, n.Inputs)
		e.put(n.Out(), e.emit("Mod", n.Out().Name, attrs{"fmod": 1}, in...), first)
		return nil
	},
	"negate": unary("Neg"), "abs": unary("Abs"), "sign": unary("Sign"), "exponential": unary("Exp"), "log": unary("Log"), "sqrt": unary("Sqrt"),
	"reciprocal": unary("Reciprocal"), "sine": unary("Sin"), "cosine": unary("Cos"), "tanh": unary("Tanh"), "logistic": unary("Sigmoid"), "erf": unary("Erf"),
	"floor": unary("Floor"), "ceil": unary("Ceil"), "round_nearest_even": unary("Round"), "relu": unary("Relu"), "not": unary("Not"), "is_nan": unary("IsNaN"),
	"hard_swish": unary("HardSwish"), "softplus": unary("Softplus"),
	"leaky_relu":   unaryWith("LeakyRelu", func(n *ir.Node) attrs { return attrs{"alpha": n.Float("alpha")} }),
	"elu":          unaryWith("Elu", func(n *ir.Node) attrs { return attrs{"alpha": n.Float("alpha")} }),
	"selu":         unaryWith("Selu", func(n *ir.Node) attrs { return attrs{"alpha": n.Float("alpha"), "gamma": n.Float("scale")} }),
	"hard_sigmoid": unaryWith("HardSigmoid", func(n *ir.Node) attrs { return attrs{"alpha": n.Float("alpha"), "beta": n.Float("beta")} }),
	"convert":      unaryWith("Cast", func(n *ir.Node) attrs { return attrs{"to": int(elemType(n.Out().Type.DType))} }),
	"clamp": chain(func(e *exporter, n *ir.Node, x string) string {
		return e.clip(n.Out().Name, x, n.Float("min"), n.Float("max"))
	}),
	"rsqrt": chain(func(e *exporter, n *ir.Node, x string) string {
		return e.emit("Reciprocal", n.Out().Name, nil, e.emit("Sqrt", n.Out().Name+"_sqrt", nil, x))
	}),
	"silu": chain(func(e *exporter, n *ir.Node, x string) string {
		return e.emit("Mul", n.Out().Name, nil, x, e.emit("Sigmoid", n.Out().Name+"_s", nil, x))
	}),
	"mish": chain(func(e *exporter, n *ir.Node, x string) string {
		return e.emit("Mul", n.Out().Name, nil, x, e.emit("Tanh", n.Out().Name+"_t", nil, e.emit("Softplus", n.Out().Name+"_p", nil, x)))
	}),
	"gelu": chain(gelu),

	"softmax": softmax("Softmax"), "log_softmax": softmax("LogSoftmax"),
	"batch_norm_inference": batchNorm, "layer_norm": layerNorm, "rms_norm": rmsNorm, "instance_norm": instanceNorm, "group_norm": groupNorm,
	"max_pool": pool("MaxPool"), "average_pool": pool("AveragePool"),
	"reduce_sum": reduce("ReduceSum"), "reduce_mean": reduce("ReduceMean"), "reduce_max": reduce("ReduceMax"), "reduce_min": reduce("ReduceMin"), "reduce_prod": reduce("ReduceProd"),
	"arg_max": func(e *exporter, n *ir.Node) error {
		keep := 0
		if n.Bool("keep_dims") {
			keep = 1
		}
		e.set(n.Out(), e.emit("ArgMax", n.Out().Name, attrs{"axis": n.Int("axis"), "keepdims": keep}, e.get(n.Inputs[0])))
		return nil
	},
	"lstm": recurrent("LSTM"), "gru": recurrent("GRU"),
}

// chain wraps an elementwise op: it keeps the order of axes that its operand
// has in the file.
func chain(f func(e *exporter, n *ir.Node, x string) string) writer {
	return func(e *exporter, n *ir.Node) error {
		x := n.Inputs[0]
		if e.hasFirst(x) {
			e.setFirst(n.Out(), f(e, n, e.first(x)))
		} else {
			e.set(n.Out(), f(e, n, e.get(x)))
		}
		return nil
	}
}

func unary(op string) writer { return unaryWith(op, func(*ir.Node) attrs { return nil }) }

func unaryWith(op string, a func(n *ir.Node) attrs) writer {
	return chain(func(e *exporter, n *ir.Node, x string) string { return e.emit(op, n.Out().Name, a(n), x) })
}

// clip bounds x; infinite bounds are left out.
func (e *exporter) clip(name, x string, lo, hi float64) string {
	if lo == 0 && math.IsInf(hi, 1) {
		return e.emit("Relu", name, nil, x)
	}
	var a, b string
	if !math.IsInf(lo, -1) {
		a = e.number(ir.F32, lo)
	}
	if !math.IsInf(hi, 1) {
		b = e.number(ir.F32, hi)
	}
	return e.emit("Clip", name, nil, x, a, b)
}

func gelu(e *exporter, n *ir.Node, x string) string {
	name := n.Out().Name
	half := e.emit("Mul", name+"_half", nil, x, e.number(ir.F32, 0.5))
	var t string
	if n.Str("approximate") == "tanh" {
		x2 := e.emit("Mul", name+"_x2", nil, x, x)
		x3 := e.emit("Mul", name+"_x3", nil, x2, x)
		in := e.emit("Add", name+"_in", nil, x, e.emit("Mul", name+"_c", nil, x3, e.number(ir.F32, 0.044715)))
		t = e.emit("Tanh", name+"_t", nil, e.emit("Mul", name+"_k", nil, in, e.number(ir.F32, math.Sqrt(2/math.Pi))))
	} else {
		t = e.emit("Erf", name+"_erf", nil, e.emit("Mul", name+"_in", nil, x, e.number(ir.F32, math.Sqrt(0.5))))
	}
	return e.emit("Mul", name, nil, half, e.emit("Add", name+"_one", nil, t, e.number(ir.F32, 1)))
}

// operand gives a binary op's operand in the order of its result.
func (e *exporter) operand(v *ir.Value, first bool, rank int) string {
	r := len(v.Type.Shape)
	switch {
	case !first || r == 0:
		return e.get(v)
	case r == rank:
		return e.first(v)
	case v.IsConst() && v.Const.Len() == 1:
		return e.get(v)
	case v.IsConst():
		s := v.Type.Shape
		for len(s) < rank {
			s = append(ir.Shape{1}, s...)
		}
		return e.constant(v.Name, turned(v.Const.Reshaped(s...), toFirst(rank)))
	}
	return ""
}

// aligned gives all operands in one order, channels first where that is how
// they exist.
func (e *exporter) aligned(n *ir.Node, in []*ir.Value) (names []string, first bool) {
	rank := len(n.Out().Type.Shape)
	for _, v := range in {
		first = first || e.hasFirst(v) && len(v.Type.Shape) == rank
	}
	for try := 0; try < 2; try++ {
		names = names[:0]
		for _, v := range in {
			s := e.operand(v, first, rank)
			if s == "" {
				first = false
				break
			}
			names = append(names, s)
		}
		if len(names) == len(in) {
			break
		}
	}
	return names, first
}

func (e *exporter) put(v *ir.Value, name string, first bool) {
	if first {
		e.setFirst(v, name)
	} else {
		e.set(v, name)
	}
}

func binary(op string) writer {
	return func(e *exporter, n *ir.Node) error {
		in, first := e.aligned(n, n.Inputs)
		e.put(n.Out(), e.emit(op, n.Out().Name, nil, in...), first)
		return nil
	}
}

func compare(e *exporter, n *ir.Node) error {
	in, first := e.aligned(n, n.Inputs)
	op := map[string]string{"EQ": "Equal", "NE": "Equal", "LT": "Less", "LE": "LessOrEqual", "GT": "Greater", "GE": "GreaterOrEqual"}[n.Str("direction")]
	y := e.emit(op, n.Out().Name, nil, in...)
	if n.Str("direction") == "NE" {
		y = e.emit("Not", n.Out().Name+"_not", nil, y)
	}
	e.put(n.Out(), y, first)
	return nil
}

func selectOp(e *exporter, n *ir.Node) error {
	in, first := e.aligned(n, n.Inputs)
	e.put(n.Out(), e.emit("Where", n.Out().Name, nil, in...), first)
	return nil
}

// window writes a window's attributes in ONNX's names.
func window(w ir.Window) attrs {
	return attrs{"strides": w.Stride, "dilations": w.Dilation, "pads": append(slices.Clone(w.Before), w.After...), "kernel_shape": w.Kernel}
}

func conv(op string) writer {
	return func(e *exporter, n *ir.Node) error {
		var w ir.Window
		var err error
		if op == "Conv" {
			w, err = ir.WindowOf(n)
		} else {
			w, err = ir.TransposedWindowOf(n)
		}
		if err != nil {
			return err
		}
		k, err := e.weight(n.Inputs[1], op == "ConvTranspose")
		if err != nil {
			return err
		}
		a := window(w)
		a["group"] = w.Groups
		if op == "ConvTranspose" {
			if x := n.Ints("output_padding"); len(x) > 0 {
				a["output_padding"] = x
			}
		}
		y := e.emit(op, n.Out().Name, a, e.first(n.Inputs[0]), k, e.opt(n.In(2)))
		e.setFirst(n.Out(), e.activated(n, y))
		return nil
	}
}

// activated applies the fused activation attribute.
func (e *exporter) activated(n *ir.Node, y string) string {
	if n.Op.Attr("activation") == nil {
		return y
	}
	switch n.Str("activation") {
	case "relu":
		return e.emit("Relu", n.Out().Name+"_relu", nil, y)
	case "clamp":
		return e.clip(n.Out().Name+"_clip", y, n.Float("act_min"), n.Float("act_max"))
	}
	return y
}

// weight gives a kernel as OIHW, or IOHW for a transposed convolution.
func (e *exporter) weight(v *ir.Value, inFirst bool) (string, error) {
	r := len(v.Type.Shape)
	perm := []int{r - 1, r - 2}
	if inFirst {
		perm = []int{r - 2, r - 1}
	}
	for a := range r - 2 {
		perm = append(perm, a)
	}
	if v.IsConst() {
		return e.constant(v.Name, turned(v.Const, perm)), nil
	}
	return e.emit("Transpose", v.Name+"_oihw", attrs{"perm": perm}, e.get(v)), nil
}

func dot(e *exporter, n *ir.Node) error {
	x, name := n.Inputs[0], n.Out().Name
	var y string
	if len(x.Type.Shape) == 2 {
		y = e.emit("Gemm", name, nil, e.get(x), e.get(n.Inputs[1]), e.opt(n.In(2)))
	} else {
		y = e.emit("MatMul", name, nil, e.get(x), e.get(n.Inputs[1]))
		if b := n.In(2); b != nil {
			y = e.emit("Add", name+"_bias", nil, y, e.get(b))
		}
	}
	e.set(n.Out(), e.activated(n, y))
	return nil
}

// matrix gives an operand of a batched product, turned where asked.
func (e *exporter) matrix(v *ir.Value, name string, turn bool) string {
	if !turn {
		return name
	}
	p := make([]int, len(v.Type.Shape))
	for i := range p {
		p[i] = i
	}
	r := len(p)
	p[r-1], p[r-2] = p[r-2], p[r-1]
	return e.emit("Transpose", v.Name+"_t", attrs{"perm": p}, name)
}

func dotGeneral(e *exporter, n *ir.Node) error {
	a, b := n.Inputs[0], n.Inputs[1]
	e.set(n.Out(), e.emit("MatMul", n.Out().Name, nil, e.matrix(a, e.get(a), n.Bool("transpose_a")), e.matrix(b, e.get(b), n.Bool("transpose_b"))))
	return nil
}

func attention(e *exporter, n *ir.Node) error {
	name := n.Out().Name
	q, k, v := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	s := e.emit("MatMul", name+"_qk", nil, e.get(q), e.matrix(k, e.get(k), true))
	if f := n.Float("scale"); f != 1 {
		s = e.emit("Mul", name+"_scaled", nil, s, e.number(ir.F32, f))
	}
	if m := n.In(3); m != nil {
		s = e.emit("Add", name+"_masked", nil, s, e.get(m))
	}
	s = e.emit("Softmax", name+"_p", attrs{"axis": -1}, s)
	e.set(n.Out(), e.emit("MatMul", name, nil, s, e.get(v)))
	return nil
}

// axisIn renames an axis for the order that a value has in the file.
func axisIn(axis, rank int, first bool) int {
	if axis < 0 {
		axis += rank
	}
	if !first {
		return axis
	}
	return slices.Index(toFirst(rank), axis)
}

func softmax(op string) writer {
	return func(e *exporter, n *ir.Node) error {
		x := n.Inputs[0]
		e.set(n.Out(), e.emit(op, n.Out().Name, attrs{"axis": axisIn(n.Int("axis"), len(x.Type.Shape), false)}, e.get(x)))
		return nil
	}
}

func batchNorm(e *exporter, n *ir.Node) error {
	y := e.emit("BatchNormalization", n.Out().Name, attrs{"epsilon": n.Float("epsilon")}, e.first(n.Inputs[0]), e.get(n.Inputs[1]), e.get(n.Inputs[2]), e.get(n.Inputs[3]), e.get(n.Inputs[4]))
	e.setFirst(n.Out(), y)
	return nil
}

func filled(v float32, shape ...int) *ir.Tensor {
	t := ir.NewTensor(ir.F32, shape...)
	for i := range t.F32() {
		t.F32()[i] = v
	}
	return t
}

func layerNorm(e *exporter, n *ir.Node) error {
	x := n.Inputs[0]
	r := len(x.Type.Shape)
	axis := axisIn(n.Int("axis"), r, false)
	scale := e.opt(n.In(1))
	if scale == "" {
		scale = e.constant("ones", filled(1, x.Type.Shape[axis:]...))
	}
	e.set(n.Out(), e.emit("LayerNormalization", n.Out().Name, attrs{"axis": axis, "epsilon": n.Float("epsilon")}, e.get(x), scale, e.opt(n.In(2))))
	return nil
}

func rmsNorm(e *exporter, n *ir.Node) error {
	x, name := n.Inputs[0], n.Out().Name
	r := len(x.Type.Shape)
	var axes []int
	for a := axisIn(n.Int("axis"), r, false); a < r; a++ {
		axes = append(axes, a)
	}
	sq := e.emit("Mul", name+"_sq", nil, e.get(x), e.get(x))
	m := e.emit("ReduceMean", name+"_mean", attrs{"axes": axes}, sq)
	d := e.emit("Sqrt", name+"_rms", nil, e.emit("Add", name+"_eps", nil, m, e.number(ir.F32, n.Float("epsilon"))))
	y := e.emit("Div", name+"_div", nil, e.get(x), d)
	if s := n.In(1); s != nil {
		y = e.emit("Mul", name, nil, y, e.get(s))
	}
	e.set(n.Out(), y)
	return nil
}

func (e *exporter) scaleBias(n *ir.Node, c int) (scale, bias string) {
	if scale = e.opt(n.In(1)); scale == "" {
		scale = e.constant("ones", filled(1, c))
	}
	if bias = e.opt(n.In(2)); bias == "" {
		bias = e.constant("zeros", filled(0, c))
	}
	return scale, bias
}

func instanceNorm(e *exporter, n *ir.Node) error {
	s := n.Out().Type.Shape
	scale, bias := e.scaleBias(n, s[len(s)-1])
	e.setFirst(n.Out(), e.emit("InstanceNormalization", n.Out().Name, attrs{"epsilon": n.Float("epsilon")}, e.first(n.Inputs[0]), scale, bias))
	return nil
}

// groupNorm normalizes groups as instances, then scales per channel.
func groupNorm(e *exporter, n *ir.Node) error {
	s, g, name := n.Out().Type.Shape, n.Int("groups"), n.Out().Name
	c := s[len(s)-1]
	flat := e.emit("Reshape", name+"_groups", nil, e.first(n.Inputs[0]), e.ints(0, g, -1))
	y := e.emit("InstanceNormalization", name+"_norm", attrs{"epsilon": n.Float("epsilon")}, flat, e.constant("ones", filled(1, g)), e.constant("zeros", filled(0, g)))
	shape := []int{0, c}
	one := []int{1, c}
	for _, d := range s[1 : len(s)-1] {
		shape, one = append(shape, d), append(one, 1)
	}
	y = e.emit("Reshape", name+"_back", nil, y, e.ints(shape...))
	for i, op := range []string{"Mul", "Add"} {
		v := n.In(i + 1)
		if v == nil {
			continue
		}
		if !v.IsConst() {
			return fmt.Errorf("scale and bias are computed while the model runs")
		}
		y = e.emit(op, name+"_"+op, nil, y, e.constant(v.Name, v.Const.Reshaped(one...)))
	}
	e.setFirst(n.Out(), y)
	return nil
}

func pool(op string) writer {
	return func(e *exporter, n *ir.Node) error {
		w, err := ir.WindowOf(n)
		if err != nil {
			return err
		}
		a := window(w)
		x := e.first(n.Inputs[0])
		if op == "MaxPool" && wider(w) {
			x = e.padFirst(n, x, w)
			a["pads"] = make([]int, 2*len(w.Kernel))
		}
		if op == "AveragePool" {
			if wider(w) {
				return fmt.Errorf("padding %v, %v is not less than the kernel %v, which runtimes refuse", w.Before, w.After, w.Kernel)
			}
			if slices.Max(w.Dilation) > 1 {
				return fmt.Errorf("AveragePool has no dilation in opset %d", opset)
			}
			delete(a, "dilations")
			if n.Bool("count_include_pad") {
				a["count_include_pad"] = 1
			}
		}
		e.setFirst(n.Out(), e.emit(op, n.Out().Name, a, x))
		return nil
	}
}

// wider says whether a window's padding reaches its kernel's extent, which
// ONNX runtimes do not take.
func wider(w ir.Window) bool {
	for i, k := range w.Kernel {
		if w.Before[i] >= k || w.After[i] >= k {
			return true
		}
	}
	return false
}

// padFirst pads the spatial axes of a tensor with channels first by the least
// value of its type.
func (e *exporter) padFirst(n *ir.Node, x string, w ir.Window) string {
	t := n.Inputs[0].Type.DType
	least := math.Inf(-1)
	if t.Is8Bit() {
		lo, _ := t.Range()
		least = float64(lo)
	}
	pads := append([]int{0, 0}, w.Before...)
	pads = append(append(pads, 0, 0), w.After...)
	return e.emit("Pad", n.Out().Name+"_pad", attrs{"mode": "constant"}, x, e.ints(pads...), e.number(t, least))
}

// reduced writes a reduction of x, which is v in one of its orders.
func (e *exporter) reduced(op string, n *ir.Node, x string, first bool) (string, error) {
	axes, err := ir.ReduceAxes(n)
	if err != nil {
		return "", err
	}
	r := len(n.Inputs[0].Type.Shape)
	for i, a := range axes {
		axes[i] = axisIn(a, r, first)
	}
	slices.Sort(axes)
	keep := 0
	if n.Bool("keep_dims") {
		keep = 1
	}
	spatial := first && keep == 1 && len(axes) == r-2 && axes[0] == 2
	switch {
	case op == "ReduceMean" && spatial:
		return e.emit("GlobalAveragePool", n.Out().Name, nil, x), nil
	case op == "ReduceSum": // axes are an input since opset 13
		return e.emit(op, n.Out().Name, attrs{"keepdims": keep}, x, e.ints(axes...)), nil
	}
	return e.emit(op, n.Out().Name, attrs{"axes": axes, "keepdims": keep}, x), nil
}

func reduce(op string) writer {
	return func(e *exporter, n *ir.Node) error {
		x := n.Inputs[0]
		// What is left when axes disappear is in nasc's order only where it is
		// [N,C]: all spatial axes, and they alone, are reduced.
		axes, r := mustAxes(n), len(x.Type.Shape)
		spatial := len(axes) == r-2 && !slices.Contains(axes, 0) && !slices.Contains(axes, r-1)
		first := e.hasFirst(x) && (n.Bool("keep_dims") || spatial)
		src := e.get
		if first {
			src = e.first
		}
		y, err := e.reduced(op, n, src(x), first)
		if err != nil {
			return err
		}
		e.put(n.Out(), y, first && n.Bool("keep_dims"))
		return nil
	}
}

func mustAxes(n *ir.Node) []int {
	axes, err := ir.ReduceAxes(n)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return axes
}

func recurrent(op string) writer {
	return func(e *exporter, n *ir.Node) error {
		var in, out []string
		for _, v := range n.Inputs {
			in = append(in, e.opt(v))
		}
		for _, v := range n.Outputs {
			name := e.unique(v.Name)
			out = append(out, name)
			e.set(v, name)
		}
		a := attrs{"hidden_size": n.Int("hidden_size"), "direction": n.Str("direction")}
		if op == "GRU" && n.Bool("linear_before_reset") {
			a["linear_before_reset"] = 1
		}
		e.emitN(op, out, a, in...)
		return nil
	}
}
