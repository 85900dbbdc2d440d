package nasc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

// SpaceSource gives a profile networks of spaces that meet every block in every
// shape it can have there, those with the most that is new first.
type SpaceSource struct {
	Networks []SpaceNet
	Contexts int // blocks in shapes that were found

	ctx    context.Context
	target string
	batch  int
}

// SpaceNet is one network of a space.
type SpaceNet struct {
	Space    *arch.Space
	Genotype arch.Genotype
}

// Name is unique among the networks of a table.
func (n SpaceNet) Name() string { return n.Space.Name + "/" + n.Genotype.String() }

// Graph makes the network ready for a target, with random weights.
func (n SpaceNet) Graph(ctx context.Context, target string, batch int) (latency.Work, error) {
	text, err := n.Space.Instance(n.Genotype)
	if err != nil {
		return latency.Work{}, err
	}
	g, err := Synthetic(ctx, n.Name(), text, target, batch)
	if err != nil {
		return latency.Work{}, err
	}
	return latency.Work{Name: n.Name(), Graph: g, In: passes.RandomInputs(g, 1)}, nil
}

const (
	coverDraws  = 48  // candidates of which the one with the most that is new is taken
	coverGiveUp = 8   // times in a row that none of them has anything new
	coverMost   = 400 // networks of a space
	// extraNets are drawn after those that cover the space: what networks take
	// beside their kernels is learned from whole networks.
	extraNets = 8
)

// NewSpaceSource draws the networks of a profile of the spaces.
// most bounds the networks of each space; 0 is as many as it takes.
func NewSpaceSource(ctx context.Context, spaces []*arch.Space, target string, batch int, seed uint64, most int) (*SpaceSource, error) {
	if most == 0 {
		most = coverMost
	}
	s := &SpaceSource{ctx: ctx, target: target, batch: batch}
	var lists [][]SpaceNet
	for _, space := range spaces {
		list, found, err := cover(space, seed, most)
		if err != nil {
			return nil, err
		}
		s.Contexts += found
		lists = append(lists, list)
	}
	for i := 0; ; i++ { // in turns: a budget that ends early leaves some of each
		more := false
		for _, l := range lists {
			if i < len(l) {
				s.Networks, more = append(s.Networks, l[i]), true
			}
		}
		if !more {
			return s, nil
		}
	}
}

// SpaceSourceOf gives a profile the networks of these names, as SpaceNet.Name has
// them; those of other spaces are left out.
func SpaceSourceOf(ctx context.Context, spaces []*arch.Space, target string, batch int, names []string) (*SpaceSource, error) {
	s := &SpaceSource{ctx: ctx, target: target, batch: batch}
	for _, name := range names {
		for _, space := range spaces {
			text, ok := strings.CutPrefix(name, space.Name+"/")
			if !ok {
				continue
			}
			g, err := space.DecodeGenotype(text)
			if err != nil {
				return nil, diag.At(name, err)
			}
			s.Networks = append(s.Networks, SpaceNet{space, g})
			break // a space that is given twice counts once
		}
	}
	return s, nil
}

func cover(space *arch.Space, seed uint64, most int) ([]SpaceNet, int, error) {
	seen := map[string]bool{}
	taken := map[string]bool{}
	var out []SpaceNet
	r := rand.New(rand.NewPCG(seed, 0x636f766572))
	fruitless := 0
	for fruitless < coverGiveUp && len(out) < most {
		var best arch.Genotype
		var gain []string
		for range coverDraws {
			g := space.Sample(r.Uint64())
			cs, err := contexts(space, g)
			if err != nil {
				return nil, 0, err
			}
			fresh := map[string]bool{}
			for _, c := range cs {
				if !seen[c] {
					fresh[c] = true
				}
			}
			if len(fresh) > len(gain) {
				best, gain = g, gain[:0]
				for c := range fresh {
					gain = append(gain, c)
				}
			}
		}
		if best == nil {
			fruitless++
			continue
		}
		fruitless = 0
		for _, c := range gain {
			seen[c] = true
		}
		taken[best.String()] = true
		out = append(out, SpaceNet{space, best})
	}
	extra := 0
	for _, g := range space.Samples(len(out)+extraNets, seed) {
		if extra < extraNets && !taken[g.String()] {
			out = append(out, SpaceNet{space, g})
			extra++
		}
	}
	return out, len(seen), nil
}

// contexts lists what a network's blocks are and the shapes that they meet.
func contexts(space *arch.Space, g arch.Genotype) ([]string, error) {
	text, err := space.Instance(g)
	if err != nil {
		return nil, err
	}
	_, info, err := arch.Trace(space.Name, []byte(text))
	if err != nil {
		return nil, fmt.Errorf("network %v of %s: %w", g, space.Name, err)
	}
	return stageContexts(info.Stages), nil
}

func stageContexts(stages []arch.Stage) []string {
	kind := func(i int) string {
		if i < 0 || i >= len(stages) {
			return ""
		}
		k, _, _ := strings.Cut(stages[i].Params, " ")
		return k
	}
	out := make([]string, len(stages))
	for i, s := range stages {
		out[i] = fmt.Sprint(s.In, " ", s.Params, "after ", kind(i-1), " before ", kind(i+1))
	}
	return out
}

// Len is the number of networks.
func (s *SpaceSource) Len() int { return len(s.Networks) }

// Name is network i's.
func (s *SpaceSource) Name(i int) string { return s.Networks[i].Name() }

// At makes network i.
func (s *SpaceSource) At(i int) (latency.Work, error) {
	return s.Networks[i].Graph(s.ctx, s.target, s.batch)
}
