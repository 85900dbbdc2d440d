package tabular

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

// cellOps are the ops on the six edges of a NAS-Bench-201 cell.
var cellOps = []string{"none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"}

// cellEdges are the edges in the order in which a cell's name lists them.
var cellEdges = [][2]int{{0, 1}, {0, 2}, {1, 2}, {0, 3}, {1, 3}, {2, 3}}

// readNASBench201 reads the cells with one data set's accuracies: a search sees
// the one validation figure that the table has.
func readNASBench201(t *Table, f *file, options map[string]string) error {
	data := options["data"]
	t.Name = "nasbench201-" + data
	t.Doc = "a search sees " + data + "_val, regret is on " + data + "_test; ms: one core of a Xeon Gold 6226"
	if err := f.need("NAS-Bench-201", "arch", data+"_val", data+"_test", "latency_gold6226"); err != nil {
		return err
	}
	genes := make([]gene, len(cellEdges))
	for i, e := range cellEdges {
		genes[i] = gene{Name: fmt.Sprintf("edge%d-%d", e[0], e[1]), Options: cellOps}
	}
	for f.next() {
		g, err := parseCell(f.text("arch"))
		if err != nil {
			return diag.At(f.place("arch"), err)
		}
		val, err := f.percent(data + "_val")
		if err != nil {
			return err
		}
		test, err := f.percent(data + "_test")
		if err != nil {
			return err
		}
		ms, err := f.number("latency_gold6226", 0, most)
		if err != nil {
			return err
		}
		row := Row{Name: strings.Clone(f.text("arch")), Genotype: g, Val: []float64{val}, Test: test, Metrics: map[string]float64{"ms": ms}}
		if err := t.add(f, row); err != nil {
			return err
		}
	}
	if err := f.done(); err != nil {
		return err
	}
	return t.finish(genes, nil)
}

// parseCell reads |op~0|+|op~0|op~1|+|op~0|op~1|op~2|.
func parseCell(s string) (search.Genotype, error) {
	var g search.Genotype
	for node, part := range strings.Split(s, "+") {
		for _, f := range strings.Split(strings.Trim(part, "|"), "|") {
			op, from, _ := strings.Cut(f, "~")
			v := slices.Index(cellOps, op)
			if v < 0 || len(g) == len(cellEdges) || from != fmt.Sprint(cellEdges[len(g)][0]) || node+1 != cellEdges[len(g)][1] {
				return nil, &diag.Error{Found: fmt.Sprintf("%q in %q", f, s), Wanted: "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|, op one of " + strings.Join(cellOps, ", ")}
			}
			g = append(g, v)
		}
	}
	if len(g) != len(cellEdges) {
		return nil, &diag.Error{Found: fmt.Sprintf("%d ops in %q", len(g), s), Wanted: fmt.Sprint(len(cellEdges))}
	}
	return g, nil
}
