package study

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	_ "modernc.org/sqlite" // the driver

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

// Meta is what a study searches, and how: what must be the same for it to go
// on.
type Meta struct {
	UID         string             `json:"uid"`
	Space       string             `json:"space"`
	SpaceText   string             `json:"-"`
	SpaceDigest string             `json:"space_digest"`
	Strategy    string             `json:"strategy"`
	Options     map[string]string  `json:"options"`
	Objective   string             `json:"objective"`
	Limits      map[string]float64 `json:"limits"`
	Seed        uint64             `json:"seed"`
	Window      int                `json:"window"`
	Budget      int                `json:"budget"` // trials that the strategy was set up for
	Data        string             `json:"data"`
	Settings    map[string]string  `json:"settings"` // what else decides outcomes
	Nasc        string             `json:"nasc"`
	Command     string             `json:"command"`
	Created     time.Time          `json:"created"`
}

// Study is an open study. It is a search.Journal.
type Study struct {
	Path string
	Meta Meta

	lock    *flock.Flock // nil: opened for reading
	copied  string       // folder of the copy that is read; "": the file itself is
	db      *sql.DB
	insert  *sql.Stmt
	update  *sql.Stmt
	session int64
	start   time.Time

	mu      sync.Mutex // of what follows
	rows    []Row
	used    time.Duration // of earlier sessions
	touched time.Time     // when used_ms was last written
}

// Row is a trial as the journal has it.
type Row struct {
	*search.Trial
	Done     bool          `json:"done"`
	Asked    time.Time     `json:"asked"`
	Finished time.Time     `json:"finished,omitzero"`
	Took     time.Duration `json:"-"`
}

// Weights is the folder of trained files beside a study.
func Weights(path string) search.DirStore { return search.DirStore(path + ".weights") }

