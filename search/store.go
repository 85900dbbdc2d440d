package search

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Store keeps trained .nasc files by the digest of what they hold. Evaluators
// put weights there and get their parents' from it.
type Store interface {
	Put(file []byte) (digest string, err error)
	Get(digest string) ([]byte, error)
}

// DirStore is a Store of one folder: ab/cdef….nasc holds the file whose digest
// is abcdef…. A file is there whole or not at all.
type DirStore string

// Digest is the SHA-256 of a file, in hexadecimal.
func Digest(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:])
}

// Put keeps a file.
func (d DirStore) Put(file []byte) (string, error) {
	digest := Digest(file)
	path, err := d.Path(digest)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", diag.At(path, err)
	}
	f, err := os.CreateTemp(string(d), ".partial-*")
	if err != nil {
		return "", diag.At(path, err)
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(file)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", diag.At(path, err)
	}
	return digest, diag.At(path, os.Rename(f.Name(), path))
}

// Get reads a file, which still has its digest.
func (d DirStore) Get(digest string) ([]byte, error) {
	path, err := d.Path(digest)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &diag.Error{Place: path, Found: "no such file", Wanted: "the weights that the study's journal names", Fix: "bring the folder " + string(d) + " back beside the study"}
	} else if err != nil {
		return nil, err
	}
	if got := Digest(b); got != digest {
		return nil, &diag.Error{Place: path, Found: "bytes whose SHA-256 is " + got, Wanted: "what its name says: the file was changed", Fix: "bring it back from a copy"}
	}
	return b, nil
}

// Has says whether a file is kept, without looking into it.
func (d DirStore) Has(digest string) bool {
	path, err := d.Path(digest)
	if err == nil {
		_, err = os.Stat(path)
	}
	return err == nil
}

// Path is where a file is, or would be.
func (d DirStore) Path(digest string) (string, error) {
	if b, err := hex.DecodeString(digest); err != nil || len(b) != sha256.Size {
		return "", &diag.Error{Place: string(d), Found: fmt.Sprintf("%q", digest), Wanted: "the SHA-256 of a file, in hexadecimal"}
	}
	return filepath.Join(string(d), digest[:2], digest[2:]+".nasc"), nil
}
