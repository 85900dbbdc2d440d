package cpu

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/graphgen"
)

// A run that pauses computes what a run computes, stops where it was told, and
// ends with the pause's error.
func TestRunPaused(t *testing.T) {
	ctx := context.Background()
	g := graphgen.New(graphgen.Config{Seed: 7, Nodes: 30})
	for _, threads := range []int{1, 2} {
		e, err := F32().Compile(g, backends.Options{Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		p := e.(*program)
		n := len(p.Steps())
		in, want, out := graphgen.Inputs(g, 1), backends.NewOutputs(g), backends.NewOutputs(g)
		if err := e.Run(ctx, in, want); err != nil {
			t.Fatal(err)
		}
		var at []int
		took := make([]time.Duration, n)
		if err := p.RunPaused(ctx, in, out, took, []int{1, n / 2, n - 1}, func(i int) error {
			at = append(at, i)
			return p.Run(ctx, in, backends.NewOutputs(g)) // what another run does changes nothing
		}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(at, []int{1, n / 2, n - 1}) || slices.Min(took) < 0 {
			t.Errorf("paused before %v of %d steps", at, n)
		}
		for i := range want {
			if !bytes.Equal(rawBytes(out[i]), rawBytes(want[i])) {
				t.Errorf("%d threads: output %d differs", threads, i)
			}
		}
		if err := p.RunPaused(ctx, in, out, nil, []int{2}, func(int) error { return errStop }); !errors.Is(err, errStop) {
			t.Errorf("a pause that fails: %v", err)
		}
		if err := e.Run(ctx, in, out); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

var errStop = errors.New("stop")
