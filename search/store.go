package search

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Store keeps trained files by the digest of what they hold. Evaluators put
// weights there and read their parents' from it.
type Store interface {
	// Put keeps a copy of a .nasc file and gives its digest.
	Put(path string) (digest string, err error)
	// File gives the path of a kept file. It still has its digest.
	File(digest string) (path string, err error)
}

// DirStore is a Store of one folder: ab/cdef….nasc holds the file whose digest
// begins with ab. A file is there whole or not at all.
type DirStore string

// Put copies the file.
func (d DirStore) Put(path string) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	return d.Add(in)
}

// Add keeps what it reads.
func (d DirStore) Add(in io.Reader) (digest string, err error) {
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return "", diag.At(string(d), err)
	}
	f, err := os.CreateTemp(string(d), ".partial-*")
	if err != nil {
		return "", diag.At(string(d), err)
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), in)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return "", diag.At(string(d), err)
	}
	digest = hex.EncodeToString(h.Sum(nil))
	path := d.path(digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", diag.At(path, err)
	}
	return digest, diag.At(path, os.Rename(f.Name(), path))
}

// File checks the digest of the file and gives its path.
func (d DirStore) File(digest string) (string, error) {
	if b, err := hex.DecodeString(digest); err != nil || len(b) != sha256.Size {
		return "", &diag.Error{Place: string(d), Found: fmt.Sprintf("%q", digest), Wanted: "the SHA-256 of a file, in hexadecimal"}
	}
	path := d.path(digest)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &diag.Error{Place: path, Found: "no such file", Wanted: "the weights that the study's journal names", Fix: "bring the folder " + string(d) + " back beside the study"}
	} else if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", diag.At(path, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != digest {
		return "", &diag.Error{Place: path, Found: "bytes whose SHA-256 is " + got, Wanted: "what its name says: the file was changed", Fix: "bring it back from a copy"}
	}
	return path, nil
}

// Has says whether a digest is kept, without looking into the file.
func (d DirStore) Has(digest string) bool {
	_, err := os.Stat(d.path(digest))
	return len(digest) > 2 && err == nil
}

func (d DirStore) path(digest string) string {
	if len(digest) < 3 {
		return string(d)
	}
	return filepath.Join(string(d), digest[:2], digest[2:]+".nasc")
}
