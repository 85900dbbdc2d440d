package latency

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// A profile of many networks that is killed keeps measurements whose rows wait
// for others, and the networks that they were made in.
func TestWaitingSurvivesAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.csv")
	facts := options().Facts
	kernels := []string{"relu | f32[1,2] -> f32[1,2] | relu_f32", `odd "key", | with = everything`}
	open := func() (*journal, *pending) {
		j, err := openJournal(t.Context(), path, facts, nil)
		if err != nil {
			t.Fatal(err)
		}
		return j, newPending(j, &Result{}, 0.03, manyNets)
	}
	j, p := open()
	n := pendingNet{row: Row{Median: 3, Runs: 20}, name: "net|1"}
	for i, k := range kernels {
		if err := p.kernel(Row{Key: k, Median: float64(i + 1), Runs: 11}); err != nil {
			t.Fatal(err)
		}
		n.kernels = append(n.kernels, pendingUse{k, Use{N: i + 1, Time: 0.5}})
	}
	if err := p.network(n); err != nil {
		t.Fatal(err)
	}
	if _, err := j.waiting.WriteString(`"torn`); err != nil { // by the kill
		t.Fatal(err)
	}
	if err := errors.Join(j.closeFiles(), j.free()); err != nil {
		t.Fatal(err)
	}

	j, p = open()
	if !p.has(n.name) || len(p.rows[kernels[0]]) != 1 || len(p.rows[kernels[1]]) != 1 {
		t.Fatalf("kept %+v and %+v", p.rows, p.nets)
	}
	for range enough - 1 {
		if err := p.kernel(Row{Key: kernels[1], Median: 2, Runs: 11}); err != nil {
			t.Fatal(err)
		}
	}
	if r, ok := j.table.Find(kernels[1]); !ok || r.Runs != 33 {
		t.Errorf("found %+v after three measurements", r)
	}
	if err := errors.Join(p.flush(), j.finish()); err != nil {
		t.Fatal(err)
	}
	table, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(table.Rows) != 2 || len(table.Nets) != 1 || len(table.Nets[0].Uses) != 2 || table.Nets[0].Uses[1].N+table.Nets[0].Uses[0].N != 3 {
		t.Errorf("rows %+v, networks %+v", table.Rows, table.Nets)
	}
	left, err := filepath.Glob(path + ".*")
	if err != nil || len(left) > 0 {
		t.Errorf("%q are left, %v", left, err)
	}

	// Without the partial table that it belongs to, what waits counts for nothing.
	if err := os.WriteFile(path+waitingSuffix, append(header(facts), Row{Key: "old", Median: 1}.line()...), 0o600); err != nil {
		t.Fatal(err)
	}
	j, p = open()
	if len(p.rows) > 0 {
		t.Errorf("kept %+v", p.rows)
	}
	if err := j.finish(); err != nil {
		t.Fatal(err)
	}
}

// Two profiles into one table take turns: it was damaged by both.
func TestTwoProfilesAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.csv")
	var waited atomic.Int32
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			o := options()
			o.Waiting = func() { waited.Add(1) }
			if _, err := Profile(t.Context(), path, work(1, 3, 5), o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if waited.Load() < 1 {
		t.Error("none was told to wait")
	}
	table, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(table.Nets) != 3 {
		t.Errorf("%d networks", len(table.Nets))
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Profile(stopped, path, work(1, 3, 5), options()); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped before it begins it gives %v", err)
	}
	if left, err := filepath.Glob(path + ".*"); err != nil || len(left) > 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}
