package arch

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

func sqrt(n int) float64 { return math.Sqrt(float64(n)) }

var tokenBlocks = []block{
	{"patches", "a picture cut into patches of size x size, each a token of width values; class = true puts a class token first, positions = true adds an embedding", []string{"size", "width", "class", "positions"}, buildPatches},
	{"embedding", "token ids to rows of width values, plus positions and a type, normalized (Devlin et al. 2018)", []string{"width", "positions", "types", "epsilon"}, buildEmbedding},
	{"encoder", "attention of so many heads and a network of hidden values, each with a shortcut; norm = pre or post", []string{"heads", "hidden", "act", "norm", "epsilon"}, buildEncoder},
	{"mixer", "a network over the tokens and one over the values (Tolstikhin et al. 2021)", []string{"tokens", "hidden", "act", "epsilon"}, buildMixer},
	{"layer_norm", "normalizes each token", []string{"epsilon"}, func(n *net, p *params, _ int) {
		if n.wants(3, "tokens [N,T,D]") {
			n.x = n.layerNorm("norm", n.x, p.epsilon(1e-6))
		}
	}},
	{"first_token", "the first token alone", nil, func(n *net, _ *params, _ int) {
		if !n.wants(3, "tokens [N,T,D]") {
			return
		}
		d := dim(n.x, 2)
		y := n.Op("slice", ir.Attrs{"start": []int{0, 0, 0}, "limit": ir.Shape{ir.Batch, 1, d}}, n.x)
		n.x = n.Op("reshape", ir.Attrs{"shape": ir.Shape{ir.Batch, d}}, y)
	}},
}

func buildPatches(n *net, p *params, _ int) {
	if !n.wants(4, "a picture [N,H,W,C]") {
		return
	}
	size, width := p.positive("size", 0), p.positive("width", 0)
	x := n.conv("patch", n.x, conv{out: width, kernel: size, stride: size, padding: "valid"})
	t := dim(x, 1) * dim(x, 2)
	x = n.Op("reshape", ir.Attrs{"shape": ir.Shape{ir.Batch, t, width}}, x)
	// What is added to the tokens; one constant after folding. The class token is
	// a row of zeros before the others plus itself: no constant grows with the batch.
	var added *ir.Value
	if p.bool("class", false) {
		x = n.Op("pad", ir.Attrs{"low": []int{0, 1, 0}, "high": []int{0, 0, 0}}, x)
		added = n.Op("pad", ir.Attrs{"low": []int{0, 0, 0}, "high": []int{0, t, 0}}, n.weight("class", normal(0.02), 1, 1, width))
		t++
	}
	if p.bool("positions", false) {
		pos := n.weight("positions", normal(0.02), 1, t, width)
		if added == nil {
			added = pos
		} else {
			added = n.Op("add", nil, added, pos)
		}
	}
	if added != nil {
		x = n.Op("add", nil, x, added)
	}
	n.x = x
}

func buildEmbedding(n *net, p *params, _ int) {
	if n.x.Type.DType != ir.I64 || len(n.x.Type.Shape) != 2 {
		n.p.fail("block", &diag.Error{Found: fmt.Sprintf("block \"embedding\" after %v", n.x.Type), Wanted: "token ids [N,T]"})
		n.broken = true
		return
	}
	width, t := p.positive("width", 0), dim(n.x, 1)
	x := n.Op("gather", ir.Attrs{"axis": 0}, n.weight("words", normal(1), n.vocabulary, width), n.x)
	if most := p.int("positions", 0); most > 0 {
		if most < t {
			p.fail("positions", &diag.Error{Found: fmt.Sprintf("%d positions for %d tokens", most, t), Wanted: fmt.Sprintf("%d or more", t)})
			n.broken = true
			return
		}
		pos := n.Op("slice", ir.Attrs{"start": []int{0, 0}, "limit": ir.Shape{t, width}}, n.weight("positions", normal(0.3), most, width))
		x = n.Op("add", nil, x, pos)
	}
	if types := p.int("types", 0); types > 0 { // all tokens are of the first type
		first := n.Op("slice", ir.Attrs{"start": []int{0, 0}, "limit": ir.Shape{1, width}}, n.weight("types", normal(0.3), types, width))
		x = n.Op("add", nil, x, first)
	}
	n.x = n.layerNorm("norm", x, p.epsilon(1e-12))
}

