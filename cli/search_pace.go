package cli

import (
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/task"
)

// A search by wall time that is not told how long a trial may take shall see
// about pacedTrials networks, not three.
const (
	pacedTrials  = 40
	pacedShare   = 0.75 // of the time; the rest is for proposals, proofs and compiling
	pacedRate    = 1e10 // multiply-accumulates a second of a training thread, roughly
	pacedSamples = 1000 // at least
	pacedDraws   = 15   // networks whose middle one stands for all
)

// pace gives trials fewer samples, and fewer epochs, where with all of them too
// few would fit into the time. What it chose becomes the study's settings. It
// says whether it changed something.
func (r *searching) pace(a *app, o *task.Opened) (bool, error) {
	f, s := r.cmd.Flags(), r.searchFlags
	if r.wall == 0 || o.Arch == nil || f.Changed("trial-samples") {
		return false, nil
	}
	var macs []float64
	for _, g := range o.Arch.Samples(pacedDraws, s.seed) {
		m, err := o.Cheap(g)
		if err != nil {
			return false, err
		}
		macs = append(macs, m["macs"])
	}
	slices.Sort(macs)
	all, epochs := o.Data.Train.Len(), s.task.Train.Epochs
	// A sample costs three forward passes to train on; as many judge, by one.
	passes := pacedShare * r.wall.Seconds() * pacedRate * float64(max(1, s.task.Workers)) * float64(s.jobs) / pacedTrials / macs[len(macs)/2]
	fits := func(epochs int) int { return int(passes / float64(4*epochs)) }
	if fits(epochs) >= all {
		return false, nil
	}
	for _, e := range []int{5, 3} {
		if fits(epochs) < 2*pacedSamples && e < epochs && !f.Changed("epochs") {
			epochs = e
		}
	}
	n := min(all, max(pacedSamples, fits(epochs)))
	if n == all && epochs == s.task.Train.Epochs {
		return false, nil
	}
	for name, v := range map[string]int{"trial-samples": n, "epochs": epochs} {
		if err := f.Set(name, fmt.Sprint(v)); err != nil {
			return false, err
		}
	}
	a.note("so that some %d networks fit into %v, trials see %d of %d samples, %d times (--trial-samples, --epochs); the winner's last training sees all", pacedTrials, r.wall, n, all, epochs)
	return true, nil
}

// lastEpochs is how long a last training is, unless it is said: as a trial's, and
// with a budget of wall time not much more than a quarter of it.
func (r *searching) lastEpochs(t *search.Trial) int {
	epochs, s := r.searchFlags.task.Train.Epochs, r.searchFlags
	if macs := t.Metrics["macs"]; r.wall > 0 && macs > 0 && r.opened.Data != nil {
		one := 3 * macs * float64(r.opened.Data.Samples()) / (pacedRate * float64(max(1, s.task.Workers)))
		epochs = min(epochs, max(1, int(r.wall.Seconds()/4/one)))
	}
	return epochs
}
