package strategy

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

// rungs are the shares of a training at which networks are compared: the least,
// and each eta times the one before, up to a full training.
func rungs(s search.Setup) (shares []float64, eta float64, err error) {
	if eta, err = number(s, "eta", 2, 100); err != nil {
		return nil, 0, err
	}
	least, err := number(s, "min-share", 1e-4, 1)
	if err != nil {
		return nil, 0, err
	}
	for b := 1.0; b >= least*(1-1e-9); b /= eta {
		shares = append(shares, b)
	}
	slices.Reverse(shares)
	return shares, eta, nil
}

// budget is how a proposal names a share: a full training is 0.
func budget(share float64) float64 {
	if share >= 1 {
		return 0
	}
	return share
}

// hyperband runs brackets of successive halving in turn, from many networks
// trained a little to few trained fully: it need not know how early a network
// shows what it is worth.
type hyperband struct {
	*pool
	shares []float64
	eta    float64

	bracket int // the rung that the present bracket begins at
	rung    int
	ask     []promotion     // of this rung, not asked for yet
	out     int             // asked for and not told
	told    []*search.Trial // of this rung
	round   int
}

// promotion is a network that goes on; without a trial a new one is drawn.
type promotion struct{ from *search.Trial }

func newHyperband(s search.Setup) (search.Strategy, error) {
	shares, eta, err := rungs(s)
	if err != nil {
		return nil, err
	}
	h := &hyperband{pool: newPool(s, "hyperband"), shares: shares, eta: eta, bracket: -1}
	return h, nil
}

// begin starts the next bracket.
func (h *hyperband) begin() {
	h.bracket++
	if h.bracket == len(h.shares) {
		h.bracket = 0
		h.round++
	}
	h.rung = h.bracket
	most := len(h.shares) - 1
	left := most - h.bracket // halvings
	n := int(math.Ceil(float64(most+1) / float64(left+1) * math.Pow(h.eta, float64(left))))
	h.ask, h.told = make([]promotion, n), nil
}

func (h *hyperband) Ask(context.Context) (search.Proposal, error) {
	for {
		if len(h.ask) > 0 {
			next := h.ask[0]
			p := search.Proposal{Budget: budget(h.shares[h.rung]), Note: fmt.Sprintf("bracket %d.%d, rung %d", h.round+1, h.bracket+1, h.rung+1)}
			if next.from != nil {
				p.Genotype, p.Parent = next.from.Genotype, next.from.ID
			} else {
				g, err := h.pick(nil)
				if err == search.ErrDone && (h.out > 0 || len(h.told) > 0) { // the bracket goes on with fewer
					h.ask = nil
					continue
				}
				if err != nil {
					return search.Proposal{}, err
				}
				p.Genotype = g
			}
			h.ask = h.ask[1:]
			h.out++
			return p, nil
		}
		if h.out > 0 {
			return search.Proposal{}, search.ErrWait
		}
		if len(h.told) > 0 && h.rung+1 < len(h.shares) {
			slices.SortStableFunc(h.told, func(a, b *search.Trial) int { return compareTrials(b, a) })
			h.told = slices.DeleteFunc(h.told, func(t *search.Trial) bool { return t.Fault != "" })
			n := min(len(h.told), max(1, int(float64(len(h.told))/h.eta)))
			for _, t := range h.told[:n] {
				h.ask = append(h.ask, promotion{t})
			}
			h.told = nil
			h.rung++
			if n > 0 {
				continue
			}
		}
		if len(h.asked) == h.total {
			return search.Proposal{}, search.ErrDone
		}
		h.begin()
	}
}

func (h *hyperband) Tell(_ context.Context, t *search.Trial) error {
	h.out--
	h.told = append(h.told, t)
	return nil
}

// asha promotes a network as soon as it is among the best of its rung so far,
// and begins another where none is: nothing waits for a rung to fill.
type asha struct {
	*pool
	shares   []float64
	eta      float64
	rungs    [][]*search.Trial
	promoted map[int64]bool
	out      []int // rungs of the trials asked for and not told
}

func newASHA(s search.Setup) (search.Strategy, error) {
	shares, eta, err := rungs(s)
	if err != nil {
		return nil, err
	}
	if len(shares) == 1 {
		return nil, &diag.Error{Place: "option min-share", Found: "1", Wanted: "less: with whole trainings only, there is nothing to stop early", Fix: "take random"}
	}
	return &asha{pool: newPool(s, "asha"), shares: shares, eta: eta, rungs: make([][]*search.Trial, len(shares)), promoted: map[int64]bool{}}, nil
}

func (a *asha) Ask(context.Context) (search.Proposal, error) {
	for rung := len(a.shares) - 2; rung >= 0; rung-- {
		if t := a.promotable(rung, 1/a.eta); t != nil {
			return a.promote(rung, t), nil
		}
	}
	g, err := a.pick(nil)
	if err == search.ErrDone {
		if len(a.out) > 0 {
			return search.Proposal{}, search.ErrWait
		}
		// Nothing new is left: the best of each rung that were not promoted may go
		// on, one at a time, till a full training is told.
		for rung := len(a.shares) - 2; rung >= 0 && len(a.rungs[len(a.shares)-1]) == 0; rung-- {
			if t := a.promotable(rung, 1); t != nil {
				return a.promote(rung, t), nil
			}
		}
	}
	if err != nil {
		return search.Proposal{}, err
	}
	a.out = append(a.out, 0)
	return search.Proposal{Genotype: g, Budget: budget(a.shares[0]), Note: "rung 1"}, nil
}

// promotable is the best of those of a rung that are among its best share and
// not promoted yet.
func (a *asha) promotable(rung int, share float64) *search.Trial {
	r := a.rungs[rung] // the best first
	for _, t := range r[:int(float64(len(r))*share+1e-9)] {
		if !a.promoted[t.ID] && t.Fault == "" {
			return t
		}
	}
	return nil
}

func (a *asha) promote(rung int, t *search.Trial) search.Proposal {
	a.promoted[t.ID] = true
	a.out = append(a.out, rung+1)
	return search.Proposal{Genotype: t.Genotype, Parent: t.ID, Budget: budget(a.shares[rung+1]), Note: fmt.Sprintf("rung %d", rung+2)}
}

func (a *asha) Tell(_ context.Context, t *search.Trial) error {
	rung := a.out[0]
	a.out = a.out[1:]
	r := a.rungs[rung]
	at := len(r)
	for at > 0 && compareTrials(t, r[at-1]) > 0 {
		at--
	}
	a.rungs[rung] = slices.Insert(r, at, t)
	return nil
}
