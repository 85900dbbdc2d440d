package latency

// subset is some networks of a source.
type subset struct {
	Source
	of []int
}

func (s subset) Len() int               { return len(s.of) }
func (s subset) At(i int) (Work, error) { return s.Source.At(s.of[i]) }
func (s subset) Name(i int) string      { return s.Source.Name(s.of[i]) }

// loud are the networks of a source that the table has without quiet alone: a
// profile that has measured all the others measures them again.
func (t *Table) loud(src Source) Source {
	quiet := map[string]bool{}
	for i, still := range t.still() {
		if still {
			quiet[t.Nets[i].Name] = true
		}
	}
	s := subset{Source: src}
	for i := range src.Len() {
		if name := src.Name(i); t.whole[name] && !quiet[name] {
			s.of = append(s.of, i)
		}
	}
	return s
}

// superseded says of each network whether it was measured again in quiet.
func (t *Table) superseded() []bool {
	last := map[string]int{}
	for i, n := range t.Nets {
		last[n.Name] = i
	}
	out := make([]bool, len(t.Nets))
	for i, n := range t.Nets {
		out[i] = last[n.Name] != i
	}
	return out
}

// compacted is the table without what was measured again.
func (t *Table) compacted() *Table {
	out := &Table{Facts: t.Facts, Rows: t.Rows}
	for i, gone := range t.superseded() {
		if !gone {
			out.Nets = append(out.Nets, t.Nets[i])
		}
	}
	return out
}
