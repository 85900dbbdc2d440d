//go:build !unix

package nascfile

import "os"

// mapFile reads the file: a mapped one could not be replaced by a rename on
// Windows.
func mapFile(path string) ([]byte, func() error, error) {
	b, err := os.ReadFile(path)
	return b, func() error { return nil }, err
}