func buildEncoder(n *net, p *params, _ int) {
	if !n.wants(3, "tokens [N,T,D]") {
		return
	}
	heads, hidden, eps := p.positive("heads", 0), p.positive("hidden", 0), p.epsilon(1e-6)
	act, pre := p.word("act", "gelu", acts...), p.word("norm", "pre", "pre", "post") == "pre"
	if dim(n.x, 2)%heads != 0 {
		p.fail("heads", &diag.Error{Found: fmt.Sprintf("%d values in %d heads", dim(n.x, 2), heads), Wanted: "a multiple of the heads"})
		n.broken = true
		return
	}
	part := func(name string, x *ir.Value, f func(x *ir.Value) *ir.Value) *ir.Value {
		if pre {
			return n.Op("add", nil, x, f(n.layerNorm(name, x, eps)))
		}
		return n.layerNorm(name, n.Op("add", nil, x, f(x)), eps)
	}
	x := part("norm1", n.x, func(x *ir.Value) *ir.Value { return n.attention(x, heads) })
	n.x = part("norm2", x, func(x *ir.Value) *ir.Value {
		return n.dense("out", n.dense("hidden", x, hidden, act, true), dim(x, -1), "none", true)
	})
}

// attention is multi-head self-attention (Vaswani et al. 2017).
func (n *net) attention(x *ir.Value, heads int) *ir.Value {
	t, d := dim(x, 1), dim(x, 2)
	split := func(name string) *ir.Value {
		y := n.Op("reshape", ir.Attrs{"shape": ir.Shape{ir.Batch, t, heads, d / heads}}, n.dense(name, x, d, "none", true))
		return n.Op("transpose", ir.Attrs{"permutation": []int{0, 2, 1, 3}}, y)
	}
	q, k, v := split("query"), split("key"), split("value")
	s := n.Op("dot_general", ir.Attrs{"transpose_b": true}, q, k)
	s = n.Op("multiply", nil, s, n.scalar("scale", 1/sqrt(d/heads)))
	if n.mask != nil {
		s = n.Op("add", nil, s, n.maskTerm(t))
	}
	y := n.Op("dot_general", nil, n.Op("softmax", nil, s), v)
	y = n.Op("transpose", ir.Attrs{"permutation": []int{0, 2, 1, 3}}, y)
	y = n.Op("reshape", ir.Attrs{"shape": ir.Shape{ir.Batch, t, d}}, y)
	return n.dense("project", y, d, "none", true)
}

// scalar is a fixed number, no weight.
func (n *net) scalar(name string, v float64) *ir.Value {
	return n.Const(n.path+"."+name, ir.From([]float32{float32(v)}, 1))
}

// maskTerm is 0 for tokens that count and -10000 for the others, [N,1,1,T].
func (n *net) maskTerm(t int) *ir.Value {
	m := n.Op("convert", ir.Attrs{"dtype": "f32"}, n.mask)
	m = n.Op("multiply", nil, n.Op("subtract", nil, m, n.scalar("one", 1)), n.scalar("far", 10000))
	return n.Op("reshape", ir.Attrs{"shape": ir.Shape{ir.Batch, 1, 1, t}}, m)
}

// meanTokens is the mean over the tokens that count.
func (n *net) meanTokens() {
	if n.mask == nil {
		n.x = n.Op("reduce_mean", ir.Attrs{"axes": []int{1}, "keep_dims": false}, n.x)
		return
	}
	m := n.Op("reshape", ir.Attrs{"shape": ir.Shape{ir.Batch, dim(n.x, 1), 1}}, n.Op("convert", ir.Attrs{"dtype": "f32"}, n.mask))
	sum := n.Op("reduce_sum", ir.Attrs{"axes": []int{1}, "keep_dims": false}, n.Op("multiply", nil, n.x, m))
	count := n.Op("reduce_sum", ir.Attrs{"axes": []int{1}, "keep_dims": false}, m)
	n.x = n.Op("divide", nil, sum, n.Op("maximum", nil, count, n.scalar("least", 1e-9)))
}

func buildMixer(n *net, p *params, _ int) {
	if !n.wants(3, "tokens [N,T,D]") {
		return
	}
	act, eps := p.word("act", "gelu", acts...), p.epsilon(1e-6)
	turn := func(x *ir.Value) *ir.Value { return n.Op("transpose", ir.Attrs{"permutation": []int{0, 2, 1}}, x) }
	y := turn(n.layerNorm("norm1", n.x, eps))
	y = n.dense("tokens2", n.dense("tokens1", y, p.positive("tokens", 0), act, true), dim(y, -1), "none", true)
	x := n.Op("add", nil, n.x, turn(y))
	y = n.layerNorm("norm2", x, eps)
	y = n.dense("values2", n.dense("values1", y, p.positive("hidden", 0), act, true), dim(y, -1), "none", true)
	n.x = n.Op("add", nil, x, y)
}
