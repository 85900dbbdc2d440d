package passes

import (
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/quant"
)

// plan says which nodes compute on 8-bit tensors and which values share one
// quantization. It depends on the graph and the policy alone.
type plan struct {
	g      *ir.Graph
	uses   map[*ir.Value][]ir.Use
	int8   map[*ir.Node]bool
	rows   map[*ir.Node]bool     // dense layers that quantize their rows themselves, between f32 tensors
	tables map[*ir.Node]bool     // gathers of rows of a constant table, stored in 8 bits
	tail   map[*ir.Node]*ir.Node // a relu or clamp done by the clamp of this node's requantization
	folded map[*ir.Node]bool     // those relus and clamps
	inner  map[*ir.Node]*ir.Node // the table that this table node takes in: one table does both
	absorb map[*ir.Node]bool     // tables taken in
	reason map[*ir.Node]string   // why a contraction stays f32
	parent map[*ir.Value]*ir.Value
	signed map[*ir.Value]bool // class roots stored as s8
}

// role is how a node takes part in placement.
type role uint8

const (
	floatRole   role = iota // always f32
	contraction             // int8 where the policy allows
	dynamic                 // contraction whose operand and result are f32
	product                 // of two activations, the same
	follower                // int8 where its operands are
	mover                   // follower whose result has its operand's quantization
	table                   // follower: unary function by a table
)

// tabled are the unary ops whose result 256 entries describe well; the others
// (logarithm, reciprocal, …) span too many magnitudes.
var tabled = []string{
	"negate", "abs", "tanh", "logistic", "erf", "relu", "clamp", "leaky_relu", "hard_sigmoid", "hard_swish",
	"silu", "gelu", "elu", "selu", "softplus", "mish",
}

// scalarTabled are binary ops that are a unary function where one operand is a
// scalar constant.
var scalarTabled = []string{"add", "subtract", "multiply", "divide", "maximum", "minimum"}

func isScalarConst(v *ir.Value) bool {
	return v.IsConst() && v.Const.Len() == 1 && v.Type.DType == ir.F32
}

func roleOf(n *ir.Node, opt *QuantizeOptions) role {
	if len(n.Inputs) == 0 {
		return floatRole
	}
	x := n.In(0)
	switch n.Op.Name {
	case "dot":
		if opt.Dynamic {
			return dynamic
		}
		return contraction
	case "convolution", "convolution_transpose":
		return contraction
	case "dot_general":
		return product
	case "add", "multiply":
		if isScalarConst(n.In(1)) || isScalarConst(n.In(0)) {
			return table
		}
		return follower
	case "average_pool", "reduce_mean":
		if opt.simulate && !wholeMean(n) {
			return floatRole
		}
		return follower
	case "max_pool", "concatenate", "slice", "reshape", "transpose", "broadcast", "split":
		return mover
	case "gather":
		if x.IsConst() {
			return floatRole
		}
		return mover
	case "pad":
		if n.Str("mode") != "constant" || n.Float("value") == 0 {
			return mover
		}
		return floatRole
	case "resize":
		switch n.Str("mode") {
		case "nearest":
			return mover
		case "linear":
			if opt.simulate {
				return floatRole
			}
			return follower
		}
		return floatRole
	case "softmax":
		if a, err := ir.NormAxis(n.Int("axis"), len(x.Type.Shape)); err == nil && a == len(x.Type.Shape)-1 && opt.KeepSoftmax8 {
			return follower
		}
		return floatRole
	}
	if slices.Contains(tabled, n.Op.Name) {
		return table
	}
	if slices.Contains(scalarTabled, n.Op.Name) && (isScalarConst(n.In(1)) || isScalarConst(n.In(0))) && n.Out().Type.Shape.Equal(n.In(dataOperand(n)).Type.Shape) {
		return table
	}
	return floatRole
}

// wholeMean says whether a mean of levels can be had exactly in float32: as a
// sum, or as a pool whose windows all have the same power of two of elements.
func wholeMean(n *ir.Node) bool {
	if n.Op.Name == "reduce_mean" {
		axes, err := ir.ReduceAxes(n)
		return err == nil && !slices.Contains(axes, 0)
	}
	w, err := ir.WindowOf(n)
	if err != nil {
		return false
	}
	taps := w.D2().Taps()
	inside := n.Bool("count_include_pad")
	if !inside {
		inside = true
		for i := range w.Kernel {
			reach := (w.Out[i]-1)*w.Stride[i] + (w.Kernel[i]-1)*w.Dilation[i] + 1
			inside = inside && w.Before[i] == 0 && reach <= w.In[i]
		}
	}
	return inside && taps&(taps-1) == 0
}

