package study

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

// read checks the file and reads the study and its trials.
func (s *Study) read(ctx context.Context) error {
	if err := s.connect(false); err != nil {
		return err
	}
	if err := s.form(ctx); err != nil {
		return s.place(err)
	}
	var sound string
	if err := s.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&sound); err != nil {
		return s.place(err)
	}
	if sound != "ok" {
		return &diag.Error{Place: s.Path, Found: "a damaged journal: " + sound, Fix: damagedFix}
	}
	if err := s.readMeta(ctx); err != nil {
		return s.place(err)
	}
	return s.place(s.readTrials(ctx))
}

// errEmpty says that a file has no tables: its making was interrupted.
var errEmpty error = &diag.Error{Found: "an empty file, or a study whose making was interrupted", Wanted: "a study with trials", Fix: "nasc search --study begins it"}

// leastPage is the least size of a SQLite file's page.
const leastPage = 512

// form says whether the file is a study of a form that is known.
func (s *Study) form(ctx context.Context) error {
	var id, version, tables int64
	if err := s.db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	st, err := os.Stat(s.Path)
	if err != nil {
		return err
	}
	switch {
	case id == 0 && tables == 0 && st.Size() > 0 && st.Size() < leastPage: // SQLite takes it for an empty one, and would write over it
		return &diag.Error{Place: s.Path, Found: fmt.Sprintf("a file of %d bytes that is no study, or what is left of one", st.Size()), Wanted: "a study of nasc search", Fix: damagedFix}
	case id == 0 && tables == 0:
		return diag.At(s.Path, errEmpty)
	case id != applicationID:
		return &diag.Error{Place: s.Path, Found: "a SQLite file that is no study", Wanted: "a study of nasc search", Fix: "name another file"}
	case version > Format:
		return &diag.Error{Place: s.Path, Found: fmt.Sprintf("a study of format %d", version), Wanted: fmt.Sprintf("%d or older", Format), Fix: "use a newer nasc"}
	}
	return nil
}

func (s *Study) readMeta(ctx context.Context) error {
	m := &s.Meta
	var options, limits, settings, created string
	var seed int64
	err := s.db.QueryRowContext(ctx, `SELECT uid, space, space_text, space_digest, strategy, options, objective, limits, seed, window, budget, data, settings, nasc, command, created FROM study`).
		Scan(&m.UID, &m.Space, &m.SpaceText, &m.SpaceDigest, &m.Strategy, &options, &m.Objective, &limits, &seed, &m.Window, &m.Budget, &m.Data, &settings, &m.Nasc, &m.Command, &created)
	if err != nil {
		return err
	}
	m.Seed = uint64(seed)
	for _, f := range []struct {
		text string
		to   any
	}{{options, &m.Options}, {limits, &m.Limits}, {settings, &m.Settings}} {
		if err := json.Unmarshal([]byte(f.text), f.to); err != nil {
			return err
		}
	}
	if m.Created, err = time.Parse(time.RFC3339, created); err != nil {
		return err
	}
	var ms float64
	err = s.db.QueryRowContext(ctx, `SELECT coalesce(sum(used_ms), 0.0) FROM session`).Scan(&ms)
	s.used = time.Duration(ms * float64(time.Millisecond))
	return err
}

func (s *Study) readTrials(ctx context.Context) error {
	goal, err := s.Meta.Goal()
	if err != nil {
		return err
	}
	q, err := s.db.QueryContext(ctx, `SELECT id, state, seed, genotype, parent, edits, share, note, copy_of, metrics, curve, weights, steps, delta, max_out, fault, asked, finished, took_ms, sum FROM trial ORDER BY id`)
	if err != nil {
		return err
	}
	defer q.Close()
	for q.Next() {
		t := &search.Trial{}
		var seed, sum int64
		var state, genotype, edits, metrics, curve, asked, finished string
		var took float64
		if err := q.Scan(&t.ID, &state, &seed, &genotype, &t.Parent, &edits, &t.Budget, &t.Note, &t.CopyOf, &metrics, &curve, &t.Weights, &t.Steps, &t.Delta, &t.MaxOut, &t.Fault,
			&asked, &finished, &took, &sum); err != nil {
			return err
		}
		t.Seed = uint64(seed)
		damaged := func(what string) error {
			return &diag.Error{Place: s.Path, Found: fmt.Sprintf("trial %d is damaged: %s", len(s.rows)+1, what), Fix: damagedFix}
		}
		if t.Genotype, err = parseGenotype(genotype); err != nil {
			return damaged(err.Error())
		}
		for _, f := range []struct {
			text string
			to   any
		}{{edits, &t.Edits}, {curve, &t.Curve}, {metrics, &t.Metrics}} {
			if err := json.Unmarshal([]byte(f.text), f.to); err != nil {
				return damaged(err.Error())
			}
		}
		if len(t.Edits) == 0 {
			t.Edits = nil
		}
		if len(t.Curve) == 0 {
			t.Curve = nil
		}
		if checksum(t, state, asked, finished, took) != sum {
			return damaged("its checksum is another")
		}
		if t.ID != int64(len(s.rows)+1) {
			return damaged("it is missing")
		}
		r := Row{Trial: t, Done: state == "done", Took: time.Duration(took * float64(time.Millisecond))}
		if r.Asked, err = time.Parse(time.RFC3339Nano, asked); err != nil {
			return damaged(err.Error())
		}
		if r.Done {
			if r.Finished, err = time.Parse(time.RFC3339Nano, finished); err != nil {
				return damaged(err.Error())
			}
			t.Judge(goal)
		}
		s.rows = append(s.rows, r)
	}
	return q.Err()
}

func parseGenotype(text string) (search.Genotype, error) {
	g := search.Genotype{}
	if text == "" {
		return g, nil
	}
	for f := range strings.SplitSeq(text, ".") {
		v, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		g = append(g, v)
	}
	return g, nil
}

// Rows are the trials.
func (s *Study) Rows() []Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows[:len(s.rows):len(s.rows)]
}

// Done are the trials with an outcome.
func (s *Study) Done() []*search.Trial {
	var out []*search.Trial
	for _, r := range s.Rows() {
		if r.Done {
			out = append(out, r.Trial)
		}
	}
	return out
}
