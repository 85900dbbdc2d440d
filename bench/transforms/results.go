package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/nasc-dev/nasc/passes"
)

// cell is what was seen of one transform on one kind of network.
type cell struct {
	Places   int
	F32, F64 float64
}

// results are those of one part of the work, or of all.
type results struct {
	Cells   map[string]map[string]*cell // by transform and kind
	Refused map[string]int
	Faults  []string
	Chains  int
	Chain   float64
	Kinds   []string // of the zoo
	Int8    map[string]string
	Seconds float64
}

func newResults() *results {
	return &results{Cells: map[string]map[string]*cell{}, Refused: map[string]int{}, Int8: map[string]string{}}
}

func (r *results) cell(transform, kind string) *cell {
	if r.Cells[transform] == nil {
		r.Cells[transform] = map[string]*cell{}
	}
	c := r.Cells[transform][kind]
	if c == nil {
		c = &cell{}
		r.Cells[transform][kind] = c
	}
	return c
}

func (r *results) add(transform string, kinds []string, p *passes.Proof, what string) {
	for _, k := range kinds {
		c := r.cell(transform, k)
		c.Places += len(p.Places)
		c.F32, c.F64 = max(c.F32, p.F32), max(c.F64, p.F64)
	}
	if !(p.F32 <= passes.KeptTolerance) || !(p.F64 <= passes.KeptTolerance64) {
		r.fault("%s on %s at %v: %g in f32, %g in f64", transform, what, p.Places, p.F32, p.F64)
	}
}

func (r *results) fault(format string, args ...any) {
	r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
}

func (r *results) merge(o *results) {
	for t, kinds := range o.Cells {
		for k, c := range kinds {
			into := r.cell(t, k)
			into.Places += c.Places
			into.F32, into.F64 = max(into.F32, c.F32), max(into.F64, c.F64)
		}
	}
	for k, n := range o.Refused {
		r.Refused[k] += n
	}
	for k, v := range o.Int8 {
		r.Int8[k] = v
	}
	for _, k := range o.Kinds {
		if !slices.Contains(r.Kinds, k) {
			r.Kinds = append(r.Kinds, k)
		}
	}
	r.Faults = append(r.Faults, o.Faults...)
	r.Chains += o.Chains
	r.Chain = max(r.Chain, o.Chain)
	r.Seconds += o.Seconds
}

// journal keeps the parts that are done, a line of JSON each.
type journal struct {
	mu    sync.Mutex
	f     *os.File // nil: nothing is kept
	err   error
	done  map[string]bool
	total *results
}

type line struct {
	Part string
	*results
}

func openJournal(path string, total *results) (*journal, error) {
	j := &journal{done: map[string]bool{}, total: total}
	if path == "" {
		return j, nil
	}
	f, err := os.Open(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		r := bufio.NewReader(f)
		for {
			b, err := r.ReadBytes('\n')
			l := line{results: newResults()}
			if err != nil || json.Unmarshal(b, &l) != nil {
				break // the end, or a line cut short
			}
			j.done[l.Part] = true
			total.merge(l.results)
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	j.f, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	return j, err
}

// part does a part of the work, unless it is done; one that ctx ends does not
// count.
func (j *journal) part(ctx context.Context, name string, do func(r *results)) {
	j.mu.Lock()
	done := j.done[name]
	j.mu.Unlock()
	if done || ctx.Err() != nil {
		return
	}
	begun := time.Now()
	r := newResults()
	do(r)
	if ctx.Err() != nil {
		return
	}
	r.Seconds = time.Since(begun).Seconds()
	j.mu.Lock()
	defer j.mu.Unlock()
	fmt.Fprintf(os.Stderr, "%s: %.0f s, %d faults\n", name, r.Seconds, len(r.Faults))
	j.total.merge(r)
	if j.f == nil || j.err != nil {
		return
	}
	b, err := json.Marshal(line{name, r})
	if err == nil {
		_, err = j.f.Write(append(b, '\n'))
	}
	j.err = err
}

func (j *journal) close() error {
	if j.f == nil {
		return nil
	}
	return errors.Join(j.err, j.f.Close())
}
