// Package shrink makes of a trained network, the teacher, a space of smaller
// ones: every layer may go, and what is left may become narrower. Its networks
// are the teacher after passes that remove layers and channels, with the
// weights that stay.
package shrink

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/morph"
)

// Shares are what may stay of a layer's channels (Ashok et al. 2018).
var Shares = []float64{1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.25}

// Layer is a layer of the teacher.
type Layer struct {
	Node     string
	Features []float64 // what a policy sees of it, of about unit size
	Block    int       // the residual block that it is in, −1 for none
	Fixed    bool      // it is in no block, and cannot go by itself
}

// Features is how many numbers describe a layer.
const Features = 10

// Space is the networks that a teacher becomes by removing.
type Space struct {
	Teacher *ir.Graph
	Layers  []Layer
	Source  string   // the teacher's file, for messages
	blocks  []string // the additions of residual blocks
	members [][]int  // layers of each block
	genes   []arch.Gene
	mu      sync.Mutex
	known   map[string][]int // leaders of the groups that are left, by what goes
}

// New reads a teacher, which stays as it is.
func New(teacher *ir.Graph) (*Space, error) {
	s := &Space{Teacher: teacher.Clone(), known: map[string][]int{}}
	morph.Name(s.Teacher)
	blocks := residuals(s.Teacher)
	for _, b := range blocks {
		s.blocks = append(s.blocks, b.add.Name)
	}
	s.members = make([][]int, len(blocks))
	for _, n := range s.Teacher.Nodes {
		if n.Op.Name != "convolution" && n.Op.Name != "dot" || !n.Inputs[1].IsConst() {
			continue
		}
		l := Layer{Node: n.Name, Block: slices.IndexFunc(blocks, func(b residual) bool { return b.inside[n] })}
		if l.Block >= 0 {
			s.members[l.Block] = append(s.members[l.Block], len(s.Layers))
		}
		var err error
		if l.Features, err = features(n, l.Block >= 0, slices.ContainsFunc(blocks, func(b residual) bool { return b.inside[n] && b.first == n })); err != nil {
			return nil, err
		}
		s.Layers = append(s.Layers, l)
	}
	if len(s.Layers) < 2 {
		return nil, &diag.Error{Place: "network @" + teacher.Name, Found: fmt.Sprintf("%d layers", len(s.Layers)), Wanted: "two or more, convolutions or dense"}
	}
	var shares []string
	for _, v := range Shares {
		shares = append(shares, fmt.Sprint(v))
	}
	for _, l := range s.Layers {
		s.genes = append(s.genes, arch.Gene{Name: l.Node + ".keep", Options: []string{"yes", "no"}})
	}
	for _, l := range s.Layers {
		s.genes = append(s.genes, arch.Gene{Name: l.Node + ".share", Options: shares})
	}
	for i := range s.Layers {
		alone := make(search.Genotype, len(s.genes))
		alone[i] = 1
		s.Layers[i].Fixed = s.Layers[i].Block < 0 && !s.Valid(alone)
	}
	return s, nil
}

// Name says where the space comes from.
func (s *Space) Name() string {
	if s.Source != "" {
		return "students of " + s.Source
	}
	return "students of @" + s.Teacher.Name
}

// Genes are, for each layer, whether it stays, then for each how much of it.
func (s *Space) Genes() []arch.Gene { return s.genes }

// Count is how many networks there are at most: which widths are free depends on
// what goes.
func (s *Space) Count() *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(len(s.Layers)))
	groups := len(s.leaders(make(search.Genotype, len(s.genes))))
	return n.Mul(n, new(big.Int).Exp(big.NewInt(int64(len(Shares))), big.NewInt(int64(groups)), nil))
}

// Active calls f for every layer, then for the first layer of each group of
// channels that is left and can become narrower.
func (s *Space) Active(g search.Genotype, f func(gene int)) {
	for i := range s.Layers {
		f(i)
	}
	for _, i := range s.leaders(g) {
		f(len(s.Layers) + i)
	}
}

