package tables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/latency"
)

// Options steer Run.
type Options struct {
	Out         string
	TrainOnly   bool
	MeasureOnly bool
	Jobs        int // trainings at once; 0: one a core
	Rounds      int // times each network is timed, all others between
	Progress    func(stage string, done, total int)
}

// Result says how far a table is.
type Result struct {
	Table    string  `json:"table"`
	Networks int     `json:"networks"`
	Seeds    int     `json:"seeds"`
	Trained  int     `json:"trained"`  // trainings
	Measured int     `json:"measured"` // networks timed in every round
	Done     bool    `json:"done"`
	BestVal  float64 `json:"best_val,omitempty"`  // mean over the seeds
	BestTest float64 `json:"best_test,omitempty"` // of the network with the best validation

	Trainings map[string][]Training `json:"-"` // by genotype, as many seeds as are done
}

// Run trains and times what is missing, and writes the table once nothing is.
func (t *Table) Run(ctx context.Context, o Options) (result *Result, err error) {
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	if o.Rounds < 1 || o.Rounds > 1000 {
		return nil, &diag.Error{Place: "--rounds", Found: fmt.Sprint(o.Rounds), Wanted: "1 to 1000"}
	}
	if _, err := os.Stat(o.Out); err == nil {
		return nil, &diag.Error{Place: "-o " + o.Out, Found: "a finished table", Wanted: "the name of a new one", Fix: "--row K rebuilds a row and compares it"}
	}
	j, err := t.open(o.Out)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.close()) }()
	if !o.MeasureOnly {
		if err := t.trainAll(ctx, j, o); err != nil {
			return nil, err
		}
	}
	if !o.TrainOnly {
		if err := t.timeAll(ctx, j, o); err != nil {
			return nil, err
		}
	}
	r := &Result{Table: o.Out, Networks: len(t.Networks), Seeds: t.Seeds, Trainings: map[string][]Training{}}
	for _, g := range t.Networks {
		name := g.String()
		var val, test float64
		for s := range t.Seeds {
			if v, ok := j.trained[trainKey{name, s}]; ok {
				r.Trained++
				r.Trainings[name] = append(r.Trainings[name], v)
				val, test = val+v.Val/float64(t.Seeds), test+v.Test/float64(t.Seeds)
			}
		}
		if val > r.BestVal {
			r.BestVal, r.BestTest = val, test
		}
		if t.timed(j, name, o.Rounds) {
			r.Measured++
		}
	}
	r.Done = r.Trained == r.Networks*t.Seeds && r.Measured == r.Networks
	if !r.Done {
		return r, j.f.Sync()
	}
	if err := t.write(o.Out, j, o.Rounds); err != nil {
		return nil, err
	}
	return r, os.Remove(j.path)
}

// timed says that a network has all its times.
func (t *Table) timed(j *journal, name string, rounds int) bool {
	for _, target := range Targets {
		for k := range rounds {
			if _, ok := j.times[timeKey{name, target, k}]; !ok {
				return false
			}
		}
	}
	_, ok := j.sizes[name]
	return ok
}

// trainAll goes through the seeds, so that a run that is cut short has trained
// each network as often as possible.
func (t *Table) trainAll(ctx context.Context, j *journal, o Options) error {
	type job struct{ net, seed int }
	var left []job
	total := len(t.Networks) * t.Seeds
	for s := range t.Seeds {
		for i, g := range t.Networks {
			if _, ok := j.trained[trainKey{g.String(), s}]; !ok {
				left = append(left, job{i, s})
			}
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
		next  int
	)
	if o.Jobs == 0 {
		o.Jobs = runtime.NumCPU()
	}
	for range max(1, min(o.Jobs, len(left))) {
		wg.Go(func() {
			for {
				mu.Lock()
				if next == len(left) || first != nil || ctx.Err() != nil {
					mu.Unlock()
					return
				}
				w := left[next]
				next++
				o.Progress("train", total-len(left)+next-1, total)
				mu.Unlock()
				v, err := t.Train(ctx, w.net, w.seed)
				if err == nil {
					err = j.training(t.Networks[w.net].String(), w.seed, v)
				}
				if err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
					cancel()
					return
				}
			}
		})
	}
	wg.Wait()
	if first != nil {
		return first
	}
	return ctx.Err()
}

// timeAll goes through the networks round by round: what slows the machine for
// a while does not slow one network in all rounds.
func (t *Table) timeAll(ctx context.Context, j *journal, o Options) error {
	if err := t.here(j); err != nil {
		return err
	}
	total := len(t.Networks) * len(Targets) * o.Rounds
	for i, g := range t.Networks {
		if _, ok := j.sizes[g.String()]; ok {
			continue
		}
		s, err := t.Sizes(ctx, i)
		if err != nil {
			return err
		}
		if err := j.append("size", g.String(), strconv.FormatInt(s.Params, 10), strconv.FormatInt(s.MACs, 10), strconv.FormatInt(s.Bytes, 10)); err != nil {
			return err
		}
	}
	done := 0
	for round := range o.Rounds {
		for i, g := range t.Networks {
			for _, target := range Targets {
				o.Progress("measure", done, total)
				done++
				if _, ok := j.times[timeKey{g.String(), target, round}]; ok {
					continue
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				ms, err := t.Time(ctx, i, target)
				if err != nil {
					return err
				}
				if err := j.append("time", g.String(), target, strconv.Itoa(round), strconv.FormatFloat(ms, 'g', 6, 64)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// decisive are the facts of a device that make its times comparable.
var decisive = []string{"cpu", "features", "isa", "go", "threads"}

// here keeps the device in the journal, or refuses to go on on another.
func (t *Table) here(j *journal) error {
	var s []string
	for _, f := range latency.Fingerprint(nasc.Version(), Targets[0], "", 1, 1) {
		for _, d := range decisive {
			if f.Name == d {
				s = append(s, d+" "+f.Value)
			}
		}
	}
	device := strings.Join(s, "; ")
	switch j.device {
	case device:
		return nil
	case "":
		return j.append("device", device)
	}
	return &diag.Error{Place: j.path, Found: "times of another device: " + j.device, Wanted: device, Fix: "measure there, or remove the lines that begin with time and device"}
}
