package latency

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Series is rows of a table that differ in their output channels only.
type Series struct {
	Name   string
	Family string
	Points [][2]float64 // channels, µs; rising
}

// Series finds rows that differ in their output channels only, three or more
// together.
func (t *Table) Series() []Series {
	by := map[string]*Series{}
	var order []string
	for _, r := range t.Rows {
		k, err := parseKey(r.Key)
		if err != nil || len(k.out) == 0 || len(k.in) == 0 || len(k.w) == 0 {
			continue
		}
		out := k.out[0]
		id := fmt.Sprint(k.sig, k.in[0].dims, out.dims[:max(len(out.dims)-1, 0)], k.w[0].dims[:max(len(k.w[0].dims)-1, 0)])
		if k.family == "depthwise convolution" { // whose input varies with it
			id = fmt.Sprint(k.sig, k.in[0].dims[:max(len(k.in[0].dims)-1, 0)], out.dims[:max(len(out.dims)-1, 0)])
		}
		s := by[id]
		if s == nil {
			s = &Series{Name: fmt.Sprintf("%s, %s of %v", strings.Join(k.ops, "+"), k.attrs["strides"], k.in[0].dims), Family: k.family}
			by[id] = s
			order = append(order, id)
		}
		s.Points = append(s.Points, [2]float64{out.last(), r.Median})
	}
	var out []Series
	for _, id := range order {
		s := by[id]
		slices.SortFunc(s.Points, func(a, b [2]float64) int { return cmp.Compare(a[0], b[0]) })
		if len(s.Points) >= 3 && s.Points[0][0] != s.Points[len(s.Points)-1][0] {
			out = append(out, *s)
		}
	}
	return out
}