// dataOperand is the operand of a table node that is no constant.
func dataOperand(n *ir.Node) int {
	if len(n.Inputs) > 1 && n.Inputs[0].IsConst() {
		return 1
	}
	return 0
}

// dataOperands are the operands that an int8 form reads as 8-bit tensors.
func dataOperands(n *ir.Node, r role) []int {
	switch r {
	case table:
		return []int{dataOperand(n)}
	case contraction:
		return []int{0}
	case product:
		return []int{0, 1}
	}
	switch n.Op.Name {
	case "add", "multiply":
		return []int{0, 1}
	case "concatenate":
		all := make([]int, len(n.Inputs))
		for i := range all {
			all[i] = i
		}
		return all
	}
	return []int{0}
}

// canContract says why a contraction cannot be int8; "" if it can.
func canContract(n *ir.Node) string {
	w := n.In(1)
	switch {
	case !w.IsConst():
		return "its weight is computed"
	case n.In(2) != nil && !n.In(2).IsConst():
		return "its bias is computed"
	case n.In(0).IsConst():
		return "its input is a constant"
	case n.Out().Type.DType != ir.F32:
		return "its type is " + n.Out().Type.DType.String()
	case w.Const.Len() == 0 || n.Out().Type.Shape.Elems() == 0:
		return "it is empty"
	case n.Op.Name == "convolution_transpose" && n.Int("groups") > 1:
		return "it is a transposed convolution in groups"
	}
	if l := layerOf(n); !sumFits(&l) {
		return "a sum over its inputs could leave int32"
	}
	return ""
}

// place decides. A contraction is int8 unless policy or form forbid it; the
// other ops follow: they are int8 where all their operands come from int8
// computation. A mover or table between a contraction and f32 consumers only
// stays f32, since the contraction gives f32 results at no cost.
func place(g *ir.Graph, opt QuantizeOptions) *plan {
	p := &plan{
		g: g, uses: g.Uses(), int8: map[*ir.Node]bool{}, rows: map[*ir.Node]bool{}, tables: map[*ir.Node]bool{}, tail: map[*ir.Node]*ir.Node{}, folded: map[*ir.Node]bool{},
		inner: map[*ir.Node]*ir.Node{}, absorb: map[*ir.Node]bool{},
		reason: map[*ir.Node]string{}, parent: map[*ir.Value]*ir.Value{}, signed: map[*ir.Value]bool{},
	}
	roles := map[*ir.Node]role{}
	soft := map[*ir.Value]bool{} // comes from 8-bit computation, or might have
	for _, v := range g.Inputs {
		soft[v] = p.feedsContractions(v, &opt)
	}
	for _, n := range g.Nodes {
		r := roleOf(n, &opt)
		roles[n] = r
		p.tables[n] = isEmbedding(n) && !opt.Policy.float(n) && !opt.simulate
		ok := false
		switch r {
		case contraction, dynamic, product:
			why := ""
			if r != product {
				why = canContract(n)
			} else if n.In(0).IsConst() && n.In(1).IsConst() || n.Out().Type.DType != ir.F32 {
				why = "its operands are constants"
			} else if opt.FloatAttention {
				why = "products of activations are kept in f32"
			}
			if why == "" && opt.Policy.float(n) {
				why = "the policy says so"
			}
			p.reason[n] = why
			ok = why == ""
			if r == dynamic {
				p.rows[n] = ok
				ok = false
				break
			}
			soft[n.Out()] = ok || !opt.Dynamic
		case follower, mover, table:
			ok = n.Out().Type.DType == ir.F32 && !opt.Policy.float(n) && !p.feedsNorm(n)
			computed := false // of constants alone a node has no range of its own
			for _, i := range dataOperands(n, r) {
				v := n.In(i)
				computed = computed || v != nil && !v.IsConst()
				ok = ok && v != nil && v.Type.DType == ir.F32 && (soft[v] || v.IsConst())
			}
			ok = ok && computed
			for _, v := range n.Outputs {
				soft[v] = ok
			}
		}
		p.int8[n] = ok
	}
	p.floatEnds(roles)
	p.foldTails(roles)
	p.chainTables(roles)
	p.tie(roles)
	return p
}

// feedsNorm says that a sum is read by a norm of rows: it is a transformer's
// residual stream, which stays f32 from norm to norm. In 8 bits it would be rounded
// anew at each addition, which adds up (a ViT of 12 layers: cosine of its outputs to
// f32's 0.965, so 0.9997), and its norms work in f32 anyway.
func (p *plan) feedsNorm(n *ir.Node) bool {
	if n.Op.Name != "add" {
		return false
	}
	for _, u := range p.uses[n.Out()] {
		if u.Node != nil && (u.Node.Op.Name == "layer_norm" || u.Node.Op.Name == "rms_norm") {
			return true
		}
	}
	return false
}

