package evaluate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Weights keeps trained networks, .nasc files as bytes, by what they hold.
// Its methods may be called by several goroutines.
type Weights interface {
	Put(file []byte) (digest string, err error)
	Get(digest string) ([]byte, error)
}

// digest names a file: 128 bits of its SHA-256.
func digest(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:16])
}

// Memory keeps the files of one process.
type Memory struct {
	mu    sync.Mutex
	files map[string][]byte
}

// Put keeps a file.
func (m *Memory) Put(file []byte) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files == nil {
		m.files = map[string][]byte{}
	}
	d := digest(file)
	m.files[d] = file
	return d, nil
}

// Get gives a file that was put.
func (m *Memory) Get(d string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[d]
	if !ok {
		return nil, missing("memory", d)
	}
	return f, nil
}

func missing(where, d string) error {
	return &diag.Error{Place: "weights " + d, Found: "nothing of that name in " + where, Wanted: "the file that a trial of the study left", Fix: "bring the study's folder back, or begin another study"}
}

// Dir keeps files in a folder, each under its digest with .nasc behind it. What
// was written is whole, and is checked when it is read.
type Dir string

var digestForm = regexp.MustCompile("^[0-9a-f]{32}$")

// Put writes a file unless it is there.
func (d Dir) Put(file []byte) (string, error) {
	name := digest(file)
	path := filepath.Join(string(d), name+".nasc")
	if info, err := os.Stat(path); err == nil && info.Size() == int64(len(file)) {
		return name, nil
	}
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return "", diag.At(string(d), err)
	}
	f, err := os.CreateTemp(string(d), ".weights-*")
	if err != nil {
		return "", diag.At(string(d), err)
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(file)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", diag.At(path, err)
	}
	return name, diag.At(path, os.Rename(f.Name(), path))
}

// Get reads a file.
func (d Dir) Get(name string) ([]byte, error) {
	if !digestForm.MatchString(name) {
		return nil, missing(string(d), name)
	}
	path := filepath.Join(string(d), name+".nasc")
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing(string(d), name)
	case err != nil:
		return nil, diag.At(path, err)
	case digest(b) != name:
		return nil, &diag.Error{Place: path, Found: "other bytes than its name says", Wanted: "the file as it was written", Fix: "bring the study's folder back, or begin another study"}
	}
	return b, nil
}
