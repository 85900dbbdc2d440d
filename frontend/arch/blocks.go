package arch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// block is a kind of stage: the keys it reads, and what it builds. i counts the
// repetitions of a stage; only the first one takes the stage's stride.
type block struct {
	name, doc string
	keys      []string
	build     func(n *net, p *params, i int)
}

// stageKeys are those that every block has.
var stageKeys = []string{"block", "name", "repeat"}

// convKeys are those of a convolution.
var convKeys = []string{"kernel", "stride", "padding", "act", "epsilon"}

var blocks []block

func init() { blocks = slices.Concat(pictureBlocks, cellBlocks, tokenBlocks) }

var pictureBlocks = []block{
	{"conv", "a convolution with batch norm (norm = false: with a bias)", append([]string{"channels", "groups", "dilation", "norm"}, convKeys...), buildConv},
	{"max_pool", "a maximum pool", []string{"kernel", "stride", "padding"}, buildPool},
	{"average_pool", "an average pool", []string{"kernel", "stride", "padding"}, buildPool},
	{"upsample", "each pixel repeated size times along both axes", []string{"size"}, buildUpsample},
	{"basic", "two 3x3 convolutions with a shortcut (He et al. 2015)", append([]string{"channels"}, convKeys...), buildBasic},
	{"bottleneck", "1x1, 3x3, 1x1 convolutions with a shortcut; expansion times the channels come out", append([]string{"channels", "expansion"}, convKeys...), buildBottleneck},
	{"inverted", "expansion, depthwise, projection (Sandler et al. 2018); expand or hidden give the width, se the share of squeeze and excite", append([]string{"channels", "expand", "hidden", "se"}, convKeys...), buildInverted},
	{"dense_layer", "batch norm, act, 1x1, batch norm, act, 3x3, appended to its input (Huang et al. 2017)", []string{"growth", "bottleneck", "act"}, buildDenseLayer},
	{"transition", "batch norm, act, 1x1 to a share of the channels, average pool", []string{"share", "act"}, buildTransition},
	{"batch_norm", "batch norm and an activation", []string{"act", "epsilon"}, func(n *net, p *params, _ int) {
		if n.wants(4, "a picture [N,H,W,C]") {
			n.x = n.act(p.word("act", "none", acts...), n.batchNorm("bn", n.x, p.epsilon(1e-5)))
		}
	}},
	{"pool", "the mean over the picture, or over the tokens", nil, buildGlobalPool},
	{"flatten", "all values of a sample in a row", nil, func(n *net, _ *params, _ int) {
		s := n.x.Type.Shape
		if s[1:].Elems() < 1 || n.x.Type.DType != ir.F32 {
			n.wants(4, "a picture [N,H,W,C] or tokens [N,T,D]")
			return
		}
		n.x = n.Op("reshape", ir.Attrs{"shape": ir.Shape{ir.Batch, s[1:].Elems()}}, n.x)
	}},
	{"dense", "a dense layer over the last axis", []string{"out", "act", "bias"}, func(n *net, p *params, _ int) {
		if n.x.Type.DType != ir.F32 {
			n.wants(2, "values")
			return
		}
		n.x = n.dense("", n.x, p.positive("out", 0), p.word("act", "none", acts...), p.bool("bias", true))
	}},
}

func blockNames() []string {
	var names []string
	for _, b := range blocks {
		names = append(names, b.name)
	}
	return names
}

// stage builds the repetitions of one stage.
func (n *net) stage(i int, p *params) {
	if p.m["choose"] != nil && p.m["block"] == nil {
		p.fail("choose", &diag.Error{Found: "a stage to choose: the file is a search space", Wanted: "one network", Fix: "draw networks with nasc space sample"})
		n.broken = true
		return
	}
	kind := p.str("block", "")
	if _, ok := p.m["block"].(string); !ok && p.m["block"] != nil { // said already; "" is no block of the file's
		n.broken = true
		return
	}
	k := slices.IndexFunc(blocks, func(b block) bool { return b.name == kind })
	if k < 0 {
		p.fail("block", &diag.Error{Found: fmt.Sprintf("block %q", kind), Wanted: fmt.Sprintf("one of %v", blockNames())})
		n.broken = true
		return
	}
	b := blocks[k]
	p.refuseOthers(append(slices.Clone(stageKeys), b.keys...))
	name := p.str("name", fmt.Sprintf("stage%d", i+1))
	repeat := p.positive("repeat", 1)
	if repeat > 1000 {
		p.fail("repeat", &diag.Error{Found: fmt.Sprintf("repeat = %d", repeat), Wanted: "at most 1000"})
		repeat = 1
	}
	n.p = p
	for r := range repeat {
		n.path = name
		if repeat > 1 {
			n.path = fmt.Sprintf("%s.%d", name, r)
		}
		in := n.x.Type
		b.build(n, p, r)
		n.info.Stages = append(n.info.Stages, Stage{Name: n.path, In: in, Out: n.x.Type, Params: paramsText(p.m, r)})
		if err := n.Err(); err != nil && !n.broken {
			p.fail("block", &diag.Error{Found: "block " + kind, Err: err})
			n.broken = true
		}
		if n.broken {
			return
		}
	}
}

