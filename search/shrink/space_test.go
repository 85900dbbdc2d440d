package shrink

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/morph"
)

const resnet = `name = "tiny"
input = [8, 8, 1]
[[stage]]
block = "conv"
name = "stem"
channels = 8
[[stage]]
block = "basic"
name = "one"
channels = 8
repeat = 2
[[stage]]
block = "basic"
name = "two"
channels = 16
repeat = 2
stride = 2
[[stage]]
block = "pool"
[[stage]]
block = "dense"
name = "fc"
out = 10
`

func teacher(t *testing.T) *Space {
	t.Helper()
	g, _, err := arch.Parse("tiny", []byte(resnet), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(g)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Space) layer(t *testing.T, node string) int {
	t.Helper()
	i := slices.IndexFunc(s.Layers, func(l Layer) bool { return l.Node == node })
	if i < 0 {
		t.Fatalf("no layer %s", node)
	}
	return i
}

func student(t *testing.T, s *Space, g search.Genotype) *ir.Graph {
	t.Helper()
	net := s.Teacher.Clone()
	for _, e := range s.Edits(g) {
		if _, err := morph.Edit(context.Background(), net, e); err != nil {
			t.Fatalf("%v: %v", s.Edits(g), err)
		}
	}
	if err := net.Verify(); err != nil {
		t.Fatal(err)
	}
	return net
}

func TestRemovals(t *testing.T) {
	s := teacher(t)
	g := make(search.Genotype, len(s.genes))
	one := s.layer(t, "one.1.conv1")
	if s.Layers[one].Block < 0 || s.Layers[s.layer(t, "stem")].Block >= 0 || s.Layers[s.layer(t, "two.0.conv2")].Block >= 0 {
		t.Errorf("%+v", s.Layers)
	}
	g[one] = 1
	if e := s.Edits(g); len(e) != 1 || !strings.HasPrefix(e[0], "drop-layer(node=one.1.conv1)") {
		t.Error(e)
	}
	g[s.layer(t, "one.1.conv2")] = 1 // now all of the block
	if e := s.Edits(g); len(e) != 1 || !strings.HasPrefix(e[0], "drop-block(node=one.1") {
		t.Error(e)
	}
	net := student(t, s, g)
	if a, b := s.Teacher.OpCounts(), net.OpCounts(); a["convolution"] != b["convolution"]+2 || a["add"] != b["add"]+1 {
		t.Errorf("%v became %v", a, b)
	}
	if !s.Valid(g) || s.Check(g) != nil {
		t.Error("a network that can be is refused")
	}
	g[s.layer(t, "two.0.conv1")] = 1 // changes the channels
	if s.Valid(g) || s.Check(g) == nil {
		t.Error("a layer goes that changes the shape")
	}
}

func TestShares(t *testing.T) {
	s := teacher(t)
	g := make(search.Genotype, len(s.genes))
	leaders := s.Leaders(g)
	// The residual stream of each stage moves together, and begins at its first layer.
	for _, name := range []string{"stem", "one.0.conv1", "two.1.conv1"} {
		if !slices.Contains(leaders, s.layer(t, name)) {
			t.Errorf("%s is not among %v", name, leaders)
		}
	}
	if slices.Contains(leaders, s.layer(t, "one.0.conv2")) || slices.Contains(leaders, s.layer(t, "fc")) {
		t.Errorf("leaders %v", leaders)
	}
	for _, i := range leaders {
		g[len(s.Layers)+i] = len(Shares) - 1
	}
	if err := s.Check(g); err != nil {
		t.Fatal(err)
	}
	net := student(t, s, g)
	if a, b := s.Teacher.Params(), net.Params(); b*8 > a {
		t.Errorf("%d parameters became %d", a, b)
	}
	g[len(s.Layers)+s.layer(t, "one.0.conv2")] = 1
	if s.Check(g) == nil {
		t.Error("the second of a group has a share of its own")
	}
}

// Whatever can be drawn can be built.
func TestDraws(t *testing.T) {
	s := teacher(t)
	r := rand.New(rand.NewPCG(1, 2))
	built := 0
	for range 60 {
		g := search.Draw(s, r)
		for i := range s.Layers {
			if r.IntN(3) > 0 {
				g[i] = 0
			}
		}
		g = search.Canonical(s, g)
		if !s.Valid(g) {
			continue
		}
		if err := s.Check(g); err != nil {
			t.Fatal(err)
		}
		student(t, s, g)
		built++
	}
	if built < 5 {
		t.Errorf("%d of 60 could be built", built)
	}
}
