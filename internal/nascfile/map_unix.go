//go:build unix

package nascfile

import (
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps a file for reading.
func mapFile(path string) ([]byte, func() error, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	s, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	n := s.Size()
	if !s.Mode().IsRegular() || n > math.MaxInt {
		return nil, nil, fmt.Errorf("it is no regular file")
	}
	if n == 0 {
		return nil, func() error { return nil }, nil
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(n), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		if b, err = os.ReadFile(path); err != nil {
			return nil, nil, err
		}
		return b, func() error { return nil }, nil
	}
	return b, func() error { return unix.Munmap(b) }, nil
}
