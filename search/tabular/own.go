package tabular

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

// readOwn reads a table of nasc search table (README.md has the columns).
func readOwn(t *Table, f *file, _ map[string]string) error {
	t.Doc = "a search sees the validation accuracy of one seed of training, picked by the trial's seed; regret is on the mean test accuracy of all"
	if err := f.need("nasc", "genotype", "val_seed0", "test_seed0", "ms", "params", "macs", "bytes"); err != nil {
		return err
	}
	first, last := slices.Index(f.header, "genotype")+1, slices.Index(f.header, "val_seed0")
	if first != 1 || last < first {
		return &diag.Error{Place: f.path, Found: "columns " + strings.Join(f.header, ","), Wanted: "genotype, the choices, val_seed0, …"}
	}
	seeds := 0
	for slices.Contains(f.header, fmt.Sprintf("val_seed%d", seeds)) {
		if err := f.need("nasc", fmt.Sprintf("test_seed%d", seeds)); err != nil {
			return err
		}
		seeds++
	}
	curves := slices.Contains(f.header, "curve_seed0")
	if curves {
		if err := f.need("nasc", fmt.Sprintf("curve_seed%d", seeds-1)); err != nil {
			return err
		}
	}
	genes := make([]gene, last-first)
	for i := range genes {
		genes[i].Name = f.header[first+i]
	}
	var active [][]bool
	epochs := 0
	for f.next() {
		row := Row{Name: strings.Clone(f.text("genotype")), Metrics: map[string]float64{}}
		on, err := f.genotype(&row, genes)
		if err != nil {
			return err
		}
		active = append(active, on)
		for s := range seeds {
			val, err := f.number(fmt.Sprintf("val_seed%d", s), 0, 1)
			if err != nil {
				return err
			}
			test, err := f.number(fmt.Sprintf("test_seed%d", s), 0, 1)
			if err != nil {
				return err
			}
			row.Val = append(row.Val, val)
			row.Test += test / float64(seeds)
			if !curves {
				continue
			}
			column := fmt.Sprintf("curve_seed%d", s)
			var curve []float64
			for text := range strings.FieldsSeq(f.text(column)) {
				v, err := f.parse(column, text, 0, 1)
				if err != nil {
					return err
				}
				curve = append(curve, v)
			}
			if epochs == 0 {
				epochs = len(curve)
			}
			if len(curve) == 0 || len(curve) != epochs {
				return &diag.Error{Place: f.place(column), Found: fmt.Sprintf("%d epochs", len(curve)), Wanted: fmt.Sprintf("as many in each row, at least one; the first row has %d", epochs)}
			}
			row.Curves = append(row.Curves, curve)
		}
		for _, m := range []string{"ms", "params", "macs", "bytes"} {
			v, err := f.number(m, 0, most)
			if err != nil {
				return err
			}
			row.Metrics[m] = v
		}
		if err := t.add(f, row); err != nil {
			return err
		}
	}
	if err := f.done(); err != nil {
		return err
	}
	for _, g := range genes {
		if i := slices.Index(g.Options, ""); i >= 0 {
			return &diag.Error{Place: f.path, Found: fmt.Sprintf("no network with option %d of %s", i, g.Name), Wanted: "all networks of the space"}
		}
	}
	return t.finish(genes, active)
}

// genotype reads a row's genotype and holds it to the cells of the choices,
// whose texts name the options; an empty cell is a choice that is not there.
func (f *file) genotype(row *Row, genes []gene) ([]bool, error) {
	const maxOptions = 1 << 12
	on := make([]bool, len(genes))
	numbers := strings.Split(row.Name, ".")
	if len(genes) == 0 && row.Name == "" {
		numbers = nil
	}
	if len(numbers) != len(genes) {
		return nil, &diag.Error{Place: f.place("genotype"), Found: fmt.Sprintf("%q", row.Name), Wanted: fmt.Sprintf("%d numbers with dots between them", len(genes))}
	}
	row.Genotype = make(search.Genotype, len(genes))
	for i, text := range numbers {
		v, err := strconv.Atoi(text)
		if err != nil || v < 0 || v >= maxOptions {
			return nil, &diag.Error{Place: f.place("genotype"), Found: fmt.Sprintf("%q", text), Wanted: "the number of an option"}
		}
		cell := f.row[1+i]
		on[i] = cell != ""
		row.Genotype[i] = v
		if !on[i] {
			if v != 0 {
				return nil, &diag.Error{Place: f.place(genes[i].Name), Found: fmt.Sprintf("nothing, where the genotype has %d", v), Wanted: "the option's text, or 0 in the genotype"}
			}
			continue
		}
		for len(genes[i].Options) <= v {
			genes[i].Options = append(genes[i].Options, "")
		}
		if was := genes[i].Options[v]; was != "" && was != cell {
			return nil, &diag.Error{Place: f.place(genes[i].Name), Found: fmt.Sprintf("%q for option %d", cell, v), Wanted: fmt.Sprintf("%q, as in rows before", was)}
		}
		genes[i].Options[v] = strings.Clone(cell)
	}
	return on, nil
}
