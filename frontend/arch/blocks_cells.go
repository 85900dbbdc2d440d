package arch

import (
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// cellBlocks are those of the skeleton of Dong & Yang 2020 (NAS-Bench-201).
var cellBlocks = []block{
	{"cell", "nodes that add up what comes over their edges from all earlier ones, the input being node 0", []string{"edges"}, buildCell},
	{"reduction", "act, 3x3 of the stride, act, 3x3, added to an average pool and 1x1", append([]string{"channels"}, convKeys...), buildReduction},
}

// edgeOps are what an edge of a cell may do.
var edgeOps = []string{"none", "skip", "conv1x1", "conv3x3", "avg_pool3x3"}

// mostNodes bounds a cell.
const mostNodes = 16

// buildCell reads one op an edge, node by node: 0-1, 0-2, 1-2, 0-3, 1-3, 2-3, …
func buildCell(n *net, p *params, _ int) {
	if !n.wants(4, "a picture [N,H,W,C]") {
		return
	}
	edges := p.strings("edges")
	nodes := 2
	for ; nodes < mostNodes && nodes*(nodes-1)/2 < len(edges); nodes++ {
	}
	if nodes*(nodes-1)/2 != len(edges) {
		p.fail("edges", &diag.Error{Found: fmt.Sprintf("%d edges", len(edges)), Wanted: "1, 3, 6, 10, …: one from every earlier node to each node"})
		n.broken = true
		return
	}
	for _, e := range edges {
		if !slices.Contains(edgeOps, e) {
			p.fail("edges", &diag.Error{Found: fmt.Sprintf("%q among edges", e), Wanted: fmt.Sprintf("one of %v", edgeOps)})
			n.broken = true
			return
		}
	}
	needed := neededEdges(edges, nodes)
	x := n.x
	at := make([]*ir.Value, nodes) // nil: nothing comes
	at[0] = x
	active := make([]*ir.Value, nodes) // at after its activation, once for all edges
	k := 0
	for to := 1; to < nodes; to++ {
		for from := range to {
			op := edges[k]
			if k++; !needed[k-1] || at[from] == nil {
				continue
			}
			var y *ir.Value
			name := fmt.Sprintf("edge%d-%d", from, to)
			switch op {
			case "skip":
				y = at[from]
			case "avg_pool3x3":
				n.in(name, func() {
					y = n.Op("average_pool", ir.Attrs{"kernel": []int{3, 3}, "strides": []int{1, 1}, "padding": []int{1, 1, 1, 1}}, at[from])
				})
			default:
				if active[from] == nil {
					n.in(fmt.Sprintf("node%d", from), func() { active[from] = n.act("relu", at[from]) })
				}
				c := conv{out: dim(x, -1), kernel: 3, norm: true}
				if op == "conv1x1" {
					c.kernel = 1
				}
				y = n.conv(name, active[from], c)
			}
			if at[to] != nil {
				n.in(fmt.Sprintf("node%d", to), func() { y = n.Op("add", nil, at[to], y) })
			}
			at[to] = y
		}
	}
	if n.x = at[nodes-1]; n.x == nil {
		n.in("nothing", func() { n.x = n.Op("multiply", nil, x, n.Const(n.path+".zero", ir.From([]float32{0}, 1))) })
	}
}

// neededEdges tells which edges lie on a way from a cell's input to its output:
// the others would be weights that nothing reads.
func neededEdges(edges []string, nodes int) []bool {
	index := func(from, to int) int { return to*(to-1)/2 + from }
	reached, leads := make([]bool, nodes), make([]bool, nodes)
	reached[0], leads[nodes-1] = true, true
	for to := 1; to < nodes; to++ {
		for from := range to {
			reached[to] = reached[to] || reached[from] && edges[index(from, to)] != "none"
		}
	}
	for from := nodes - 2; from >= 0; from-- {
		for to := from + 1; to < nodes; to++ {
			leads[from] = leads[from] || leads[to] && edges[index(from, to)] != "none"
		}
	}
	out := make([]bool, len(edges))
	for to := 1; to < nodes; to++ {
		for from := range to {
			i := index(from, to)
			out[i] = edges[i] != "none" && reached[from] && leads[to]
		}
	}
	return out
}

func buildReduction(n *net, p *params, i int) {
	if !n.wants(4, "a picture [N,H,W,C]") {
		return
	}
	c := convOf(p, 3, "relu", i)
	act := c.act
	c.act = "none"
	c.out = p.positive("channels", 0)
	y := n.x
	n.in("conv1", func() { y = n.act(act, y) })
	y = n.conv("conv1", y, c)
	second := c
	second.stride = 1
	n.in("conv2", func() { y = n.act(act, y) })
	y = n.conv("conv2", y, second)
	short := n.x
	n.in("shortcut", func() {
		if c.stride > 1 {
			short = n.Op("average_pool", ir.Attrs{"kernel": []int{c.stride, c.stride}, "strides": []int{c.stride, c.stride}}, short)
		}
		w := n.weight("weight", normal(1/sqrt(dim(short, -1))), 1, 1, dim(short, -1), c.out)
		short = n.Op("convolution", nil, short, w)
	})
	n.x = n.Op("add", nil, y, short)
}
