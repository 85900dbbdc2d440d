package nasc

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
)

// ValidateOptions steer Validate.
type ValidateOptions struct {
	Table   *latency.Table
	Spaces  []*arch.Space
	Models  []latency.Work
	N       int // networks of each space
	Seed    uint64
	Target  string
	Threads int
	Batch   int
	Rounds  int // processes whose median is a network's time [3]
	// Log keeps what was measured until all is: a validation that was stopped
	// goes on from there [not kept].
	Log string
	// Once leaves out the second measurement.
	Once bool
	// Until ends after so many rounds, with nothing compared; what was measured
	// and the networks' files stay for a later call [2·Rounds, then compare].
	Until int
	// Known networks were measured by a validation before, on this device, target
	// and threads: these alone are predicted and compared, nothing is measured.
	Known []ValidNet
	// Measure runs files in a process of their own, in turns.
	Measure  func(ctx context.Context, files []string) ([]*Measured, error)
	Progress func(done, total int)
}

// ValidNet is one network of a validation, times in ms.
type ValidNet struct {
	Name      string  `json:"name"`
	Group     string  `json:"group"` // the space, or "models"
	Predicted float64 `json:"predicted_ms"`
	Lo        float64 `json:"lo_ms"`
	Hi        float64 `json:"hi_ms"`
	Measured  float64 `json:"measured_ms"`
	Again     float64 `json:"again_ms"` // a second measurement; 0: none
	Hits      float64 `json:"hits"`     // share of steps whose kernel has a row
	// All and AllAgain are the two measurements by all runs, where Measured and
	// Again are those of the quiet ones (Measured.Median); 0: not told.
	All      float64 `json:"all_ms,omitempty"`
	AllAgain float64 `json:"all_again_ms,omitempty"`
	// Processes are the medians of all processes, in the order in which these took
	// turns; 0 where a network met no quiet.
	Processes []float64 `json:"processes_ms,omitempty"`
	// Busy says that in none of the processes of one of the two measurements the
	// network met quiet: that is a time of a busy machine.
	Busy bool `json:"busy,omitempty"`
	// Paced and PacedAgain are the two measurements in ms for each µs that the
	// anchor took beside them, of targets by blocks.
	Paced      float64 `json:"paced,omitempty"`
	PacedAgain float64 `json:"paced_again,omitempty"`

	families map[string][2]float64 // predicted and measured, by family
}

// Validation is how well a table predicts networks that it has not seen.
type Validation struct {
	latency.Accuracy
	Coverage      float64 `json:"coverage"`          // share of networks within their interval
	Busy          int     `json:"busy"`              // networks of ValidNet.Busy; of targets by blocks none
	NoiseWithin5  float64 `json:"noise_within_5pct"` // of no second measurement all three are 0
	NoiseWithin10 float64 `json:"noise_within_10pct"`
	NoiseSpearman float64 `json:"noise_spearman"`
	// AllRuns compares with the times of all runs, those beside a busy neighbour,
	// too. Steady compares times of targets that are predicted by blocks once more,
	// as if the machine had had the speed at which the table's networks met it: by
	// the anchor that was timed beside them.
	AllRuns  *ValidAgainst `json:"all_runs,omitempty"`
	Steady   *ValidAgainst `json:"steady,omitempty"`
	Groups   []ValidGroup  `json:"groups"`
	Families []ValidFamily `json:"families"`
	Networks []ValidNet    `json:"networks"`
	Target   string        `json:"target"`
	Threads  int           `json:"threads"`
}

// ValidAgainst is how well networks are predicted by another time of theirs.
type ValidAgainst struct {
	latency.Accuracy
	Coverage      float64 `json:"coverage"`
	NoiseWithin5  float64 `json:"noise_within_5pct"`
	NoiseWithin10 float64 `json:"noise_within_10pct"`
	NoiseSpearman float64 `json:"noise_spearman"`
}

// Repeated says that there is a second measurement, and so noise to tell of.
func (v *Validation) Repeated() bool {
	return slices.ContainsFunc(v.Networks, func(n ValidNet) bool { return n.Again > 0 })
}

// ValidGroup is the accuracy on one space.
type ValidGroup struct {
	Name string `json:"name"`
	latency.Accuracy
	Coverage float64 `json:"coverage"`
}

// ValidFamily sums up the kernels of one family over all networks, in ms.
// Measured is 0 of targets that show no steps.
type ValidFamily struct {
	Name      string  `json:"name"`
	Predicted float64 `json:"predicted_ms"`
	Measured  float64 `json:"measured_ms"`
	MAPE      float64 `json:"mape"` // over networks
}

