package passes

import (
	"maps"
	"slices"
	"strconv"

	"github.com/nasc-dev/nasc/ir"
)

// addBranch replicates a path; each replica gives its share.
//
//	%y = convolution %x @w activation="relu"   →   %a = convolution %x @w activation="relu"
//	                                               %b = convolution %x @w activation="relu"
//	                                               %y = add (%a · ½) (%b · ½)
//
// copies=2 replicas by default; the path is one layer (with its batch norm and
// activation), or reaches back to the node from=. Exact for 2, 4, 8 … replicas.
func addBranch(g *ir.Graph, a Args) (*Grown, error) {
	copies, err := a.whole("copies", 2, 2)
	if err != nil {
		return nil, err
	}
	return sites(g, a, func(e *growing, n *ir.Node) (bool, string, error) {
		if n.Op.Name != "convolution" && n.Op.Name != "dot" && (a["node"] == "" || a["from"] == "") {
			return false, "", nil
		}
		end := n.Out()
		if n.Op.Attr("activation") != nil {
			end, _, _ = e.layer(n)
		}
		if !end.Type.DType.IsFloat() {
			return false, "its result is no float", nil
		}
		path, why := e.path(n, end, a["from"])
		if why != "" {
			return false, why, nil
		}
		var ends []*ir.Value
		for i := range copies - 1 {
			v, err := e.replicate(path, end, "~branch"+strconv.Itoa(i+2))
			if err != nil {
				return false, "", err
			}
			ends = append(ends, v)
		}
		return true, "", e.after(end, func(v *ir.Value) (*ir.Value, error) {
			share := ir.NewTensor(v.Type.DType)
			share.Set(0, 1/float64(copies))
			s := e.g.Const(n.Label()+".share", share)
			sum, err := e.add(n, "multiply", nil, v, s)
			for _, w := range ends {
				if err != nil {
					return nil, err
				}
				if w, err = e.add(n, "multiply", nil, w, s); err == nil {
					sum, err = e.add(n, "add", nil, sum, w)
				}
			}
			return sum, err
		})
	})
}

// path lists the nodes from the one named first (n itself without one) up to
// end; nothing inside may be read outside.
func (e *growing) path(n *ir.Node, end *ir.Value, first string) ([]*ir.Node, string) {
	start := n
	if first != "" {
		i := slices.IndexFunc(e.g.Nodes, Args{"node": first}.takes)
		if i < 0 {
			return nil, "there is no node from=" + first
		}
		start = e.g.Nodes[i]
	}
	on := map[*ir.Node]bool{start: true} // reached from start
	for _, k := range e.g.Nodes {
		for _, v := range k.Inputs {
			if v != nil && v.Def != nil && on[v.Def] {
				on[k] = true
			}
		}
	}
	if !on[end.Def] {
		return nil, "no path leads to it from " + first
	}
	var back func(k *ir.Node)
	need := map[*ir.Node]bool{}
	back = func(k *ir.Node) {
		if need[k] || !on[k] {
			return
		}
		need[k] = true
		if k == start {
			return
		}
		for _, v := range k.Inputs {
			if v != nil && v.Def != nil {
				back(v.Def)
			}
		}
	}
	back(end.Def)
	var path []*ir.Node
	for _, k := range e.g.Nodes {
		if !need[k] {
			continue
		}
		path = append(path, k)
	}
	return path, ""
}

// replicate copies nodes, each constant shared, and gives what end is among
// the copies.
func (e *growing) replicate(path []*ir.Node, end *ir.Value, suffix string) (*ir.Value, error) {
	copied := map[*ir.Value]*ir.Value{}
	for _, k := range path {
		in := slices.Clone(k.Inputs)
		for i, v := range in {
			if c := copied[v]; c != nil && v != nil {
				in[i] = c
			} else if v.IsConst() {
				in[i] = e.g.Const(v.Name, v.Const.Clone())
				e.grown.Copied = append(e.grown.Copied, everyElement(in[i]))
			}
		}
		c, err := e.g.AddNamed(k.Op.Name, k.Out().Name, maps.Clone(k.Attrs), in...)
		if err != nil {
			return nil, err
		}
		if k.Name != "" {
			c.Name = k.Name + suffix
		}
		for i, v := range k.Outputs {
			copied[v] = c.Outputs[i]
		}
	}
	return copied[end], nil
}
