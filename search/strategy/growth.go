package strategy

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/morph"
	"github.com/nasc-dev/nasc/search/strategy/controller"
)

// ground is a space as growing strategies see it: which choices make layers
// wider, which make blocks deeper, and the words for its layers.
type ground struct {
	space  *arch.Space
	slots  [][]int
	wide   map[int]bool // genes
	blocks []block
	kinds  int // most options of what a new layer is
	tokens map[string]int32
	setup  search.Setup
}

// block is a stage that can become deeper.
type block struct {
	gene   int
	reps   *morph.Repetitions
	banned bool
}

// widths are the keys of choices that make a layer wider.
var widths = []string{"channels", "growth", "out", "expand", "hidden", "expansion", "share", "width"}

func newGround(s search.Setup) (*ground, error) {
	a, ok := s.Space.(search.ArchSpace)
	if !ok {
		return nil, &diag.Error{Place: "space " + s.Space.Name(), Found: "a space without networks that can grow", Wanted: "an architecture file's"}
	}
	w := &ground{space: a.Space, slots: a.Slots(), wide: map[int]bool{}, kinds: 1, tokens: map[string]int32{}, setup: s}
	for i, g := range a.Space.Genes {
		if !rising(g.Options) {
			continue
		}
		switch key := g.Name[strings.LastIndex(g.Name, ".")+1:]; {
		case slices.Contains(widths, key):
			w.wide[i] = true
		case key == "repeat":
			r := morph.RepetitionsOf(a.Space, i)
			if len(r.Each[0]) > 1 {
				continue // a new layer is one decision
			}
			w.blocks = append(w.blocks, block{gene: i, reps: r})
			for _, k := range r.Each[0] {
				w.kinds = max(w.kinds, len(a.Space.Genes[k].Options))
			}
		}
	}
	if len(w.wide)+len(w.blocks) == 0 {
		return nil, &diag.Error{Place: "space " + a.Name(), Found: "no choice of widths or repetitions", Wanted: "something that can grow", Fix: "take another strategy"}
	}
	return w, nil
}

// rising says whether options are numbers, each greater than the one before.
func rising(options []string) bool {
	last := 0.0
	for i, o := range options {
		v, err := strconv.ParseFloat(o, 64)
		if err != nil || i > 0 && v <= last {
			return false
		}
		last = v
	}
	return len(options) > 1
}

// smallest is where growing begins: the first option of everything, but
// kernels of 3, and of alternatives the one with the most to widen.
func (w *ground) smallest() search.Genotype {
	g := make(search.Genotype, len(w.space.Genes))
	grows := func(g search.Genotype) int {
		n := 0
		w.space.Active(g, func(i int) {
			if w.wide[i] {
				n++
			}
		})
		return n
	}
	var decided []int
	w.space.Active(g, func(i int) { decided = append(decided, i) })
	for k := 0; k < len(decided); k++ { // later ones may come by earlier ones
		i := decided[k]
		gene := w.space.Genes[i]
		switch {
		case strings.HasSuffix(gene.Name, ".kernel"):
			g[i] = max(0, slices.Index(gene.Options, "3"))
		case !rising(gene.Options):
			most := grows(g)
			for v := range gene.Options {
				o := w.space.Canonical(g)
				o[i] = v
				if n := grows(w.space.Canonical(o)); n > most {
					most, g[i] = n, v
				}
			}
		}
		decided = decided[:0]
		w.space.Active(g, func(i int) { decided = append(decided, i) })
	}
	return w.space.Canonical(g)
}

// most is the greatest number of layers, and vocabulary how many words for
// them there can be.
func (w *ground) size() (length, depth, vocabulary int) {
	words := map[string]int{}
	for _, genes := range w.slots {
		n := 1
		var key strings.Builder
		for _, i := range genes {
			g := w.space.Genes[i]
			if !strings.HasSuffix(g.Name, ".repeat") {
				n *= len(g.Options)
			}
			key.WriteString(strings.Join(g.Options, " ") + g.Name[:strings.Index(g.Name+".", ".")] + "\n")
		}
		words[key.String()] = max(words[key.String()], n)
	}
	for _, n := range words {
		vocabulary += n
	}
	depth = 1
	for _, b := range w.blocks {
		depth = max(depth, len(b.reps.Slots))
	}
	return len(w.slots), depth, vocabulary + len(w.slots) + 1
}

