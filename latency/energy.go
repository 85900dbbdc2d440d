package latency

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/internal/diag"
)

// raplDir is where Linux shows the processor's energy counters.
const raplDir = "/sys/class/powercap"

// Meter reads the energy that the processor's packages have taken (RAPL).
type Meter struct {
	files []string
	wraps []float64 // µJ at which a counter starts again
	last  []float64
	total float64
}

// NewMeter finds the counters; the error says why there are none to read.
func NewMeter() (*Meter, error) { return newMeter(raplDir) }

func newMeter(dir string) (*Meter, error) {
	zones, _ := filepath.Glob(filepath.Join(dir, "intel-rapl:*"))
	m := &Meter{}
	for _, z := range zones {
		if strings.Count(filepath.Base(z), ":") != 1 {
			continue // a part of a package
		}
		file := filepath.Join(z, "energy_uj")
		v, err := counter(file)
		if err != nil {
			why := err.Error()
			if errors.Is(err, fs.ErrPermission) {
				why = "reading " + file + " is not permitted"
			}
			return nil, &diag.Error{Place: "energy", Found: why, Wanted: "the processor's counters (RAPL), readable", Fix: "run as root, or let this user read energy_uj"}
		}
		wrap, err := counter(filepath.Join(z, "max_energy_range_uj"))
		if err != nil {
			wrap = 0
		}
		m.files, m.last, m.wraps = append(m.files, file), append(m.last, v), append(m.wraps, wrap)
	}
	if len(m.files) == 0 {
		return nil, &diag.Error{Place: "energy", Found: "no energy counters under " + dir, Wanted: "the processor's (RAPL): an Intel or AMD machine that is not virtual", Fix: "measure on such a machine"}
	}
	return m, nil
}

func counter(file string) (float64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
}

// Joules is the energy taken since the meter was made.
func (m *Meter) Joules() (float64, error) {
	for i, f := range m.files {
		v, err := counter(f)
		if err != nil {
			return 0, diag.At("energy", err)
		}
		d := v - m.last[i]
		if d < 0 {
			d += m.wraps[i]
		}
		m.total, m.last[i] = m.total+d/1e6, v
	}
	return m.total, nil
}

// Energy is what a run takes: the packages' power while f repeats it for d,
// times a run's time. The power is the whole machine's, idle cores included.
func Energy(m *Meter, d time.Duration, run func() error) (joules float64, err error) {
	before, err := m.Joules()
	if err != nil {
		return 0, err
	}
	runs := 0
	for begun := time.Now(); runs == 0 || time.Since(begun) < d; runs++ {
		if err := run(); err != nil {
			return 0, err
		}
	}
	after, err := m.Joules()
	return (after - before) / float64(runs), err
}
