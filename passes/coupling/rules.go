package coupling

import "github.com/nasc-dev/nasc/ir"

// rule is what the analysis knows of an op. Either label or barrier is set.
type rule struct {
	// label gives the results their axes and ties those of the operands.
	label func(a *Analysis, n *ir.Node)
	// barrier says why nothing goes through.
	barrier string
	// fit brings the attributes in line with the orders of a rewriting, or says
	// why the op cannot give the results' orders; nil where there is nothing to do.
	fit func(r *rewriting, n *ir.Node) error
	// contracts lists operand axes over which the op sums: copies there share
	// their weight.
	contracts func(n *ir.Node) []place
}

// place is an axis of an operand (or result).
type place struct{ at, axis int }

const derivatives = "belongs to a step of training; change the network that is trained"

const integers = "computes with integers whose scales belong to this network; change it before it is quantized"

const levels = "rounds to levels whose scales belong to this network; change it before quantization-aware training"

// rules has a row for every op of the table.
var rules = map[string]*rule{
	"convolution":           {label: labelConv, fit: fitConv, contracts: convContracts},
	"convolution_transpose": {label: labelConvTranspose, fit: fitConvTranspose, contracts: convTransposeContracts},
	"dot":                   {label: labelDot, contracts: func(*ir.Node) []place { return []place{{1, 0}} }},
	"dot_general":           {label: labelDotGeneral, contracts: dotGeneralContracts},
	"lstm":                  {label: labelRecurrent, fit: fitRecurrent, contracts: recurrentContracts},
	"gru":                   {label: labelRecurrent, fit: fitRecurrent, contracts: recurrentContracts},
	"attention":             {label: labelAttention},

	"add": elementwise, "subtract": elementwise, "multiply": elementwise, "divide": elementwise, "maximum": elementwise,
	"minimum": elementwise, "power": elementwise, "remainder": elementwise, "compare": elementwise, "select": elementwise,
	"and": elementwise, "or": elementwise, "xor": elementwise, "not": elementwise, "prelu": elementwise,

	"negate": elementwise, "abs": elementwise, "sign": elementwise, "exponential": elementwise, "log": elementwise, "sqrt": elementwise,
	"rsqrt": elementwise, "reciprocal": elementwise, "sine": elementwise, "cosine": elementwise, "tanh": elementwise,
	"logistic": elementwise, "erf": elementwise, "floor": elementwise, "ceil": elementwise, "round_nearest_even": elementwise,
	"relu": elementwise, "clamp": elementwise, "leaky_relu": elementwise, "hard_sigmoid": elementwise, "hard_swish": elementwise,
	"silu": elementwise, "gelu": elementwise, "elu": elementwise, "selu": elementwise, "softplus": elementwise, "mish": elementwise,
	"is_nan": elementwise, "convert": elementwise,

	"softmax":              {label: labelSoftmax},
	"log_softmax":          {label: labelSoftmax},
	"batch_norm_inference": {label: labelBatchNorm},
	"layer_norm":           {label: labelLayerNorm},
	"rms_norm":             {label: labelLayerNorm},
	"group_norm":           {label: labelGroupNorm, fit: fitGroupNorm},
	"instance_norm":        {label: labelBatchNorm},

	"max_pool":     {label: labelPool},
	"average_pool": {label: labelPool},
	"resize":       {label: labelPool},
	"reduce_sum":   {label: labelReduce},
	"reduce_mean":  {label: labelReduce},
	"reduce_max":   {label: labelReduce},
	"reduce_min":   {label: labelReduce},
	"reduce_prod":  {label: labelReduce},
	"arg_max":      {label: labelArgMax},

	"concatenate": {label: labelConcatenate, fit: fitConcatenate},
	"slice":       {label: labelSlice, fit: fitSlice},
	"pad":         {label: labelPad, fit: fitPad},
	"reshape":     {label: labelReshape, fit: fitReshape},
	"transpose":   {label: labelTranspose},
	"broadcast":   {label: labelBroadcast, fit: fitBroadcast},
	"gather":      {label: labelGather, fit: fitGather},
	"split":       {label: labelSplit, fit: fitSplit},
	"iota":        {barrier: "counts positions"},

	"uniform_quantize": {barrier: integers}, "uniform_dequantize": {barrier: integers},
	"q_convolution": {barrier: integers}, "q_convolution_transpose": {barrier: integers}, "q_dot": {barrier: integers}, "q_dot_general": {barrier: integers},
	"q_add": {barrier: integers}, "q_multiply": {barrier: integers}, "q_average_pool": {barrier: integers},
	"q_reduce_mean": {barrier: integers}, "q_lookup": {barrier: integers}, "q_softmax": {barrier: integers}, "q_resize": {barrier: integers},
	"average_pool_grad": {barrier: derivatives}, "batch_norm_grad": {barrier: derivatives}, "batch_norm_training": {barrier: derivatives},
	"clamp_grad": {barrier: derivatives}, "convolution_weight_grad": {barrier: derivatives}, "gather_grad": {barrier: derivatives},
	"max_pool_grad": {barrier: derivatives},

	"fake_quantize": {barrier: levels}, "requantize_factor": {barrier: levels}, "fake_quantize_grad": {barrier: derivatives},

	"dynamic_quantize_linear": {barrier: "takes its scale from all channels"},
	"dynamic_dot":             {barrier: "takes its scale from all channels"},
	"dot_integer":             {barrier: integers}, "convolution_integer": {barrier: integers},
}

// ruleOf is the op's row; a test sees to it that none is missing.
func ruleOf(n *ir.Node) *rule {
	if r := rules[n.Op.Name]; r != nil {
		return r
	}
	return &rule{barrier: "has no rule yet"}
}

var elementwise = &rule{label: labelElementwise}

// labelElementwise ties operands by numpy's rule.
func labelElementwise(a *Analysis, n *ir.Node) {
	a.axes[n.Out()] = a.broadcast(n, n.Out().Type.Shape, n.Inputs...)
}

// broadcast ties the axes of operands that broadcast to shape and gives the
// result's.
func (a *Analysis) broadcast(n *ir.Node, shape ir.Shape, in ...*ir.Value) []axis {
	out := make([]axis, len(shape))
	for i := range out {
		first := true
		for _, v := range in {
			if v == nil {
				continue
			}
			j := i - len(shape) + len(v.Type.Shape)
			if j < 0 {
				continue
			}
			x := a.of(v)[j]
			switch {
			case v.Type.Shape[j] != shape[i]:
				a.fix(x, named(n, "spreads it over an axis"))
			case first:
				out[i], first = x, false
			default:
				out[i] = a.tie(out[i], x)
			}
		}
	}
	return out
}

// copyAxes gives a new list of the same axes.
func copyAxes(x []axis) []axis { return append([]axis{}, x...) }
