package tables

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

const magic = "# nasc search table"

// columns are the table's, see search/tabular/README.md.
func (t *Table) columns() []string {
	c := []string{"genotype"}
	for _, g := range t.Space.Genes {
		c = append(c, g.Name)
	}
	for _, kind := range []string{"val", "test", "curve"} {
		for s := range t.Seeds {
			c = append(c, fmt.Sprintf("%s_seed%d", kind, s))
		}
	}
	return append(c, "ms", "params", "macs", "bytes", "ms_f32", "weights")
}

// write writes the whole table, to a new file that takes its place at the end.
func (t *Table) write(path string, j *journal, rounds int) error {
	var b bytes.Buffer
	b.Write(t.header(magic))
	fmt.Fprintf(&b, "# rebuild: %s -o FILE; a row: the same with --row K\n", t.Command())
	fmt.Fprintf(&b, "# device: %s\n", j.device)
	fmt.Fprintf(&b, "# ms: cpu-int8, one thread, batch 1, the median of %d rounds; ms_f32: cpu-f32; bytes: the int8 file; weights: digests of the trained numbers\n", rounds)
	w := csv.NewWriter(&b)
	_ = w.Write(t.columns()) // a bytes.Buffer does not fail
	for _, g := range t.Networks {
		_ = w.Write(t.row(j, g, rounds))
	}
	w.Flush()
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b.Bytes(), 0o644); err != nil {
		return diag.At(path, err)
	}
	return diag.At(path, os.Rename(tmp, filepath.Clean(path)))
}

func (t *Table) row(j *journal, g arch.Genotype, rounds int) []string {
	name := g.String()
	row := []string{name}
	active := search.ActiveGenes(search.ArchSpace{Space: t.Space}, g)
	for i := range g {
		text := ""
		if slices.Contains(active, i) {
			text = cells(t.Space.Genes[i])[g[i]]
		}
		row = append(row, text)
	}
	var val, test, curve, digests []string
	for s := range t.Seeds {
		v := j.trained[trainKey{name, s}]
		val, test = append(val, number(v.Val)), append(test, number(v.Test))
		curve, digests = append(curve, curveText(v.Curve)), append(digests, v.Weights)
	}
	row = slices.Concat(row, val, test, curve)
	ms := make([]string, len(Targets))
	for k, target := range Targets {
		var all []float64
		for r := range rounds {
			all = append(all, j.times[timeKey{name, target, r}])
		}
		slices.Sort(all)
		ms[k] = strconv.FormatFloat(all[(len(all)-1)/2], 'g', 4, 64)
	}
	s := j.sizes[name]
	row = append(row, ms[0], strconv.FormatInt(s.Params, 10), strconv.FormatInt(s.MACs, 10), strconv.FormatInt(s.Bytes, 10))
	return append(append(row, ms[1:]...), strings.Join(digests, " "))
}

var blockName = regexp.MustCompile(`block = "(\w+)"`)

// cells are the texts of a choice's options: as the space writes them, and the
// blocks' names where an option is a list of stages.
func cells(g arch.Gene) []string {
	out := slices.Clone(g.Options)
	for i, o := range g.Options {
		if o == "[]" {
			out[i] = "none"
		} else if names := blockName.FindAllStringSubmatch(o, -1); names != nil {
			var s []string
			for _, n := range names {
				s = append(s, n[1])
			}
			out[i] = strings.Join(s, "+")
		}
	}
	for i := range out {
		if out[i] == "" || slices.Contains(out[:i], out[i]) {
			for k := range out {
				out[k] = "option " + strconv.Itoa(k)
			}
			return out
		}
	}
	return out
}

// Check is what rebuilding a row gave.
type Check struct {
	Row      int        `json:"row"`
	Genotype string     `json:"genotype"`
	Seeds    []Training `json:"seeds"`
	Other    []string   `json:"other,omitempty"` // columns that the table has otherwise
	Same     bool       `json:"same"`
}

// CheckRow trains row k of a finished table anew and compares what it gives.
func (t *Table) CheckRow(ctx context.Context, path string, k int) (*Check, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, diag.At(path, err)
	}
	if head := t.header(magic); !bytes.HasPrefix(b, head) {
		return nil, &diag.Error{Place: path, Found: strings.TrimSpace(firstOther(b, head)), Wanted: "the space, data and settings it was made with:\n" + strings.TrimSpace(string(head)), Fix: "the line \"# rebuild\" in the table has the command"}
	}
	r := csv.NewReader(bytes.NewReader(b))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		return nil, diag.At(path, err)
	}
	if k < 0 || k >= len(rows)-1 {
		return nil, &diag.Error{Place: "--row", Found: strconv.Itoa(k), Wanted: fmt.Sprintf("0 to %d", len(rows)-2)}
	}
	header, row := rows[0], rows[k+1]
	at := slices.IndexFunc(t.Networks, func(g arch.Genotype) bool { return g.String() == row[0] })
	if at < 0 || !slices.Equal(header, t.columns()) {
		return nil, &diag.Error{Place: path, Found: "columns or a network that the command does not make", Wanted: strings.Join(t.columns(), ",")}
	}
	c := &Check{Row: k, Genotype: row[0]}
	var digests []string
	for s := range t.Seeds {
		v, err := t.Train(ctx, at, s)
		if err != nil {
			return nil, err
		}
		c.Seeds, digests = append(c.Seeds, v), append(digests, v.Weights)
		for name, text := range map[string]string{"val": number(v.Val), "test": number(v.Test), "curve": curveText(v.Curve)} {
			c.compare(header, row, fmt.Sprintf("%s_seed%d", name, s), text)
		}
	}
	s, err := t.Sizes(ctx, at)
	if err != nil {
		return nil, err
	}
	c.compare(header, row, "weights", strings.Join(digests, " "))
	c.compare(header, row, "params", strconv.FormatInt(s.Params, 10))
	c.compare(header, row, "macs", strconv.FormatInt(s.MACs, 10))
	c.compare(header, row, "bytes", strconv.FormatInt(s.Bytes, 10))
	slices.Sort(c.Other)
	c.Same = len(c.Other) == 0
	return c, nil
}

func (c *Check) compare(header, row []string, column, text string) {
	if was := row[slices.Index(header, column)]; was != text {
		c.Other = append(c.Other, fmt.Sprintf("%s: %s, the table has %s", column, text, was))
	}
}