// paramsText writes what decides a repetition: the stride is the first one's.
func paramsText(m map[string]any, r int) string {
	var b strings.Builder
	for _, k := range sortedKeys(m) {
		if k == "name" || k == "repeat" || k == "stride" && r > 0 && m["block"] != "max_pool" && m["block"] != "average_pool" {
			continue
		}
		fmt.Fprintf(&b, "%s=%s ", k, short(m[k]))
	}
	return b.String()
}

// convOf reads the keys that convolutions share.
func convOf(p *params, kernel int, act string, i int) conv {
	c := conv{
		kernel: p.positive("kernel", kernel), stride: p.positive("stride", 1), padding: p.word("padding", "same", "same", "tf", "valid"),
		norm: true, eps: p.epsilon(1e-5), act: p.word("act", act, acts...),
	}
	if i > 0 {
		c.stride = 1
	}
	return c
}

func buildConv(n *net, p *params, i int) {
	if !n.wants(4, "a picture [N,H,W,C]") {
		return
	}
	c := convOf(p, 3, "relu", i)
	c.out, c.groups, c.dilation, c.norm = p.positive("channels", 0), p.positive("groups", 1), p.positive("dilation", 1), p.bool("norm", true)
	// The stage itself is the convolution: its weights are NAME.weight.
	n.x = n.conv("", n.x, c)
}

func buildPool(n *net, p *params, _ int) {
	if !n.wants(4, "a picture [N,H,W,C]") {
		return
	}
	c := conv{kernel: p.positive("kernel", 2), stride: p.positive("stride", 2), padding: p.word("padding", "valid", "same", "tf", "valid"), dilation: 1}
	t, b := c.pad(dim(n.x, 1))
	l, r := c.pad(dim(n.x, 2))
	n.x = n.Op(p.str("block", ""), ir.Attrs{
		"kernel": []int{c.kernel, c.kernel}, "strides": []int{c.stride, c.stride}, "padding": []int{t, l, b, r},
	}, n.x)
}

func buildUpsample(n *net, p *params, _ int) {
	if !n.wants(4, "a picture [N,H,W,C]") {
		return
	}
	k := p.positive("size", 2)
	n.x = n.Op("resize", ir.Attrs{"size": []int{dim(n.x, 1) * k, dim(n.x, 2) * k}, "mode": "nearest"}, n.x)
}

// shortcut is x itself, or projected to y's shape.
func (n *net) shortcut(x, y *ir.Value, c conv) *ir.Value {
	if x.Type.Shape.Equal(y.Type.Shape) {
		return x
	}
	return n.conv("shortcut", x, conv{out: dim(y, -1), kernel: 1, stride: c.stride, padding: c.padding, norm: true, eps: c.eps})
}

func buildBasic(n *net, p *params, i int) {
	if !n.wants(4, "a picture [N,H,W,C]") {
		return
	}
	c := convOf(p, 3, "relu", i)
	c.out = p.positive("channels", 0)
	y := n.conv("conv1", n.x, c)
	second := c
	second.stride, second.act = 1, "none"
	y = n.conv("conv2", y, second)
	n.x = n.act(c.act, n.Op("add", nil, y, n.shortcut(n.x, y, c)))
}

