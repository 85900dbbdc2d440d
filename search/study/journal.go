package study

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

// Trials are those that the file had when it was opened, and what was added.
func (s *Study) Trials() []search.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]search.Record, len(s.rows))
	for i, r := range s.rows {
		out[i] = search.Record{Trial: r.Trial, Done: r.Done}
	}
	return out
}

// Known says whether a trial has its outcome.
func (s *Study) Known(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return id >= 1 && id <= int64(len(s.rows)) && s.rows[id-1].Done
}

// Used is the wall time of earlier runs.
func (s *Study) Used() time.Duration { return s.used }

// Asked keeps a proposal.
func (s *Study) Asked(t *search.Trial) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := now()
	p := &search.Trial{ID: t.ID, Seed: t.Seed, Proposal: t.Proposal, CopyOf: t.CopyOf} // t gets its outcome elsewhere
	_, err := s.insert.Exec(t.ID, int64(t.Seed), t.Genotype.String(), t.Parent, toJSON(t.Edits), t.Budget, t.Note, t.CopyOf, asked, checksum(p, "asked", asked, "", 0))
	if err != nil {
		return s.place(err)
	}
	at, _ := time.Parse(time.RFC3339Nano, asked) // as now wrote it
	s.rows = append(s.rows, Row{Trial: p, Asked: at})
	return s.place(s.touch(false))
}

// Finished keeps an outcome. A second one of the same trial is refused.
func (s *Study) Finished(t *search.Trial, took time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.ID < 1 || t.ID > int64(len(s.rows)) || s.rows[t.ID-1].Done {
		return &diag.Error{Place: s.Path, Found: fmt.Sprintf("an outcome of trial %d", t.ID), Wanted: "one of a trial that is asked for and not done"}
	}
	r := &s.rows[t.ID-1]
	done, finished, ms := *r.Trial, now(), float64(took)/float64(time.Millisecond)
	done.Outcome = t.Outcome
	asked := r.Asked.Format(time.RFC3339Nano)
	_, err := s.update.Exec(toJSON(t.Metrics), toJSON(t.Curve), t.Weights, t.Steps, t.Delta, t.MaxOut, t.Fault, finished, ms,
		checksum(&done, "done", asked, finished, ms), t.ID)
	if err != nil {
		return s.place(err)
	}
	at, _ := time.Parse(time.RFC3339Nano, finished)
	r.Trial, r.Done, r.Finished, r.Took = &done, true, at, took
	return s.place(s.touch(false))
}

// touch writes how long this run has taken, each second.
func (s *Study) touch(end bool) error {
	if !end && time.Since(s.touched) < time.Second {
		return nil
	}
	s.touched = time.Now()
	_, err := s.db.Exec(`UPDATE session SET used_ms = ? WHERE id = ?`, float64(time.Since(s.start))/float64(time.Millisecond), s.session)
	return err
}

// checksum is that of a row's columns.
func checksum(t *search.Trial, state, asked, finished string, took float64) int64 {
	h := crc32.NewIEEE()
	text := func(s string) {
		_ = binary.Write(h, binary.LittleEndian, int64(len(s))) // a hash takes everything
		_, _ = h.Write([]byte(s))
	}
	for _, v := range []int64{t.ID, int64(t.Seed), t.Parent, t.CopyOf, t.Steps} {
		_ = binary.Write(h, binary.LittleEndian, v)
	}
	for _, v := range []float64{t.Proposal.Budget, t.Delta, t.MaxOut, took} {
		_ = binary.Write(h, binary.LittleEndian, math.Float64bits(v))
	}
	for _, s := range []string{state, t.Genotype.String(), toJSON(t.Edits), t.Note, toJSON(t.Metrics), toJSON(t.Curve), t.Weights, t.Fault, asked, finished} {
		text(s)
	}
	return int64(h.Sum32())
}