// validateAtOnce is how many networks share a process, in which they take
// turns, as long as their files take no more than validateBytes: what is measured
// of one network is far apart in time then, and sees the machine in different
// moods.
const validateAtOnce, validateBytes = 128, 1 << 30

// candidate is a network to validate.
type candidate struct {
	name, group string
	build       func() (latency.Work, error)
}

func (o *ValidateOptions) candidates(ctx context.Context) []candidate {
	var out []candidate
	for _, s := range o.Spaces {
		n := 0
		for _, g := range s.Samples(2*o.N+100, o.Seed) {
			net := SpaceNet{s, g}
			if n == o.N || o.Table.HasNet(net.Name()) || o.Known != nil && o.known(net.Name()) == nil {
				continue
			}
			n++
			out = append(out, candidate{net.Name(), s.Name, func() (latency.Work, error) { return net.Graph(ctx, o.Target, o.Batch) }})
		}
	}
	for _, m := range o.Models {
		out = append(out, candidate{m.Name, "models", func() (latency.Work, error) { return m, nil }})
	}
	return out
}

// known is what a validation before measured of a network, nil for nothing.
func (o *ValidateOptions) known(name string) *ValidNet {
	i := slices.IndexFunc(o.Known, func(n ValidNet) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return &o.Known[i]
}

// Validate draws networks that the table has not as a whole, predicts them,
// measures each in fresh processes that take turns, and compares.
func Validate(ctx context.Context, o ValidateOptions) (v *Validation, err error) {
	if o.Rounds == 0 {
		o.Rounds = 3
	}
	log, err := openMeasuredLog(o.Log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.close(err == nil && o.Until == 0)) }()
	dir := o.Log + ".networks" // what a killed run left there is in the way of nothing
	if o.Log == "" {
		if dir, err = os.MkdirTemp("", "nasc-validate-"); err != nil {
			return nil, err
		}
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, diag.At(dir, err)
	}
	if o.Until == 0 {
		defer os.RemoveAll(dir)
	}
	list := o.candidates(ctx)
	v = &Validation{Target: o.Target, Threads: o.Threads}
	t := &turns{o: &o, log: log, dir: dir, v: v, total: len(list) * (1 + 2*o.Rounds)}
	for i, c := range list {
		if o.Until > 0 {
			if err := t.keep(c); err != nil {
				return nil, diag.At(c.name, err)
			}
		} else if k := o.known(c.name); k != nil {
			if err := t.compare(c, k); err != nil {
				return nil, diag.At(c.name, err)
			}
			continue
		} else if err := t.add(c); err != nil {
			return nil, diag.At(c.name, err)
		}
		if len(t.nets) == validateAtOnce || t.bytes > validateBytes || i == len(list)-1 {
			if err := t.measure(ctx); err != nil {
				return nil, err
			}
		}
	}
	v.sum(o.Table.Pace())
	return v, nil
}

// turns are networks whose processes take turns.
type turns struct {
	o           *ValidateOptions
	log         *measuredLog
	dir         string
	v           *Validation
	nets        []turn
	bytes       int64
	done, total int
}

type turn struct {
	net   int // of the validation
	file  string
	steps []backends.Step
}

func (t *turns) step() { t.done++; t.o.Progress(t.done, t.total) }

// foresee builds a network and predicts it.
func (t *turns) foresee(c candidate) (n ValidNet, w latency.Work, steps []backends.Step, err error) {
	n = ValidNet{Name: c.name, Group: c.group, families: map[string][2]float64{}}
	if w, err = c.build(); err != nil {
		return n, w, nil, err
	}
	steps, p, err := t.o.predict(w.Graph)
	if err != nil {
		return n, w, nil, err
	}
	n.Predicted, n.Lo, n.Hi, n.Hits = p.Total, p.Lo, p.Hi, float64(p.Hits)/float64(max(len(steps), 1))
	for k, s := range steps {
		f := n.families[latency.Family(s)]
		f[0] += p.PerNode[k].MS
		n.families[latency.Family(s)] = f
	}
	return n, w, steps, nil
}