// words are the tokens of a network's layers.
func (w *ground) words(m *morph.Growth) []int32 {
	var out []int32
	for _, s := range m.Stages() {
		t, ok := w.tokens[s.Params]
		if !ok {
			t = int32(len(w.tokens) + 1)
			w.tokens[s.Params] = t
		}
		out = append(out, t)
	}
	return out
}

// widest lists for each layer the gene that makes it wider, −1 where nothing
// can, or an earlier layer decides it.
func (w *ground) widest(m *morph.Growth) []int {
	taken := map[int]bool{}
	var out []int
	for _, slot := range w.space.Present(m.Genotype) {
		at := -1
		for _, g := range w.slots[slot] {
			if w.wide[g] && !taken[g] && m.Genotype[g]+1 < len(w.space.Genes[g].Options) && w.active(m.Genotype, g) {
				at = g
				break
			}
		}
		if at >= 0 {
			taken[at] = true
		}
		out = append(out, at)
	}
	return out
}

func (w *ground) active(g search.Genotype, gene int) bool {
	found := false
	w.space.Active(g, func(i int) { found = found || i == gene })
	return found
}

// layers gives for each block how many it has, 0 where it can have no more.
func (w *ground) layers(m *morph.Growth) []int {
	out := make([]int, len(w.blocks))
	for i, b := range w.blocks {
		if !b.banned && w.active(m.Genotype, b.gene) && m.Genotype[b.gene]+1 < len(w.space.Genes[b.gene].Options) {
			out[i] = b.reps.Times(m.Genotype)
		}
	}
	return out
}

// try takes a step unless it breaks a limit that needs no training. A step that
// no pass can take is never tried again: ban.
func (w *ground) try(m *morph.Growth, step func() error, ban func()) error {
	before := *m
	if err := step(); err != nil {
		ban()
		return nil
	}
	if w.setup.Cheap == nil || len(w.setup.Goal.Limits) == 0 {
		return nil
	}
	metrics, err := w.setup.Cheap(m.Genotype)
	if err != nil {
		return err
	}
	if w.setup.Goal.Violation(metrics) > 0 {
		*m = before
	}
	return nil
}

func (w *ground) widen(ctx context.Context, m *morph.Growth, gene int) error {
	return w.try(m, func() error { return m.Widen(ctx, gene, m.Genotype[gene]+1) }, func() { delete(w.wide, gene) })
}

func (w *ground) deepen(ctx context.Context, m *morph.Growth, c controller.DeepChoice) error {
	b := &w.blocks[c.Block]
	return w.try(m, func() error {
		return m.Deepen(ctx, b.gene, m.Genotype[b.gene]+1, c.After, func(gene, _ int) int {
			return min(c.Kind, len(w.space.Genes[gene].Options)-1)
		})
	}, func() { b.banned = true })
}

// policy decides how networks grow, and learns from what came of it.
type policy interface {
	Widen(states []controller.WideState, u func() float64) ([][]bool, error)
	Deepen(states []controller.DeepState, u func() float64) ([]controller.DeepChoice, error)
	Learn(wide []controller.WideStep, deep []controller.DeepStep) error
}

// chance is the policy that has learned nothing: each layer becomes wider with
// a chance of one in two, and where and what comes next is equally likely.
type chance struct{ kinds int }

func (chance) Widen(states []controller.WideState, u func() float64) ([][]bool, error) {
	out := make([][]bool, len(states))
	for i, s := range states {
		out[i] = make([]bool, len(s.May))
		for k, may := range s.May {
			out[i][k] = u() < 0.5 && may
		}
	}
	return out, nil
}

func (c chance) Deepen(states []controller.DeepState, u func() float64) ([]controller.DeepChoice, error) {
	out := make([]controller.DeepChoice, len(states))
	for i, s := range states {
		var may []int
		for b, n := range s.Layers {
			if n > 0 {
				may = append(may, b)
			}
		}
		b := may[int(u()*float64(len(may)))]
		out[i] = controller.DeepChoice{Block: b, After: int(u() * float64(s.Layers[b])), Kind: int(u() * float64(c.kinds))}
	}
	return out, nil
}

func (chance) Learn([]controller.WideStep, []controller.DeepStep) error { return nil }

// uniform gives the numbers that a policy draws by.
func uniform(seed uint64) func() float64 {
	return rand.New(rand.NewPCG(seed, 0x67726f7774680a)).Float64
}
