package tabular

import (
	"fmt"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

// macroLayers is the number of layers of NAS-Bench-Macro, each of one of three
// blocks.
const macroLayers = 8

var macroBlocks = []string{"identity", "mb3k3", "mb6k5"}

// readMacro reads NAS-Bench-Macro. It has three trainings a network, each with
// its accuracy on the test pictures, and no validation figure: a search sees the
// first training's, and is judged on the mean of the other two.
func readMacro(t *Table, f *file, _ map[string]string) error {
	t.Doc = "a search sees acc1, regret is on the mean of acc2 and acc3 (three trainings of each network)"
	if err := f.need("NAS-Bench-Macro", "arch", "acc1", "acc2", "acc3", "params", "flops"); err != nil {
		return err
	}
	genes := make([]gene, macroLayers)
	for i := range genes {
		genes[i] = gene{Name: fmt.Sprintf("layer%d", i+1), Options: macroBlocks}
	}
	for f.next() {
		row := Row{Name: strings.Clone(f.text("arch")), Metrics: map[string]float64{}}
		for _, c := range row.Name {
			row.Genotype = append(row.Genotype, int(c)-'0')
		}
		for _, v := range row.Genotype {
			if len(row.Genotype) != macroLayers || v < 0 || v >= len(macroBlocks) {
				return &diag.Error{Place: f.place("arch"), Found: fmt.Sprintf("%q", row.Name), Wanted: fmt.Sprintf("%d digits from 0 to %d", macroLayers, len(macroBlocks)-1)}
			}
		}
		if row.Name == "" {
			return &diag.Error{Place: f.place("arch"), Found: "nothing", Wanted: "a network's digits"}
		}
		var acc [3]float64
		for i := range acc {
			v, err := f.percent(fmt.Sprintf("acc%d", i+1))
			if err != nil {
				return err
			}
			acc[i] = v
		}
		row.Val, row.Test = acc[:1], (acc[1]+acc[2])/2
		for column, metric := range map[string]string{"params": "params", "flops": "macs"} { // its flops count a product and its sum as one
			v, err := f.number(column, 0, most)
			if err != nil {
				return err
			}
			row.Metrics[metric] = v
		}
		if err := t.add(f, row); err != nil {
			return err
		}
	}
	if err := f.done(); err != nil {
		return err
	}
	return t.finish(genes, nil)
}