// compare predicts a network that was measured before.
func (t *turns) compare(c candidate, k *ValidNet) error {
	n, _, _, err := t.foresee(c)
	if err != nil {
		return err
	}
	n.Busy = k.Busy
	n.Processes = k.Processes
	n.Measured, n.Again, n.All, n.AllAgain, n.Paced, n.PacedAgain = k.Measured, k.Again, k.All, k.AllAgain, k.Paced, k.PacedAgain
	t.v.Networks = append(t.v.Networks, n)
	t.done += 2 * t.o.Rounds
	t.step()
	return nil
}

// add predicts a network and writes its file.
func (t *turns) add(c candidate) error {
	n, w, steps, err := t.foresee(c)
	if err != nil {
		return err
	}
	if err := t.file(c.name, w); err != nil {
		return err
	}
	t.nets[len(t.nets)-1].steps = steps
	t.v.Networks = append(t.v.Networks, n)
	t.step()
	return nil
}

// keep writes a network's file, unless an earlier call left it, and leaves the
// prediction to a later one.
func (t *turns) keep(c candidate) error {
	var w latency.Work
	if _, err := os.Stat(t.path(c.name)); err != nil {
		if w, err = c.build(); err != nil {
			return err
		}
	}
	if err := t.file(c.name, w); err != nil {
		return err
	}
	t.v.Networks = append(t.v.Networks, ValidNet{Name: c.name, Group: c.group, families: map[string][2]float64{}})
	t.step()
	return nil
}

func (t *turns) path(name string) string {
	return filepath.Join(t.dir, fmt.Sprintf("%08x-%d.nasc", crc32.ChecksumIEEE([]byte(name)), len(name)))
}

