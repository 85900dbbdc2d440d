package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc/backends/stablehlo"
	"github.com/nasc-dev/nasc/ir"
)

func (a *app) inspect() *cobra.Command {
	var (
		ops, dot, page, nodes, raw bool
		shapes                     shapeFlag
	)
	c := &cobra.Command{
		Use: "inspect MODEL", Short: "a model's text IR, ops and costs", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			open := ready
			if raw {
				open = readRaw
			}
			m, err := open(cmd, args[0], shapes.sets)
			if err != nil {
				return err
			}
			defer m.Close()
			if ops || dot || page || nodes || a.json {
				a.noteSets(args[0], m)
			}
			g := m.Graph()
			v := struct {
				Nodes  int            `json:"nodes"`
				Params int64          `json:"params"`
				MACs   int64          `json:"macs"`
				Bytes  int64          `json:"bytes"`
				Ops    map[string]int `json:"ops"`
				File   int64          `json:"file_bytes,omitempty"` // where constants are packed, less than theirs
			}{len(g.Nodes), g.Params(), g.MACs(), g.ConstBytes(), g.OpCounts(), fileBytes(args[0])}
			return a.show(v, func(w io.Writer) {
				switch {
				case ops:
					opsText(w, g)
				case dot:
					dotText(w, g)
				case page:
					fmt.Fprint(w, graphPage(args[0], g))
				case nodes:
					nodesText(w, g)
				default:
					for _, g := range m.Module.Graphs {
						fmt.Fprint(w, g.Body())
					}
					batch := ""
					if slices.ContainsFunc(g.Inputs, func(x *ir.Value) bool { return !x.Type.Shape.Static() }) {
						batch = " (batch 1)"
					}
					fmt.Fprintf(w, "# %d nodes, %s parameters, %s MACs, %s of constants%s\n", v.Nodes, countText(v.Params), countText(v.MACs), bytesText(v.Bytes), batch)
					if v.File > 0 {
						fmt.Fprintf(w, "# a file of %s\n", bytesText(v.File))
					}
				}
			})
		},
	}
	f := c.Flags()
	f.BoolVar(&ops, "ops", false, "ops and which targets have them")
	f.BoolVar(&dot, "dot", false, "the graph for Graphviz")
	f.BoolVar(&page, "html", false, "the graph as a page")
	f.BoolVar(&nodes, "nodes", false, "MACs, parameters and bytes of each node")
	f.BoolVar(&raw, "raw", false, "as imported, before any pass")
	shapes.flag(f)
	return c
}

func opsText(w io.Writer, g *ir.Graph) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "op\tnodes\treference, cpu\tStableHLO")
	counts := g.OpCounts()
	for _, op := range slices.Sorted(maps.Keys(counts)) {
		xla := "yes"
		if !stablehlo.Supports(op) {
			xla = "no"
		}
		fmt.Fprintf(t, "%s\t%d\tyes\t%s\n", op, counts[op], xla)
	}
	t.Flush()
}

// fileBytes is the size of a .nasc file, 0 of others.
func fileBytes(path string) int64 {
	st, err := os.Stat(path)
	if err != nil || filepath.Ext(path) != ".nasc" {
		return 0
	}
	return st.Size()
}

func nodesText(w io.Writer, g *ir.Graph) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "MACs\tparams\tbytes\top\tresult\tnode\t")
	for _, n := range g.Nodes {
		var params int64
		for _, v := range n.Inputs {
			if v.IsConst() {
				params += int64(v.Const.Len())
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%v\t%s\t\n", countText(n.Op.MACs(n)), countText(params), bytesText(n.Bytes()), n.Op.Name, n.Outputs[0].Type, n.Label())
	}
	t.Flush()
}

func dotText(w io.Writer, g *ir.Graph) {
	fmt.Fprintf(w, "digraph %q {\n  node [shape=box, fontname=\"sans-serif\", style=filled, fillcolor=white];\n", g.Name)
	id := map[*ir.Value]string{}
	for i, v := range g.Inputs {
		id[v] = fmt.Sprintf("i%d", i)
		fmt.Fprintf(w, "  i%d [label=%q, shape=oval];\n", i, v.Name+"\n"+v.Type.String())
	}
	for i, n := range g.Nodes {
		colour := "white"
		if n.Op.Class == ir.Quantized {
			colour = "lightsteelblue"
		}
		fmt.Fprintf(w, "  n%d [label=%q, fillcolor=%s];\n", i, n.Op.Name+"\n"+n.Label()+"\n"+n.Outputs[0].Type.Shape.String(), colour)
		for _, v := range n.Inputs {
			if v != nil && v.Const == nil {
				fmt.Fprintf(w, "  %s -> n%d;\n", id[v], i)
			}
		}
		for _, v := range n.Outputs {
			id[v] = fmt.Sprintf("n%d", i)
		}
	}
	for i, v := range g.Outputs {
		fmt.Fprintf(w, "  o%d [label=%q, shape=oval];\n", i, v.Name+"\n"+v.Type.String())
		if v.Const == nil {
			fmt.Fprintf(w, "  %s -> o%d;\n", id[v], i)
		}
	}
	fmt.Fprintln(w, "}")
}

// plainNames shortens long labels for pictures.
func plainNames(s string) string {
	if i := strings.LastIndexAny(s, "/"); i >= 0 && i < len(s)-1 {
		s = s[i+1:]
	}
	if len(s) > 40 {
		s = "…" + s[len(s)-39:]
	}
	return s
}
