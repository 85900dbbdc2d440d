package passes

import (
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// A channel that uses the share u of its tensor's range is scaled up by
// u^−equalizePower, at most equalizeCap. Power 1 would make all ranges equal,
// and every channel would be cut at its own largest value; 0.25 measured best
// on ResNet-32 and EfficientNet-Lite0, though by tenths of a decibel only.
const (
	equalizePower = 0.25
	equalizeCap   = 64
)

// channels joins the channels (last axis) of values that must be scaled alike
// for the network to compute the same. A class of channels is scaled by s when
// the contractions that produce it multiply their output channel by s and
// those that read it divide their input channel by s: everything between
// (relu, add, pools, movers) passes positive factors through (cross-layer
// equalization, Nagel et al. 2019, over whole residual streams).
type channels struct {
	base   map[*ir.Value]int
	parent []int
	pinned []bool // by root: must stay as it is
}

func newChannels() *channels { return &channels{base: map[*ir.Value]int{}} }

// of gives the index of v's first channel, or −1 where v has no channels.
func (c *channels) of(v *ir.Value) int {
	if v == nil || v.IsConst() || v.Type.DType != ir.F32 || len(v.Type.Shape) < 2 {
		return -1
	}
	if b, ok := c.base[v]; ok {
		return b
	}
	k := v.Type.Shape[len(v.Type.Shape)-1]
	if k < 1 {
		return -1
	}
	b := len(c.parent)
	c.base[v] = b
	for i := range k {
		c.parent = append(c.parent, b+i)
		c.pinned = append(c.pinned, false)
	}
	return b
}

func (c *channels) find(i int) int {
	for c.parent[i] != i {
		c.parent[i] = c.parent[c.parent[i]]
		i = c.parent[i]
	}
	return i
}

func (c *channels) join(i, j int) {
	i, j = c.find(i), c.find(j)
	if i == j {
		return
	}
	c.parent[j] = i
	c.pinned[i] = c.pinned[i] || c.pinned[j]
}

func width(v *ir.Value) int { return v.Type.Shape[len(v.Type.Shape)-1] }

func (c *channels) pin(v *ir.Value) {
	if b := c.of(v); b >= 0 {
		for i := range width(v) {
			c.pinned[c.find(b+i)] = true
		}
	}
}

// joinAll ties channel i of a to channel i+off of b.
func (c *channels) joinAll(a, b *ir.Value, off int) {
	i, j := c.of(a), c.of(b)
	if i < 0 || j < 0 {
		c.pin(a)
		c.pin(b)
		return
	}
	for k := range width(a) {
		if k+off >= 0 && k+off < width(b) {
			c.join(i+k, j+k+off)
		}
	}
}

// channelClasses walks the graph once.
func (z *quantizer) channelClasses() *channels {
	c := newChannels()
	for _, v := range z.g.Inputs {
		c.pin(v)
	}
	for _, n := range z.g.Nodes {
		c.node(n)
	}
	for _, v := range z.g.Outputs {
		c.pin(v)
	}
	return c
}

func (c *channels) node(n *ir.Node) {
	x, y := n.In(0), n.Out()
	last := len(y.Type.Shape) - 1
	pinAll := func() {
		for _, v := range n.Inputs {
			c.pin(v)
		}
		for _, v := range n.Outputs {
			c.pin(v)
		}
	}
	switch n.Op.Name {
	case "convolution", "convolution_transpose", "dot":
		if canContract(n) != "" {
			pinAll()
			return
		}
		c.of(x)
		if c.of(y) < 0 {
			pinAll()
			return
		}
		if n.Op.Attr("activation") != nil && n.Str("activation") == "clamp" {
			c.pin(y)
		}
	case "relu", "leaky_relu", "max_pool", "average_pool", "resize":
		c.joinAll(x, y, 0)
	case "reduce_mean":
		axes, err := ir.ReduceAxes(n)
		if err != nil || slices.Contains(axes, len(x.Type.Shape)-1) {
			pinAll()
			return
		}
		c.joinAll(x, y, 0)
	case "add":
		a, b := n.In(0), n.In(1)
		if a.IsConst() || b.IsConst() || c.of(a) < 0 || c.of(b) < 0 || width(a) != width(b) {
			pinAll()
			return
		}
		c.joinAll(a, y, 0)
		c.joinAll(b, y, 0)
	case "multiply":
		a, b := n.In(0), n.In(1)
		if a.IsConst() || b.IsConst() || c.of(a) < 0 || c.of(b) < 0 || width(a) != width(b) || a == b {
			pinAll()
			return
		}
		// The factor stays, the larger operand is scaled: squeeze-excite.
		if a.Type.Shape.Elems() < b.Type.Shape.Elems() {
			a, b = b, a
		}
		c.pin(b)
		c.joinAll(a, y, 0)
	case "pad":
		if n.Str("mode") == "constant" && n.Float("value") != 0 {
			pinAll()
			return
		}
		c.joinAll(x, y, n.Ints("low")[last])
	case "slice":
		if s := n.Ints("stride"); len(s) > 0 && s[last] != 1 {
			pinAll()
			return
		}
		c.joinAll(y, x, n.Ints("start")[last])
	case "concatenate":
		a, err := ir.NormAxis(n.Int("axis"), last+1)
		if err != nil {
			pinAll()
			return
		}
		off := 0
		for _, v := range n.Inputs {
			if v.IsConst() {
				c.pin(y)
				continue
			}
			c.joinAll(v, y, off)
			if a == last {
				off += width(v)
			}
		}
	case "split":
		a, err := ir.NormAxis(n.Int("axis"), last+1)
		if err != nil {
			pinAll()
			return
		}
		off := 0
		for _, v := range n.Outputs {
			c.joinAll(v, x, off)
			if a == last {
				off += width(v)
			}
		}
	case "transpose":
		if p := n.Ints("permutation"); p[last] == last {
			c.joinAll(x, y, 0)
		} else {
			pinAll()
		}
	case "reshape":
		if c.of(x) >= 0 && c.of(y) >= 0 && width(x) == width(y) {
			c.joinAll(x, y, 0)
		} else {
			pinAll()
		}
	default:
		pinAll()
	}
}

// equalize scales channels so that, in each tensor, all use about the same
// range: a tensor has one scale in int8, and channels that use little of it
// are coarse. The float function stays the same. Channels with an upper clamp
// (ReLU6) stay as they are: a scaled one would be cut at what calibration saw,
// and rare larger values cost more than the finer levels gain (measured on
// EfficientNet-Lite0: 3 dB of the logits).
func (z *quantizer) equalize() error {
	c := z.channelClasses()
	// The tensors with channels that may be scaled, where they end up as
	// 8-bit tensors.
	var vs []*ir.Value
	for _, v := range valuesInOrder(z.g) {
		b, ok := c.base[v]
		if !ok || !z.p.wants8(v) || v.Def == nil {
			continue
		}
		for i := range width(v) {
			if !c.pinned[c.find(b+i)] {
				vs = append(vs, v)
				break
			}
		}
	}
	if len(vs) == 0 {
		return nil
	}
	top, err := z.channelTops("channel ranges", vs)
	if err != nil {
		return err
	}
	// use is, for each class, the largest share of its tensor's range that it
	// uses in any of the tensors.
	use := make([]float64, len(c.parent))
	for _, v := range vs {
		whole := slices.Max(top[v])
		if whole == 0 {
			continue
		}
		for i, m := range top[v] {
			r := c.find(c.base[v] + i)
			use[r] = max(use[r], m/whole)
		}
	}
	scale := make([]float64, len(c.parent))
	for r := range scale {
		scale[r] = 1
		if c.parent[r] != r || c.pinned[r] || use[r] == 0 {
			continue
		}
		if s := min(math.Pow(use[r], -equalizePower), equalizeCap); s > 1 {
			scale[r] = s
			z.report.Equalized++
		}
	}
	z.scaleChannels(c, scale)
	return nil
}

// channelTops gives the greatest magnitude in each channel (last axis).
func (z *quantizer) channelTops(stage string, vs []*ir.Value) (map[*ir.Value][]float64, error) {
	top := map[*ir.Value][]float64{}
	if z.like != nil {
		tops, err := z.like.takeTops(vs)
		for i, v := range vs {
			if err == nil {
				top[v] = tops[i]
			}
		}
		return top, err
	}
	var all [][]float64
	for _, v := range vs {
		top[v] = make([]float64, width(v))
		all = append(all, top[v])
	}
	z.made.tops = append(z.made.tops, all)
	err := z.watch(stage, vs, func(v *ir.Value, t *ir.Tensor) {
		m := top[v]
		x := t.F32()
		for i := 0; i < len(x); i += len(m) {
			for c, e := range x[i : i+len(m)] {
				m[c] = max(m[c], math.Abs(float64(e)))
			}
		}
	})
	return top, err
}

// scaleChannels multiplies weights: output channels by their class's factor,
// input channels by its inverse.
func (z *quantizer) scaleChannels(c *channels, scale []float64) {
	factor := func(v *ir.Value, i int) float64 {
		b, ok := c.base[v]
		if !ok {
			return 1
		}
		return scale[c.find(b+i)]
	}
	for _, n := range z.g.Nodes {
		if n.Op.Name != "convolution" && n.Op.Name != "convolution_transpose" && n.Op.Name != "dot" || canContract(n) != "" {
			continue
		}
		l := layerOf(n)
		ng := l.N / l.Groups
		cin := n.In(1).Const.Shape
		cg := cin[len(cin)-2]
		w := make([]float32, len(l.W))
		changed := false
		for k := range l.K {
			for o := range l.N {
				f := factor(n.Out(), o) / factor(n.In(0), o/ng*cg+k%cg)
				changed = changed || f != 1
				w[k*l.N+o] = float32(float64(l.W[k*l.N+o]) * f)
			}
		}
		if !changed {
			continue
		}
		n.Inputs[1] = z.g.Const(n.In(1).Name, ir.From(w, cin...))
		if l.Bias != nil {
			b := make([]float32, l.N)
			for o := range b {
				b[o] = float32(float64(l.Bias[o]) * factor(n.Out(), o))
			}
			n.Inputs[2] = z.g.Const(n.In(2).Name, ir.From(b, l.N))
		}
	}
}
