package strategy

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/search"
)

// mcts walks down the tree of choices, in each to the option with the highest
// upper confidence bound, and draws what comes below the walked part with
// chances that follow how networks with an option fared wherever it stood (move
// average sampling). Options of a choice come into play a few at a time, the
// promising ones first, so that a choice of hundreds does not eat the budget.
type mcts struct {
	*pool
	explore     float64 // weight of the bound's width
	temperature float64 // of the draws below
	widen       float64 // options in play: widen·√visits, at least minPlay
	power       float64 // of the reward

	root  *mctsNode
	means [][]mean // by choice and option
	known []*search.Trial
	rank  []*search.Trial // known trials, the worst first, when the rewards were last reckoned
	next  int             // trials told when they are reckoned again
}

// mctsNode is what is known below some choices.
type mctsNode struct {
	visits, out int     // told, and asked for and not told
	reward      float64 // sum
	closed      bool    // nothing below it is left to ask for
	next        []*mctsNode
}

type mean struct {
	sum float64
	n   int
}

const (
	minPlay = 5 // options of a choice that are in play from the beginning
	drawn   = 2 // visits of a node, times its options, before its bounds count
)

func newMCTS(s search.Setup) (search.Strategy, error) {
	m := &mcts{pool: newPool(s, "mcts"), root: &mctsNode{}}
	for _, o := range []struct {
		name   string
		to     *float64
		lo, hi float64
	}{{"explore", &m.explore, 0, 100}, {"temperature", &m.temperature, 1e-3, 100}, {"widen", &m.widen, 0.1, 1e6}, {"power", &m.power, 0.1, 100}} {
		v, err := number(s, o.name, o.lo, o.hi)
		if err != nil {
			return nil, err
		}
		*o.to = v
	}
	for _, g := range s.Space.Genes() {
		m.means = append(m.means, make([]mean, len(g.Options)))
	}
	return m, nil
}

func (m *mcts) Ask(context.Context) (search.Proposal, error) {
	g, err := m.pick(func() search.Genotype {
		if m.root.closed {
			return nil
		}
		g := m.walkDown()
		m.close(g) // asked for, or known to break a limit
		return g
	})
	if err != nil {
		return search.Proposal{}, err
	}
	m.close(g)
	m.path(g, func(n *mctsNode) { n.out++ })
	return search.Proposal{Genotype: g}, nil
}

// walkDown takes the options one after the other.
func (m *mcts) walkDown() search.Genotype {
	g := make(search.Genotype, len(m.means))
	at := m.root
	m.Space.Active(g, func(i int) {
		at.open(len(m.means[i]))
		if at.visits < drawn*min(len(at.next), minPlay) {
			g[i] = m.drawOption(at, i)
		} else {
			g[i] = m.bestOption(at, i)
		}
		if at.next[g[i]] == nil {
			at.next[g[i]] = &mctsNode{}
		}
		at = at.next[g[i]]
	})
	return g
}

func (n *mctsNode) open(options int) {
	if n.next == nil {
		n.next = make([]*mctsNode, options)
	}
}

func (n *mctsNode) left(v int) bool { return n.next[v] == nil || !n.next[v].closed }

// prior is how networks with an option fared, drawn to the middle where there
// were few.
func (m *mcts) prior(gene, v int) float64 {
	c := m.means[gene][v]
	return (c.sum + 0.5) / (float64(c.n) + 1)
}

func (m *mcts) drawOption(at *mctsNode, gene int) int {
	weights := make([]float64, len(at.next))
	sum, last := 0.0, 0
	for v := range weights {
		if at.left(v) {
			weights[v] = math.Exp(m.prior(gene, v) / m.temperature)
			sum += weights[v]
			last = v
		}
	}
	x := m.r.Float64() * sum
	for v, w := range weights {
		if x -= w; w > 0 && x < 0 {
			return v
		}
	}
	return last
}

// bestOption is the one in play with the highest bound; what was not visited
// counts as one visit with the prior's outcome.
func (m *mcts) bestOption(at *mctsNode, gene int) int {
	var play []int
	for v := range at.next {
		if at.left(v) {
			play = append(play, v)
		}
	}
	if most := max(minPlay, int(m.widen*math.Sqrt(float64(at.visits)))); len(play) > most {
		slices.SortStableFunc(play, func(a, b int) int { return cmp.Compare(m.prior(gene, b), m.prior(gene, a)) })
		play = play[:most]
	}
	best, bound := play[0], math.Inf(-1)
	for _, v := range play {
		sum, n := m.prior(gene, v), 1.0
		if c := at.next[v]; c != nil {
			sum += c.reward
			n += float64(c.visits + c.out) // those under way count as lost, so that the next goes elsewhere
		}
		if b := sum/n + m.explore*math.Sqrt(math.Log(float64(at.visits+at.out+1))/n); b > bound {
			best, bound = v, b
		}
	}
	return best
}

// path calls f for the nodes of a network from the root down.
func (m *mcts) path(g search.Genotype, f func(*mctsNode)) []*mctsNode {
	at := m.root
	all := []*mctsNode{at}
	m.Space.Active(slices.Clone(g), func(i int) {
		at.open(len(m.means[i]))
		if at.next[g[i]] == nil {
			at.next[g[i]] = &mctsNode{}
		}
		at = at.next[g[i]]
		all = append(all, at)
	})
	for _, n := range all {
		f(n)
	}
	return all
}

// close says that a network is not to be asked for again, and its branches that
// have no other.
func (m *mcts) close(g search.Genotype) {
	all := m.path(g, func(*mctsNode) {})
	all[len(all)-1].closed = true
	for i := len(all) - 2; i >= 0; i-- {
		for v := range all[i].next {
			if all[i].left(v) {
				return
			}
		}
		all[i].closed = true
	}
}

func (m *mcts) Tell(_ context.Context, t *search.Trial) error {
	m.path(t.Genotype, func(n *mctsNode) { n.out-- })
	m.known = append(m.known, t)
	if len(m.known) < m.next {
		m.credit(t)
		return nil
	}
	// A reward is the share of trials that are worse. As these grow by a
	// quarter, all are reckoned again.
	m.next = len(m.known) + len(m.known)/4 + 1
	m.rank = slices.Clone(m.known)
	slices.SortStableFunc(m.rank, compareTrials)
	m.root.forget()
	for i := range m.means {
		clear(m.means[i])
	}
	for _, k := range m.known {
		m.credit(k)
	}
	return nil
}

func (n *mctsNode) forget() {
	n.visits, n.reward = 0, 0
	for _, c := range n.next {
		if c != nil {
			c.forget()
		}
	}
}

func (m *mcts) credit(t *search.Trial) {
	worse, _ := slices.BinarySearchFunc(m.rank, t, compareTrials)
	reward := math.Pow(float64(worse)/float64(len(m.rank)), m.power)
	m.path(t.Genotype, func(n *mctsNode) {
		n.visits++
		n.reward += reward
	})
	m.Space.Active(slices.Clone(t.Genotype), func(i int) {
		c := &m.means[i][t.Genotype[i]]
		c.sum += reward
		c.n++
	})
}
