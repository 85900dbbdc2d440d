package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"
)

// state is what the process holds at one moment; threads, files and resident
// are 0 where the system does not tell.
type state struct {
	at         time.Duration // since the runs began
	goroutines int
	threads    int
	files      int
	heap       int64 // bytes in use after a collection
	resident   int64 // bytes
	runs       int64
}

// look collects garbage and takes the state.
func look() state {
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	s := state{goroutines: goruntime.NumGoroutine(), heap: int64(m.HeapAlloc)}
	s.threads = int(status("Threads:"))
	s.resident = status("VmRSS:") << 10
	if names, err := os.ReadDir("/proc/self/fd"); err == nil {
		s.files = len(names)
	}
	return s
}

// status reads a number of /proc/self/status; 0 where there is none.
func status(key string) int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), key); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}

// looks is how many states a soak takes.
const looks = 40

// watch takes states until the context ends, each while no model runs.
func (r *result) watch(ctx context.Context, models []*model) {
	start := time.Now()
	t := time.NewTicker(max(*length/looks, 50*time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		r.gate.Lock() // a collection that others do not let through takes seconds
		s := look()
		r.gate.Unlock()
		s.at = time.Since(start)
		for _, m := range models {
			s.runs += m.runs.Load()
		}
		r.states = append(r.states, s)
	}
}

// idleShare is the share of one core that the process uses while nothing runs.
func idleShare(d time.Duration) float64 {
	time.Sleep(50 * time.Millisecond) // helpers may still wait for work
	before := processorTime()
	start := time.Now()
	time.Sleep(d)
	return (processorTime() - before).Seconds() / time.Since(start).Seconds()
}

// What may differ between the second and third tenth of the states and the last
// fifth without being growth: the allocator's pages come and go, and a model
// keeps the memory of as many runs as were ever active at once.
const (
	mayGrow      = 0.05
	mayGrowBytes = 16 << 20
	mayIdle      = 0.02
)

// end compares the last states with the first ones.
func (r *result) end(models []*model) {
	r.models = models
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) { // helpers end on their own
		if r.after = look(); r.after.goroutines <= r.before.goroutines || time.Now().After(deadline) {
			break
		}
	}
	if r.after.goroutines > r.before.goroutines {
		r.fault("%d goroutines after closing the models, %d before opening them", r.after.goroutines, r.before.goroutines)
	}
	if r.after.files > r.before.files {
		r.fault("%d open files after closing the models, %d before opening them", r.after.files, r.before.files)
	}
	if r.after.heap > r.before.heap+mayGrowBytes {
		r.fault("%s of heap after closing the models, %s before opening them", mb(r.after.heap), mb(r.before.heap))
	}
	if r.idle > mayIdle {
		r.fault("an idle process used %.1f %% of a core", 100*r.idle)
	}
	for _, m := range models {
		if m.runs.Load() == 0 || m.stopped.Load() == 0 {
			r.fault("%s: %d runs and %d cancelled ones: too short to say anything", m.name, m.runs.Load(), m.stopped.Load())
		}
	}
	n := len(r.states)
	if n < 10 {
		r.fault("%d looks at the process: too short to say anything", n)
		return
	}
	first, last := most(r.states[n/10:n*3/10]), most(r.states[n*8/10:])
	for _, c := range []struct {
		what   string
		was, s float64
		slack  float64
	}{
		{"goroutines", float64(first.goroutines), float64(last.goroutines), 2},
		{"threads", float64(first.threads), float64(last.threads), 4},
		{"open files", float64(first.files), float64(last.files), 1},
		{"heap bytes", float64(first.heap), float64(last.heap), mayGrowBytes},
		{"resident bytes", float64(first.resident), float64(last.resident), mayGrowBytes},
	} {
		if c.s > c.was*(1+mayGrow)+c.slack {
			r.fault("%s grew from %.0f to %.0f", c.what, c.was, c.s)
		}
	}
}

// most gives the greatest of each figure.
func most(states []state) state {
	var m state
	for _, s := range states {
		m.goroutines, m.threads, m.files = max(m.goroutines, s.goroutines), max(m.threads, s.threads), max(m.files, s.files)
		m.heap, m.resident = max(m.heap, s.heap), max(m.resident, s.resident)
	}
	return m
}

func mb(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