// feedsContractions says whether a graph input only feeds contractions, by way
// of movers or not: an attention mask does not.
func (p *plan) feedsContractions(v *ir.Value, opt *QuantizeOptions) bool {
	if v.Type.DType != ir.F32 || len(p.uses[v]) == 0 {
		return false
	}
	for _, u := range p.uses[v] {
		if u.Node == nil {
			return false
		}
		switch roleOf(u.Node, opt) {
		case contraction:
			if u.Index != 0 {
				return false
			}
		case mover, follower:
			if !p.feedsContractions(u.Node.Out(), opt) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// floatEnds takes back movers and tables whose readers are all f32.
func (p *plan) floatEnds(roles map[*ir.Node]role) {
	for i := len(p.g.Nodes) - 1; i >= 0; i-- {
		n := p.g.Nodes[i]
		r := roles[n]
		if !p.int8[n] || r != mover && r != table || n.Op.Name == "max_pool" || len(n.Inputs) > 1 && r == mover && n.Op.Name == "concatenate" {
			continue
		}
		if !p.allFloat(n.Outputs) {
			continue
		}
		// The operand must be had in f32 at no cost: from a contraction or a
		// follower that nobody reads in 8 bit.
		x := n.In(dataOperand(n))
		if x.Def == nil {
			p.int8[n] = false
			continue
		}
		dr := roles[x.Def]
		free := !p.int8[x.Def] || dr == contraction || dr == product || dr == follower || dr == mover || dr == table
		others := false
		for _, u := range p.uses[x] {
			if u.Node != nil && u.Node != n && p.int8[u.Node] {
				others = true
			}
		}
		if free && !others {
			p.int8[n] = false
		}
	}
}

func (p *plan) allFloat(vs []*ir.Value) bool {
	for _, v := range vs {
		for _, u := range p.uses[v] {
			if u.Node != nil && p.int8[u.Node] {
				return false
			}
		}
	}
	return true
}

// foldTails finds relus and clamps that the requantization of their operand
// does for nothing.
func (p *plan) foldTails(roles map[*ir.Node]role) {
	for _, n := range p.g.Nodes {
		if !p.int8[n] || n.Op.Name != "relu" && n.Op.Name != "clamp" {
			continue
		}
		d := n.In(0).Def
		if d == nil || !p.int8[d] || len(p.uses[n.In(0)]) != 1 || p.tail[d] != nil || p.folded[d] {
			continue
		}
		switch roles[d] {
		case contraction, product, follower:
			if d.Op.Name != "softmax" {
				p.tail[d] = n
				p.folded[n] = true
			}
		}
	}
}

// chainTables makes one table of tables that feed only each other.
func (p *plan) chainTables(roles map[*ir.Node]role) {
	for _, n := range p.g.Nodes {
		if roles[n] != table || !p.int8[n] || p.folded[n] {
			continue
		}
		x := n.In(dataOperand(n))
		d := x.Def
		if d != nil && roles[d] == table && p.int8[d] && !p.folded[d] && len(p.uses[x]) == 1 {
			p.inner[n], p.absorb[d] = d, true
		}
	}
}

// chain gives the table nodes that n's table does, the first to be applied
// first.
func (p *plan) chain(n *ir.Node) []*ir.Node {
	var c []*ir.Node
	for ; n != nil; n = p.inner[n] {
		c = append(c, n)
	}
	slices.Reverse(c)
	return c
}

// chainFunc is the composition of a chain's functions.
func (p *plan) chainFunc(n *ir.Node) quant.Func {
	c := p.chain(n)
	return func(x []float64) []float64 {
		for _, k := range c {
			x = tableFunc(k)(x)
		}
		return x
	}
}

// result is the value that an int8 node gives after its tail.
func (p *plan) result(n *ir.Node) *ir.Value {
	if t := p.tail[n]; t != nil {
		return t.Out()
	}
	return n.Out()
}

// wants8 says whether somebody reads v as an 8-bit tensor.
func (p *plan) wants8(v *ir.Value) bool {
	if v.Def != nil && p.absorb[v.Def] {
		return false
	}
	for _, u := range p.uses[v] {
		if u.Node != nil && p.int8[u.Node] && !p.folded[u.Node] {
			if _, isC := p.weightOperand(u); !isC {
				return true
			}
		}
	}
	return false
}

// weightOperand says whether a use is no data operand.
func (p *plan) weightOperand(u ir.Use) (int, bool) {
	switch u.Node.Op.Name {
	case "convolution", "convolution_transpose", "dot", "gather":
		return u.Index, u.Index > 0
	}
	return u.Index, false
}

// root finds the representative of v's class.
func (p *plan) root(v *ir.Value) *ir.Value {
	for p.parent[v] != nil {
		v = p.parent[v]
	}
	return v
}

func (p *plan) union(a, b *ir.Value) {
	a, b = p.root(a), p.root(b)
	if a != b {
		p.parent[b] = a
	}
}

// tie joins values that must have, or are better off with, one quantization,
// and decides which classes are signed.
func (p *plan) tie(roles map[*ir.Node]role) {
	for _, n := range p.g.Nodes {
		if !p.int8[n] || roles[n] != mover {
			continue
		}
		if n.Op.Name != "concatenate" {
			for _, v := range n.Outputs {
				p.union(n.In(0), v)
			}
			continue
		}
		for _, v := range n.Inputs {
			// A part read by others too keeps its own scale, and a table
			// brings it to the concatenation's.
			if len(p.uses[v]) == 1 {
				p.union(n.Out(), v)
			}
		}
	}
	for _, n := range p.g.Nodes {
		if p.int8[n] && roles[n] == product && !n.In(1).IsConst() {
			p.signed[p.root(n.In(1))] = true
		}
	}
}

// classes maps every root with an 8-bit reader to the values whose numbers the
// class must cover: those that are computed, not moved.
func (p *plan) classes(roles map[*ir.Node]role) map[*ir.Value][]*ir.Value {
	m := map[*ir.Value][]*ir.Value{}
	seen := map[*ir.Value]bool{}
	add := func(v *ir.Value) {
		if v == nil || v.IsConst() || seen[v] || v.Type.DType != ir.F32 {
			return
		}
		seen[v] = true
		if v.Def != nil && p.int8[v.Def] && roles[v.Def] == mover {
			if v.Def.Op.Name == "concatenate" {
				// Parts that are not tied still pass through its scale.
				for _, part := range v.Def.Inputs {
					if p.root(part) != p.root(v) {
						m[p.root(v)] = append(m[p.root(v)], part)
					}
				}
			}
			return
		}
		if p.wants8(v) {
			m[p.root(v)] = append(m[p.root(v)], v)
		}
	}
	for _, v := range p.g.Inputs {
		add(v)
	}
	for _, n := range p.g.Nodes {
		for _, v := range n.Outputs {
			add(v)
		}
	}
	return m
}

// bounds are the real limits that a node's activation puts on its result,
// fused or in its tail; ±Inf for none.
func (p *plan) bounds(n *ir.Node) (lo, hi float64) {
	lo, hi = math.Inf(-1), math.Inf(1)
	if n.Op.Attr("activation") != nil {
		switch n.Str("activation") {
		case "relu":
			lo = 0
		case "clamp":
			lo, hi = n.Float("act_min"), n.Float("act_max")
		}
	}
	if t := p.tail[n]; t != nil {
		if t.Op.Name == "relu" {
			lo = max(lo, 0)
		} else {
			lo, hi = max(lo, t.Float("min")), min(hi, t.Float("max"))
		}
	}
	return lo, hi
}

// tableFunc gives the real function of a table node, evaluated by the op's own
// definition in float64.
func tableFunc(n *ir.Node) quant.Func {
	return func(x []float64) []float64 {
		at := dataOperand(n)
		k := &ir.Node{Op: n.Op, Name: n.Name, Attrs: n.Attrs, Inputs: slices.Clone(n.Inputs)}
		in := make([]*ir.Tensor, max(len(n.Inputs), len(n.Op.In)))
		for i, v := range n.Inputs {
			if i == at {
				in[i] = ir.From(x, len(x))
				k.Inputs[i] = &ir.Value{Name: "x", Type: ir.T(ir.F64, len(x))}
			} else {
				in[i] = v.Const.Converted(ir.F64).Reshaped(1)
				k.Inputs[i] = &ir.Value{Name: v.Name, Type: ir.T(ir.F64, 1), Const: in[i]}
			}
		}
		k.Outputs = []*ir.Value{{Name: "y", Type: ir.T(ir.F64, len(x)), Def: k}}
		out, err := k.Op.Eval(k, in)
		if err != nil {
			panic("BUG: " + n.Op.Name + " has no value: " + err.Error())
		}
		return out[0].Converted(ir.F64).Data.([]float64)
	}
}
