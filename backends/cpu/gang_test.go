package cpu

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/difftest"
	"github.com/nasc-dev/nasc/internal/graphgen"
)

// counting is work that notes how often each unit runs.
type counting struct{ seen []atomic.Int32 }

func (k *counting) Name() string      { return "counting" }
func (k *counting) Tiles() int        { return len(k.seen) }
func (k *counting) ScratchBytes() int { return 0 }

func (k *counting) Run(lo, hi int, _ *call) {
	for i := lo; i < hi; i++ {
		k.seen[i].Add(1)
	}
}

// Every unit of every step runs once, however many helpers come, early or late.
func TestGangRunsEachUnitOnce(t *testing.T) {
	retainHelpers(3)
	defer releaseHelpers()
	var g gang
	room := make([]*helper, 3)
	for round := range 300 {
		lent := lend(&g, room[:round%4])
		g.threads = 1 + len(lent)
		for step := range 5 {
			k := &counting{seen: make([]atomic.Int32, 1+(round*7+step*13)%200)}
			g.share(k, &call{}, k.Tiles(), float64(1000*step*k.Tiles()), lent)
			for i := range k.seen {
				if n := k.seen[i].Load(); n != 1 {
					t.Fatalf("unit %d ran %d times", i, n)
				}
			}
		}
		giveBack(lent)
		if round%50 == 0 {
			time.Sleep(2 * time.Millisecond) // let them fall asleep
		}
	}
}

// Helpers end with the last executable that wants them.
func TestHelpersEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	g := graphgen.New(graphgen.Config{Seed: 1})
	var es []backends.Executable
	for range 3 {
		e, err := F32().Compile(g, backends.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, e)
	}
	for _, e := range es {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Errorf("closing twice: %v", err)
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// Several models run side by side, each from several goroutines, and every
// answer is right.
func TestSideBySide(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0)))) // one CPU would leave nothing to share
	var wg sync.WaitGroup
	ctx := context.Background()
	for seed := range uint64(4) {
		g := graphgen.New(graphgen.Config{Seed: 40 + seed, Quantized: seed%2 == 0, Nodes: 30})
		one, err := Int8().Compile(g, backends.Options{})
		if err != nil {
			t.Fatal(err)
		}
		in, want := graphgen.Inputs(g, seed), backends.NewOutputs(g)
		if err := one.Run(ctx, in, want); err != nil {
			t.Fatal(err)
		}
		_ = one.Close()
		e, err := Int8().Compile(g, backends.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		for i := range e.(*program).steps { // share even the smallest
			s := &e.(*program).steps[i]
			s.share = s.tiles > 1
		}
		e.(*program).shares = true
		t.Cleanup(func() { _ = e.Close() })
		for range 3 {
			wg.Go(func() {
				out := backends.NewOutputs(g)
				for range 50 {
					if err := e.Run(ctx, in, out); err != nil {
						t.Error(err)
						return
					}
					for i := range out {
						if err := difftest.Bits(out[i], want[i]); err != nil {
							t.Errorf("graph %d: output %d: %v", seed, i, err)
							return
						}
					}
				}
			})
		}
	}
	wg.Wait()
}
