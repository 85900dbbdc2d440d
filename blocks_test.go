package nasc

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/nasc-dev/nasc/frontend/arch"
)

// What a space's blocks are is told without building its networks; each network
// has the blocks that building it shows.
func TestBlocksAreTheNetworks(t *testing.T) {
	for _, name := range []string{"plain-cnn", "resnet", "mobilenetv3", "vit", "m2k-cnn", "m2k-resnet", "conditional"} {
		space, err := arch.ParseSpace(name, []byte(conditional))
		if name != "conditional" {
			space, err = arch.LoadSpace("zoo/spaces/" + name + ".toml")
		}
		if err != nil {
			t.Fatal(err)
		}
		last := 0
		p, err := Blocks(t.Context(), space, func(done, total int) {
			if done < last || done > total {
				t.Errorf("%s: %d of %d after %d", name, done, total, last)
			}
			last = done
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range space.Samples(30, 3) {
			stages, err := p.trace(g)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, s := range stages {
				want = append(want, BlockKey(s))
			}
			got, err := p.keys(g)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("%s: network %v has the blocks\n%q, wanted\n%q, %v", name, g, got, want, err)
			}
			for _, k := range got {
				if p.Witness[k] == nil {
					t.Errorf("%s: network %v has a block %s that no slot has", name, g, k)
				}
			}
		}
	}
}

// DenseNets have a million states and blocks: finding them ends when it is told to.
func TestBlocksEnd(t *testing.T) {
	space, err := arch.LoadSpace("zoo/spaces/densenet.toml")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, err = Blocks(ctx, space, func(int, int) {
		if calls++; calls == 500 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || calls != 500 {
		t.Errorf("%v after %d states", err, calls)
	}
}
