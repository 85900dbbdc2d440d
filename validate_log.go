package nasc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/nasc-dev/nasc/internal/diag"
)

// measuredLog keeps what a validation measured, a line a process, so that one
// that was killed goes on. Each line ends with its checksum; what is torn at
// the end is dropped.
type measuredLog struct {
	f    *os.File
	seen map[string]*Measured
}

type measuredLine struct {
	Network string `json:"network"`
	Round   int    `json:"round"`
	Measured
}

func (l measuredLine) id() string { return fmt.Sprint(l.Round, " ", l.Network) }

// openMeasuredLog goes on with the log at path, or begins it; without a path
// nothing is kept.
func openMeasuredLog(path string) (*measuredLog, error) {
	l := &measuredLog{seen: map[string]*Measured{}}
	if path == "" {
		return l, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, diag.At(path, err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, errors.Join(diag.At(path, err), f.Close())
	}
	good := 0
	for rest := data; ; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		at := bytes.LastIndexByte(line, ' ')
		if !whole || at < 0 || string(line[at+1:]) != checksum(line[:at]) {
			break
		}
		var m measuredLine
		if json.Unmarshal(line[:at], &m) != nil {
			break
		}
		l.seen[m.id()] = &m.Measured
		good += len(line) + 1
		rest = after
	}
	if err := f.Truncate(int64(good)); err != nil {
		return nil, errors.Join(diag.At(path, err), f.Close())
	}
	if _, err := f.Seek(int64(good), io.SeekStart); err != nil {
		return nil, errors.Join(diag.At(path, err), f.Close())
	}
	l.f = f
	return l, nil
}

func checksum(b []byte) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE(b)) }

// find gives what a network took in a round, nil where it is to be measured.
func (l *measuredLog) find(network string, round int) *Measured {
	return l.seen[measuredLine{Network: network, Round: round}.id()]
}

// add keeps a measurement.
func (l *measuredLog) add(network string, round int, m *Measured) error {
	line := measuredLine{network, round, *m}
	l.seen[line.id()] = m
	if l.f == nil {
		return nil
	}
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(l.f, "%s %s\n", b, checksum(b))
	return diag.At(l.f.Name(), err)
}

// close ends the log; remove it when all is done.
func (l *measuredLog) close(done bool) error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	if done || len(l.seen) == 0 { // nothing to go on with
		err = errors.Join(err, os.Remove(l.f.Name()))
	}
	return err
}
