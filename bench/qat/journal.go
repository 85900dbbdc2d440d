package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// row is one arm of one seed.
type row struct {
	Key     string  `json:"key"` // the settings
	Seed    uint64  `json:"seed"`
	Arm     string  `json:"arm"`
	Top1    float64 `json:"top1"`
	N       int     `json:"n"`
	Bytes   int64   `json:"bytes"`
	Share   float64 `json:"int8_mac_share"`
	Differ  int     `json:"differing_bits"` // between the trained network and its compiled file
	Bits    int     `json:"bits"`           // that were compared
	Seconds float64 `json:"seconds"`
}

// key are the settings that results depend on.
func (s *settings) key() string {
	k := fmt.Sprintf("epochs %d+%d, batch %d, lr %g, %g", s.epochs, s.more, s.batch, s.lr, s.moreLR)
	if s.moreLR4 > 0 {
		k += fmt.Sprintf(" (4 bits %g)", s.moreLR4)
	}
	if s.ema > 0 {
		k += fmt.Sprintf(", ema %g", s.ema)
	}
	if s.freeze {
		k += ", norms frozen"
	}
	return k
}

// journal is the file of rows.
type journal struct {
	mu   sync.Mutex
	f    *os.File
	key  string
	rows []row
}

// openJournal reads what is there; a last line that was cut off is dropped.
func openJournal(path, key string) (*journal, error) {
	j := &journal{key: key}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	var end int64
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if err != nil {
			break
		}
		var w row
		if json.Unmarshal(line, &w) != nil {
			break
		}
		end += int64(len(line))
		if w.Key == key {
			j.rows = append(j.rows, w)
		}
	}
	if err := f.Truncate(end); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.Seek(end, 0); err != nil {
		f.Close()
		return nil, err
	}
	j.f = f
	return j, nil
}

// find gives an arm that is done.
func (j *journal) find(seed uint64, arm string) *row {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.rows {
		if j.rows[i].Seed == seed && j.rows[i].Arm == arm {
			return &j.rows[i]
		}
	}
	return nil
}

// add writes a row at once.
func (j *journal) add(r row) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	r.Key = j.key
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := j.f.Write(append(b, '\n')); err != nil {
		return err
	}
	j.rows = append(j.rows, r)
	fmt.Printf("seed %d, %s: top-1 %.2f %%, %d of %d bits differ (%.0f s)\n", r.Seed, r.Arm, 100*r.Top1, r.Differ, r.Bits, r.Seconds)
	return j.f.Sync()
}

func (j *journal) close() error { return j.f.Close() }