// Open opens a study to go on with it, or begins one where there is none. Where
// another process works on it, waiting is called once and Open returns when the
// other is done. A study of something else than meta is refused; of meta,
// UID, Window, Budget, Nasc, Command and Created are set from the file.
func Open(ctx context.Context, path string, meta Meta, waiting func()) (*Study, error) {
	lock := flock.New(path + ".lock")
	got, err := lock.TryLock()
	if err == nil && !got {
		waiting()
		_, err = lock.TryLockContext(ctx, 50*time.Millisecond)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, &diag.Error{Place: path + ".lock", Err: err, Fix: "name a study in a folder that can be written to"}
	}
	s := &Study{Path: path, lock: lock, start: time.Now()}
	if err := s.open(ctx, meta); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Read opens a study for reading, while others may work on it.
func Read(ctx context.Context, path string) (*Study, error) {
	s := &Study{Path: path, start: time.Now()}
	if _, err := os.Stat(path); err != nil {
		return nil, &diag.Error{Place: path, Err: err, Fix: "nasc search … --study " + path + " begins one"}
	}
	err := s.read(ctx)
	if err != nil && (strings.Contains(err.Error(), "unable to open database file") || strings.Contains(err.Error(), "readonly database")) {
		if err = s.copy(); err == nil {
			err = s.read(ctx)
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// copy makes a copy to read in a folder of its own: SQLite wants to write beside
// a file that it reads, and this one's folder does not let it.
func (s *Study) copy() error {
	if err := s.db.Close(); err != nil {
		return s.place(err)
	}
	var err error
	if s.copied, err = os.MkdirTemp("", "nasc-study-*"); err != nil {
		return s.place(err)
	}
	for _, with := range []string{"", "-wal"} { // -wal: what a process that was killed left
		b, err := os.ReadFile(s.Path + with)
		if with != "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(s.copied, "study.db"+with), b, 0o600)
		}
		if err != nil {
			return s.place(err)
		}
	}
	return nil
}

// connect opens the file: one connection, so that there is one writer.
func (s *Study) connect(write bool) error {
	q := url.Values{"_pragma": {"busy_timeout(10000)", "foreign_keys(1)"}, "_txlock": {"immediate"}}
	if write {
		q["_pragma"] = append(q["_pragma"], "journal_mode(WAL)", "synchronous(NORMAL)")
	} else {
		q["_pragma"] = append(q["_pragma"], "query_only(1)")
	}
	path := s.Path
	if s.copied != "" {
		path = filepath.Join(s.copied, "study.db")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: q.Encode()}
	s.db, err = sql.Open("sqlite", u.String())
	if err != nil {
		return err
	}
	s.db.SetMaxOpenConns(1)
	return nil
}

// open reads the study, or makes it.
func (s *Study) open(ctx context.Context, meta Meta) error {
	st, err := os.Stat(s.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0:
		err = s.create(ctx, meta)
	case err == nil:
		err = s.read(ctx)
		empty := errors.Is(err, errEmpty)
		if err == nil {
			err = s.same(meta)
		}
		if err == nil || empty {
			err = s.db.Close()
		}
		switch {
		case err == nil && empty:
			err = s.create(ctx, meta)
		case err == nil:
			err = s.connect(true)
		}
	}
	if err != nil {
		return s.place(err)
	}
	return s.place(s.begin(ctx, meta.Nasc))
}

// create writes the tables and the study's row in one transaction.
func (s *Study) create(ctx context.Context, meta Meta) error {
	if err := s.connect(true); err != nil {
		return err
	}
	if meta.Created.IsZero() {
		meta.Created = time.Now().UTC().Truncate(time.Second)
	}
	uid := make([]byte, 8)
	if _, err := rand.Read(uid); err != nil {
		return err
	}
	meta.UID = hex.EncodeToString(uid)
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, schema+fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;", applicationID, Format)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO study VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		meta.UID, meta.Space, meta.SpaceText, meta.SpaceDigest, meta.Strategy, toJSON(meta.Options), meta.Objective, toJSON(meta.Limits),
		int64(meta.Seed), meta.Window, meta.Budget, meta.Data, toJSON(meta.Settings), meta.Nasc, meta.Command, meta.Created.Format(time.RFC3339)); err != nil {
		return err
	}
	s.Meta = meta
	return tx.Commit()
}

// begin notes this run and prepares what it writes.
func (s *Study) begin(ctx context.Context, version string) error {
	r, err := s.db.ExecContext(ctx, `INSERT INTO session (nasc, pid, started, used_ms) VALUES (?, ?, ?, 0)`, version, os.Getpid(), now())
	if err != nil {
		return err
	}
	if s.session, err = r.LastInsertId(); err != nil {
		return err
	}
	if s.insert, err = s.db.PrepareContext(ctx, `INSERT INTO trial VALUES (?, 'asked', ?, ?, ?, ?, ?, ?, ?, '{}', '[]', '', 0, 0, 0, '', ?, '', 0, ?)`); err != nil {
		return err
	}
	s.update, err = s.db.PrepareContext(ctx, `UPDATE trial SET state = 'done', metrics = ?, curve = ?, weights = ?, steps = ?, delta = ?, max_out = ?, fault = ?, finished = ?, took_ms = ?, sum = ?
		WHERE id = ? AND state = 'asked'`)
	return err
}

// DataDigest is the setting that says which samples trials were given: the
// name alone does not.
const DataDigest = "data-digest"

// Budget is the setting that holds what a search was allowed where Meta.Budget
// does not say it: a time. A study may go on with another.
const Budget = "budget"

// same refuses to go on with a study of something else.
func (s *Study) same(m Meta) error {
	was := s.Meta
	a, b := maps.Clone(was.Settings), maps.Clone(m.Settings)
	before, here := a[DataDigest], b[DataDigest]
	delete(a, DataDigest)
	delete(b, DataDigest)
	delete(a, Budget)
	delete(b, Budget)
	options, optionsHere := apart(was.Options, m.Options)
	limits, limitsHere := apart(was.Limits, m.Limits)
	settings, settingsHere := apart(a, b)
	for _, f := range []struct{ name, was, now string }{
		{"space", was.Space + " (" + short(was.SpaceDigest) + ")", m.Space + " (" + short(m.SpaceDigest) + ")"},
		{"strategy", was.Strategy, m.Strategy},
		{"options", options, optionsHere},
		{"objective", was.Objective, m.Objective},
		{"limits", limits, limitsHere},
		{"seed", fmt.Sprint(was.Seed), fmt.Sprint(m.Seed)},
		{"data", was.Data, m.Data},
		{"settings", settings, settingsHere},
	} {
		if f.was != f.now {
			return &diag.Error{Place: s.Path, Found: "a study with " + f.name + " " + f.was, Wanted: f.now + ", which this search has", Fix: "go on with what the study has, or name another file"}
		}
	}
	if before != "" && before != here { // studies of an earlier nasc have none
		return &diag.Error{Place: s.Path, Found: "trials on samples whose SHA-256 is " + before + ", and " + here + " under --data " + m.Data + " now", Wanted: "the same data throughout a study", Fix: "bring the data back as it was, or name another file"}
	}
	return nil
}

// apart names what differs in two sets, as each has it.
func apart[V comparable](a, b map[string]V) (inA, inB string) {
	var first, second []string
	text := func(m map[string]V, k string) string {
		if v, ok := m[k]; ok {
			return fmt.Sprintf("%s=%v", k, v)
		}
		return "no " + k
	}
	keys := maps.Clone(a)
	if keys == nil {
		keys = map[string]V{}
	}
	maps.Copy(keys, b)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if x, y := text(a, k), text(b, k); x != y {
			first, second = append(first, x), append(second, y)
		}
	}
	return strings.Join(first, ", "), strings.Join(second, ", ")
}

func short(digest string) string { return digest[:min(12, len(digest))] }

// Close ends the work on a study.
func (s *Study) Close() error {
	var err error
	if s.db != nil {
		if s.session != 0 {
			err = s.touch(true)
		}
		err = errors.Join(err, s.db.Close())
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if s.copied != "" {
		err = errors.Join(err, os.RemoveAll(s.copied))
	}
	return err
}

// Abandon ends the work on a study that this process has begun, and removes it.
func (s *Study) Abandon() error {
	err := s.db.Close()
	s.db = nil
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} { // under the lock: who waits for it begins anew
		if e := os.Remove(s.Path + suffix); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, s.Close())
}

// place puts the file before an error, and says what can be done about the
// usual ones.
func (s *Study) place(err error) error {
	if err == nil {
		return nil
	}
	var d *diag.Error
	if errors.As(err, &d) || errors.Is(err, context.Canceled) {
		return err
	}
	e := &diag.Error{Place: s.Path, Err: err}
	switch text := err.Error(); {
	case strings.Contains(text, "disk is full"), strings.Contains(text, "disk I/O error"):
		e.Fix = "make room: the study goes on where it stopped"
	case strings.Contains(text, "not a database"), strings.Contains(text, "malformed"):
		e.Fix = damagedFix
	case strings.Contains(text, "readonly"):
		e.Fix = "make the file and its folder writable"
	}
	return e
}

const damagedFix = "bring it back from a copy; nasc search begins another study where the file is moved away"

func toJSON(v any) string {
	switch v := v.(type) {
	case map[string]string:
		if v == nil {
			return "{}"
		}
	case map[string]float64:
		if v == nil {
			return "{}"
		}
	case []string:
		if v == nil {
			return "[]"
		}
	case []float64:
		if v == nil {
			return "[]"
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("BUG: %v is no JSON: %v", v, err)) // outcomes were cleaned
	}
	return string(b)
}

func now() string { return time.Now().UTC().Format(time.RFC3339Nano) }

// Goal is the study's, read from its text.
func (m Meta) Goal() (search.Goal, error) {
	var limits []search.Limit
	for _, name := range slices.Sorted(maps.Keys(m.Limits)) {
		metric, err := search.FindMetric(name)
		if err != nil {
			return search.Goal{}, err
		}
		limits = append(limits, search.Limit{Metric: metric, Bound: m.Limits[name]})
	}
	return search.ParseGoal(m.Objective, limits...)
}
