package morph

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// Growth collects the steps from a network to larger ones of its space. A step
// that cannot be taken leaves everything as it was.
type Growth struct {
	Space    *arch.Space
	Genotype arch.Genotype // where it stands
	Edits    []string      // one a step, for search.Proposal

	edited *ir.Graph // the first network after all edits
	names  map[string]string
	net    *ir.Graph // the network of Genotype
	info   *arch.Info
}

// Start begins at a network.
func Start(ctx context.Context, s *arch.Space, g arch.Genotype) (*Growth, error) {
	net, info, err := Build(ctx, s, g)
	if err != nil {
		return nil, err
	}
	m := &Growth{Space: s, Genotype: slices.Clone(g), edited: net.Clone(), net: net, info: info, names: map[string]string{}}
	for _, n := range net.Nodes {
		m.names[n.Name] = n.Name
	}
	return m, nil
}

// Stages are those of the network where the growth stands.
func (m *Growth) Stages() []arch.Stage { return m.info.Stages }

// Widen takes another option of a gene that only makes layers wider.
func (m *Growth) Widen(ctx context.Context, gene, option int) error {
	g := slices.Clone(m.Genotype)
	g[gene] = option
	return m.step(ctx, g, nil, func(int) (int, bool) { return 0, true })
}

// Deepen takes another option of a gene that says how often a stage is
// repeated, greater than the present one: the new repetitions come behind
// repetition after, with the options that choose gives for the genes that each
// has for itself (by position; the options of repetition after where it is
// nil).
func (m *Growth) Deepen(ctx context.Context, gene, option, after int, choose func(gene, was int) int) error {
	r := RepetitionsOf(m.Space, gene)
	old := r.Times(m.Genotype)
	g := slices.Clone(m.Genotype)
	g[gene] = option
	more := r.Times(g) - old
	if more < 1 || after < 0 || after >= old {
		return &diag.Error{Place: m.Space.Genes[gene].Name, Found: fmt.Sprintf("%d repetitions, and new ones behind %d", old+more, after), Wanted: fmt.Sprintf("more than %d, and one of them", old)}
	}
	for i := old + more - 1; i > after; i-- { // what stands behind moves on
		for k, to := range r.Each[i] {
			switch from := r.Each[after][k]; {
			case i > after+more:
				g[to] = m.Genotype[r.Each[i-more][k]]
			case choose != nil:
				g[to] = choose(to, m.Genotype[from])
			default:
				g[to] = m.Genotype[from]
			}
		}
	}
	// The stage of repetition after, among those that the network has.
	at := slices.Index(m.Space.Present(m.Genotype), r.Slots[after])
	if at < 0 {
		return &diag.Error{Place: m.Space.Genes[gene].Name, Found: "a stage that the network does not have", Wanted: "one that it has"}
	}
	return m.step(ctx, g, &insertion{at, more}, func(i int) (int, bool) {
		switch {
		case i <= at:
			return i, true
		case i <= at+more:
			return 0, false
		}
		return i - more, true
	})
}

// insertion is more stages behind the at-th.
type insertion struct{ at, more int }

// step goes to the network g. was gives for a stage of it the one that it was
// before; without insertion all are where they were.
func (m *Growth) step(ctx context.Context, g arch.Genotype, ins *insertion, was func(i int) (int, bool)) error {
	if err := m.Space.Check(g); err != nil {
		return err
	}
	net, info, err := Build(ctx, m.Space, g)
	if err != nil {
		return err
	}
	work := m.edited.Clone()
	var edits []string
	do := func(edit string) error {
		if _, err := Edit(ctx, work, edit); err != nil {
			return err
		}
		edits = append(edits, edit)
		return nil
	}
	if ins != nil {
		for k := ins.more; k > 0; k-- { // each directly behind: the last one first
			edit, err := m.insert(net, info, ins.at, ins.at+k)
			if err != nil {
				return err
			}
			if err := do(edit); err != nil {
				return err
			}
		}
	}
	// The layers that are wider, in order: one widening may widen others too.
	for _, n := range net.Nodes {
		to, ok := width(n)
		if !ok {
			continue
		}
		old := n.Name
		if ins != nil {
			if old, ok = renamed(n.Name, info.Stages, m.info.Stages, was); !ok {
				continue
			}
		}
		h := node(work, m.names[old])
		if h == nil {
			return &diag.Error{Place: n.Name, Found: "a layer that the network before does not have", Wanted: "the same layers"}
		}
		if from, _ := width(h); from == to {
			continue
		} else if from > to {
			return &diag.Error{Place: n.Name, Found: fmt.Sprintf("%d channels after %d", to, from), Wanted: "as many or more"}
		}
		if err := do(fmt.Sprintf("widen(node=%s,to=%d)", h.Name, to)); err != nil {
			return err
		}
	}
	have, err := trainable(ctx, work)
	if err != nil {
		return err
	}
	p, err := match(have, net)
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, n := range net.Nodes {
		names[n.Name] = p[n.Outputs[0]].Def.Name
	}
	m.Genotype, m.Edits = g, append(m.Edits, strings.Join(edits, ","))
	m.edited, m.net, m.info, m.names = work, net, info, names
	return nil
}

// insert is the pass that puts stage fresh of the new network behind the at-th
// of the present one.
func (m *Growth) insert(net *ir.Graph, info *arch.Info, at, fresh int) (string, error) {
	stage := m.info.Stages[at].Name
	if n := node(net, info.Stages[fresh].Name); n != nil && n.Op.Name == "convolution" {
		s := n.Inputs[1].Type.Shape
		return fmt.Sprintf("deepen(node=%s,kernel=%d,norm=unit)", m.names[stage], s[0]), nil
	}
	if c := node(m.net, stage+".concatenate"); c != nil {
		return fmt.Sprintf("append-layer(node=%s)", m.names[c.Name]), nil
	}
	return "", &diag.Error{Place: stage, Found: "blocks that no pass puts in without changing the function", Wanted: "block conv or dense_layer"}
}

// width is the number of channels that a node's weights make.
func width(n *ir.Node) (int, bool) {
	if n.Op.Name != "convolution" && n.Op.Name != "dot" || !n.Inputs[1].IsConst() {
		return 0, false
	}
	s := n.Inputs[1].Type.Shape
	return s[len(s)-1], true
}

func node(g *ir.Graph, name string) *ir.Node {
	for _, n := range g.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// renamed gives the name that a node of the new network had before.
func renamed(name string, now, before []arch.Stage, was func(int) (int, bool)) (string, bool) {
	for i, s := range now {
		rest, ok := strings.CutPrefix(name, s.Name)
		if !ok || rest != "" && rest[0] != '.' || strings.HasPrefix(rest, ".") && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9' {
			continue // NAME.1 is no part of NAME
		}
		old, ok := was(i)
		if !ok {
			return "", false
		}
		return before[old].Name + rest, true
	}
	return name, true
}