// file gives a network its place among the turns, and writes it where it is not
// there.
func (t *turns) file(name string, w latency.Work) error {
	path := t.path(name)
	if _, err := os.Stat(path); err != nil {
		if err := nascfile.Write(path, &ir.Module{Graphs: []*ir.Graph{w.Graph}}, &nascfile.Manifest{Target: t.o.Target}); err != nil {
			return err
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	t.bytes += info.Size()
	t.nets = append(t.nets, turn{net: len(t.v.Networks), file: path})
	return nil
}

// roundTimes are a network's medians in several processes: of those that met
// quiet, and of the others.
type roundTimes struct{ quiet, noisy []float64 }

// quietMedian is the median, 0 of one that met no quiet.
func (m *Measured) quietMedian() float64 {
	if m.Quiet > 0 {
		return m.Median
	}
	return 0
}

func (t *roundTimes) add(m *Measured) {
	if m.Quiet > 0 {
		t.quiet = append(t.quiet, m.Median)
	} else {
		t.noisy = append(t.noisy, m.Median)
	}
}

// median is that of the processes that met quiet, where there are some.
func (t *roundTimes) median() float64 {
	if len(t.quiet) > 0 {
		return medianOf(t.quiet)
	}
	return medianOf(t.noisy)
}

func (t *roundTimes) busy() bool { return len(t.quiet) == 0 && len(t.noisy) > 0 }

// measure gives the networks their rounds, a fresh process each: those of the
// time and those of the second measurement alternate.
func (t *turns) measure(ctx context.Context) error {
	times, all, paced := make([][2]roundTimes, len(t.nets)), make([][2][]float64, len(t.nets)), make([][2][]float64, len(t.nets))
	every, rounds := 2, 2*t.o.Rounds
	if t.o.Once {
		every, rounds = 1, t.o.Rounds
	}
	if t.o.Until > 0 {
		rounds = min(rounds, t.o.Until)
	}
	for r := range rounds {
		var files, names []string
		for _, n := range t.nets {
			if name := t.v.Networks[n.net].Name; t.log.find(name, r) == nil {
				files, names = append(files, n.file), append(names, name)
			}
		}
		if len(files) > 0 {
			ms, err := t.o.Measure(ctx, files)
			if err != nil {
				return err
			}
			for i, m := range ms {
				if r > 0 {
					m.Steps = nil // the first's are enough
				}
				if err := t.log.add(names[i], r, m); err != nil {
					return err
				}
			}
		}
		for i, n := range t.nets {
			net := &t.v.Networks[n.net]
			m := t.log.find(net.Name, r)
			times[i][r%every].add(m)
			net.Processes = append(net.Processes, m.quietMedian())
			all[i][r%every] = append(all[i][r%every], m.All)
			paced[i][r%every] = append(paced[i][r%every], m.Paced)
			for k, s := range n.steps {
				if r == 0 && k < len(m.Steps) {
					f := net.families[latency.Family(s)]
					f[1] += m.Steps[k]
					net.families[latency.Family(s)] = f
				}
			}
			t.step()
		}
	}
	for i, n := range t.nets {
		net := &t.v.Networks[n.net]
		net.Measured, net.Again = times[i][0].median(), times[i][1].median()
		net.Paced, net.PacedAgain = medianOf(paced[i][0]), medianOf(paced[i][1])
		if net.Paced == 0 { // of the others all runs count as they are
			net.All, net.AllAgain = medianOf(all[i][0]), medianOf(all[i][1])
			net.Busy = times[i][0].busy() || times[i][1].busy()
		}
		if t.o.Until == 0 {
			// Networks that are alike share a file.
			if err := os.Remove(n.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	t.nets, t.bytes = nil, 0
	return nil
}

func (o *ValidateOptions) predict(g *ir.Graph) ([]backends.Step, *latency.Prediction, error) {
	steps, err := planSteps(g, o.Target, o.Batch, o.Threads)
	if err != nil {
		return nil, nil, err
	}
	p, err := o.Table.PredictSteps(steps)
	return steps, p, err
}

// against compares the predictions with other times of the networks, in ms, and
// those with second ones; nil where no network has one.
func (v *Validation) against(times func(*ValidNet) (ms, again float64)) *ValidAgainst {
	var p, m, again []float64
	s := &ValidAgainst{}
	for i := range v.Networks {
		n := &v.Networks[i]
		if ms, second := times(n); ms > 0 {
			p, m = append(p, n.Predicted), append(m, ms)
			if n.Lo <= ms && ms <= n.Hi {
				s.Coverage++
			}
			if second > 0 {
				again = append(again, second)
			}
		}
	}
	if len(p) == 0 {
		return nil
	}
	s.Accuracy, s.Coverage = latency.Compare(p, m), s.Coverage/float64(len(p))
	if len(again) == len(m) {
		noise := latency.Compare(again, m)
		s.NoiseWithin5, s.NoiseWithin10, s.NoiseSpearman = noise.Within5, noise.Within10, noise.Spearman
	}
	return s
}

// sum fills in the figures from the networks; pace is the anchor's time at the
// speed that the table predicts for.
func (v *Validation) sum(pace float64) {
	figures := func(keep func(*ValidNet) bool) (a, noise latency.Accuracy, coverage float64) {
		var p, m, again []float64
		for i := range v.Networks {
			if n := &v.Networks[i]; keep(n) {
				p, m, again = append(p, n.Predicted), append(m, n.Measured), append(again, n.Again)
				if n.Lo <= n.Measured && n.Measured <= n.Hi {
					coverage++
				}
			}
		}
		return latency.Compare(p, m), latency.Compare(again, m), coverage / float64(max(len(p), 1))
	}
	v.Busy = 0
	for _, n := range v.Networks {
		if n.Busy {
			v.Busy++
		}
	}
	v.AllRuns = v.against(func(n *ValidNet) (ms, again float64) { return n.All, n.AllAgain })
	v.Steady = v.against(func(n *ValidNet) (ms, again float64) { return n.Paced * pace, n.PacedAgain * pace })
	a, noise, coverage := figures(func(*ValidNet) bool { return true })
	v.Accuracy, v.Coverage, v.NoiseWithin5, v.NoiseWithin10, v.NoiseSpearman = a, coverage, noise.Within5, noise.Within10, noise.Spearman
	families := map[string]*ValidFamily{}
	count := map[string]int{}
	for i := range v.Networks {
		n := &v.Networks[i]
		if !slices.ContainsFunc(v.Groups, func(g ValidGroup) bool { return g.Name == n.Group }) {
			a, _, c := figures(func(o *ValidNet) bool { return o.Group == n.Group })
			v.Groups = append(v.Groups, ValidGroup{n.Group, a, c})
		}
		for name, t := range n.families {
			f := families[name]
			if f == nil {
				f = &ValidFamily{Name: name}
				families[name] = f
			}
			f.Predicted, f.Measured = f.Predicted+t[0], f.Measured+t[1]
			if t[1] > 0 {
				f.MAPE += max(t[0]/t[1]-1, 1-t[0]/t[1])
				count[name]++
			}
		}
	}
	for name, f := range families {
		f.MAPE /= float64(max(count[name], 1))
		v.Families = append(v.Families, *f)
	}
	slices.SortFunc(v.Families, func(a, b ValidFamily) int {
		switch {
		case a.Measured > b.Measured:
			return -1
		case a.Measured < b.Measured:
			return 1
		}
		return 0
	})
}
