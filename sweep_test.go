package nasc

import (
	"context"
	"testing"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/latency"
)

// Every space of the sweep gives networks, and their blocks are met in shapes
// that differ.
func TestSweep(t *testing.T) {
	spaces, err := Sweep()
	if err != nil || len(spaces) < 5 {
		t.Fatalf("%d spaces, %v", len(spaces), err)
	}
	for _, s := range spaces {
		src, err := NewSpaceSource(context.Background(), []*arch.Space{s}, "cpu-f32", 1, 1, 3)
		if err != nil {
			t.Fatal(err)
		}
		if src.Len() != 3+extraNets || src.Contexts < 10 {
			t.Errorf("%s: %d networks with %d contexts", s.Name, src.Len(), src.Contexts)
		}
	}
}

// Samples of every space compile for both of the engine's targets, quantized
// with the least effort.
func TestSpacesCompile(t *testing.T) {
	for _, name := range []string{"mobilenetv3", "resnet", "vit", "plain-cnn", "densenet"} {
		s, err := arch.LoadSpace("zoo/spaces/" + name + ".toml")
		if err != nil {
			t.Fatal(err)
		}
		n := 2
		if testing.Short() {
			n = 1
		}
		for i, g := range s.Samples(n, 9) {
			target := []string{"cpu-int8", "cpu-f32"}[i%2]
			w, err := SpaceNet{s, g}.Graph(t.Context(), target, 1)
			if err != nil {
				t.Fatalf("%s %v: %v", name, g, err)
			}
			if Quantized(w.Graph) != (target == "cpu-int8") {
				t.Errorf("%s %v for %s: quantized is %v", name, g, target, Quantized(w.Graph))
			}
			e, _, err := Start(w.Graph, target, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A space of which everything is found is covered: its networks' contexts are
// all among those of the source.
func TestCover(t *testing.T) {
	s, err := arch.LoadSpace("zoo/spaces/vit.toml")
	if err != nil {
		t.Fatal(err)
	}
	src, err := NewSpaceSource(t.Context(), []*arch.Space{s}, "cpu-f32", 1, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	var _ latency.Source = src
	seen, names := map[string]bool{}, map[string]bool{}
	for i, n := range src.Networks {
		if names[src.Name(i)] {
			t.Errorf("%s is there twice", src.Name(i))
		}
		names[src.Name(i)] = true
		cs, err := contexts(n.Space, n.Genotype)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cs {
			seen[c] = true
		}
	}
	for _, g := range s.Samples(50, 1234) {
		cs, err := contexts(s, g)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cs {
			if !seen[c] {
				t.Errorf("no network of the source has %s", c)
			}
		}
	}
}