// Check says why a genotype is none of the space.
func (s *Space) Check(g search.Genotype) error {
	if len(g) != len(s.genes) {
		return &diag.Error{Place: "genotype", Found: fmt.Sprintf("%d numbers", len(g)), Wanted: fmt.Sprint(len(s.genes))}
	}
	active := map[int]bool{}
	for i, v := range g {
		if v < 0 || v >= len(s.genes[i].Options) {
			return &diag.Error{Place: "genotype", Found: fmt.Sprintf("%d of %s", v, s.genes[i].Name), Wanted: fmt.Sprintf("0 to %d", len(s.genes[i].Options)-1)}
		}
	}
	s.Active(g, func(i int) { active[i] = true })
	for i, v := range g {
		if v != 0 && !active[i] {
			return &diag.Error{Place: "genotype", Found: fmt.Sprintf("%d of %s", v, s.genes[i].Name), Wanted: "0: it decides nothing here"}
		}
	}
	_, err := s.removed(g)
	return err
}

// Edits are the passes that make a network of the teacher.
func (s *Space) Edits(g search.Genotype) []string {
	edits := s.removals(g)
	for i, l := range s.Layers {
		if v := g[len(s.Layers)+i]; v > 0 {
			edits = append(edits, fmt.Sprintf("narrow-channels(node=%s,share=%v)", l.Node, Shares[v]))
		}
	}
	return edits
}

// Network is the teacher after the edits, with the weights that stay.
func (s *Space) Network(ctx context.Context, g search.Genotype) (*ir.Graph, error) {
	net := s.Teacher.Clone()
	for _, edit := range s.Edits(g) {
		if _, err := morph.Edit(ctx, net, edit); err != nil {
			return nil, err
		}
	}
	return net, nil
}

// Smallest is the network of which layer after layer goes where it can, and of
// the others the least share stays.
func (s *Space) Smallest() search.Genotype {
	g := make(search.Genotype, len(s.genes))
	for i := range s.Layers {
		if g[i] = 1; !s.Valid(g) {
			g[i] = 0
		}
	}
	for _, i := range s.leaders(g) {
		g[len(s.Layers)+i] = len(Shares) - 1
	}
	return g
}

// Reward is C(2−C) times a student's accuracy as a share of the teacher's, where
// C is the share of parameters that are gone: the last of them count for little.
func Reward(accuracy, params float64) float64 {
	c := 1 - params
	return c * (2 - c) * accuracy
}

// removals are the passes that take layers away: whole blocks where nothing of
// one stays.
func (s *Space) removals(g search.Genotype) []string {
	var edits []string
	whole := make([]bool, len(s.blocks))
	for b, layers := range s.members {
		whole[b] = len(layers) > 0 && !slices.ContainsFunc(layers, func(i int) bool { return g[i] == 0 })
		if whole[b] {
			edits = append(edits, "drop-block(node="+s.blocks[b]+")")
		}
	}
	for i, l := range s.Layers {
		if g[i] != 0 && (l.Block < 0 || !whole[l.Block]) {
			edits = append(edits, "drop-layer(node="+l.Node+")")
		}
	}
	return edits
}

// removed is the teacher without the layers that go; an error where one cannot.
func (s *Space) removed(g search.Genotype) (*ir.Graph, error) {
	net := s.Teacher.Clone()
	for _, e := range s.removals(g) {
		if _, err := morph.Edit(context.Background(), net, e); err != nil {
			return nil, err
		}
	}
	return net, nil
}

// Valid says whether the layers that a genotype removes can go.
func (s *Space) Valid(g search.Genotype) bool {
	_, err := s.removed(g)
	return err == nil
}

// Leaders lists, for what a genotype keeps, the first layer of each group of
// channels that can become narrower.
func (s *Space) Leaders(g search.Genotype) []int { return s.leaders(g) }

func (s *Space) leaders(g search.Genotype) []int {
	var key strings.Builder
	for i := range s.Layers {
		key.WriteByte(byte('0' + min(max(g[i], 0), 1)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, ok := s.known[key.String()]; ok {
		return l
	}
	var out []int
	if net, err := s.removed(g); err == nil {
		for _, x := range coupling.Analyze(net).Groups() {
			if x.Fixed != "" || len(x.Units) < 2 {
				continue
			}
			at := -1
			for _, p := range x.Producers {
				i := slices.IndexFunc(s.Layers, func(l Layer) bool { return l.Node == p.Name })
				if i >= 0 && (at < 0 || i < at) {
					at = i
				}
			}
			if at >= 0 && !slices.Contains(out, at) {
				out = append(out, at)
			}
		}
	}
	slices.Sort(out)
	if len(s.known) > 1<<14 {
		clear(s.known)
	}
	s.known[key.String()] = out
	return out
}