func buildBottleneck(n *net, p *params, i int) {
	if !n.wants(4, "a picture [N,H,W,C]") {
		return
	}
	c := convOf(p, 3, "relu", i)
	mid := p.positive("channels", 0)
	c.out = mid
	one := c
	one.kernel, one.stride = 1, 1
	y := n.conv("conv1", n.x, one)
	y = n.conv("conv2", y, c)
	one.out, one.act = mid*p.positive("expansion", 4), "none"
	y = n.conv("conv3", y, one)
	n.x = n.act(c.act, n.Op("add", nil, y, n.shortcut(n.x, y, c)))
}

func buildInverted(n *net, p *params, i int) {
	if !n.wants(4, "a picture [N,H,W,C]") {
		return
	}
	c := convOf(p, 3, "relu6", i)
	in, x := dim(n.x, -1), n.x
	out := p.positive("channels", 0)
	hidden := p.int("hidden", 0)
	if hidden == 0 {
		hidden = max(1, int(float64(in)*p.within("expand", 6, 0, maxExpand)+0.5))
	}
	one := c
	one.kernel, one.stride = 1, 1
	y := x
	if hidden != in {
		one.out = hidden
		y = n.conv("expand", y, one)
	}
	c.out, c.groups = hidden, hidden
	y = n.conv("depthwise", y, c)
	if se := p.within("se", 0, 0, 1); se > 0 {
		y = n.squeeze(y, divisible(float64(hidden)*se))
	}
	one.out, one.act = out, "none"
	y = n.conv("project", y, one)
	if x.Type.Shape.Equal(y.Type.Shape) {
		y = n.Op("add", nil, y, x)
	}
	n.x = y
}

// maxExpand bounds how many times wider than its input a block is inside.
const maxExpand = 1024

// divisible rounds to a multiple of 8, at least 90 % of v, as MobileNets do.
func divisible(v float64) int {
	d := max(8, int(v+4)/8*8)
	if float64(d) < 0.9*v {
		d += 8
	}
	return d
}

// squeeze multiplies the channels by gates computed from their means.
func (n *net) squeeze(x *ir.Value, width int) *ir.Value {
	s := n.Op("reduce_mean", ir.Attrs{"axes": []int{1, 2}}, x)
	s = n.conv("squeeze", s, conv{out: width, kernel: 1, act: "relu"})
	s = n.conv("excite", s, conv{out: dim(x, -1), kernel: 1, act: "hard_sigmoid"})
	return n.Op("multiply", nil, x, s)
}

func buildDenseLayer(n *net, p *params, _ int) {
	if !n.wants(4, "a picture [N,H,W,C]") {
		return
	}
	k, act := p.positive("growth", 0), p.word("act", "relu", acts...)
	y := n.act(act, n.batchNorm("bn1", n.x, 1e-5))
	y = n.convOnly("conv1", y, k*p.positive("bottleneck", 4), 1)
	y = n.act(act, n.batchNorm("bn2", y, 1e-5))
	y = n.convOnly("conv2", y, k, 3)
	n.x = n.Op("concatenate", ir.Attrs{"axis": 3}, n.x, y)
}

// convOnly is a convolution without bias or norm.
func (n *net) convOnly(name string, x *ir.Value, out, kernel int) *ir.Value {
	in := dim(x, -1)
	var y *ir.Value
	n.in(name, func() {
		w := n.weight("weight", normal(1/float64(kernel)/sqrt(in)), kernel, kernel, in, out)
		y = n.Op("convolution", ir.Attrs{"padding": []int{kernel / 2, kernel / 2, kernel / 2, kernel / 2}}, x, w)
	})
	return y
}

func buildTransition(n *net, p *params, _ int) {
	if !n.wants(4, "a picture [N,H,W,C]") {
		return
	}
	y := n.act(p.word("act", "relu", acts...), n.batchNorm("bn", n.x, 1e-5))
	y = n.convOnly("conv", y, max(1, int(float64(dim(n.x, -1))*p.within("share", 0.5, 0, 1))), 1)
	n.x = n.Op("average_pool", ir.Attrs{"kernel": []int{2, 2}, "strides": []int{2, 2}}, y)
}

func buildGlobalPool(n *net, _ *params, _ int) {
	switch len(n.x.Type.Shape) {
	case 4:
		n.x = n.Op("reduce_mean", ir.Attrs{"axes": []int{1, 2}, "keep_dims": false}, n.x)
	case 3:
		n.meanTokens()
	default:
		n.wants(4, "a picture [N,H,W,C] or tokens [N,T,D]")
	}
}
