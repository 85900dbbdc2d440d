package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/bench/paired"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/tabular"
)

// tolerance is how far above the limit a result may be measured.
const tolerance = 1.05

func (c *config) report() (string, error) {
	s, err := load[searched](c.file("searched.json"))
	if err != nil {
		return "", err
	}
	times, err := load[map[string]measured](c.file("measured.json"))
	if err != nil {
		return "", err
	}
	table, err := tabular.Open(c.bench)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	p := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	p("# Searches under latency limits, and fronts, on %s\n", target)
	p("%s, %s, one thread, batch 1. Space %s (%d networks), accuracies from %s, a search sees the mean validation accuracy of the table's seeds; it is judged on the mean test accuracy. Latency is predicted from a table of measured kernels: %s.\n",
		time.Now().Format("2006-01-02"), s.Device, c.space, len(table.Rows), c.bench, s.compare(times))
	made := "trained, compiled"
	if !c.own() {
		made = "compiled with random weights"
	}
	p("## Under a limit\n")
	p("%s with %d trials against the best of %d random networks under the limit, chosen by validation accuracy too. The %d best networks of a search that keep the limit by prediction are %s and measured (median of %d rounds); the result is the best of those that keep it, and is then measured again (median of %d rounds): that is the figure here. A network is timed in bursts of %s between bursts of an anchor, another network: its time is the median of the ratios where these two are within %.0f %% of each other, times what the anchor typically takes.\n",
		s.Strategy, s.Budget, s.Budget, c.finalists, made, rounds, rounds, burst, 100*(steady-1))
	p("| limit, ms | seed | predicted | measured | of the limit | test top-1 | int8, compiled | best of random | difference | trials that broke the limit |")
	p("|---|---|---|---|---|---|---|---|---|---|")
	kept := 0
	bySeed, byLimit := map[uint64]float64{}, map[float64][]float64{}
	for _, r := range s.Runs {
		x := pick(r, times)
		ms := paired.Median(times[x.Genotype].Hold)
		int8 := "not trained"
		if c.own() {
			v, err := load[float64](c.file(x.Genotype + ".json"))
			if err != nil {
				return "", err
			}
			int8 = fmt.Sprintf("%.2f %%", 100*v)
		}
		if ms <= tolerance*r.Limit {
			kept++
		}
		d := 100 * (x.Test - r.Random.Test)
		bySeed[r.Seed] += d / float64(len(s.Limits))
		byLimit[r.Limit] = append(byLimit[r.Limit], d)
		p("| %.4g | %d | %.5f | %.5f | %.1f %% | %.2f %% | %s | %.2f %% | %+.2f | %d of %d |", r.Limit, r.Seed, x.Predicted, ms, 100*ms/r.Limit, 100*x.Test, int8, 100*r.Random.Test, d, r.Broke, r.Trials)
	}
	p("\nMeasured at most %.2f times the limit: %d of %d runs.\n", tolerance, kept, len(s.Runs))
	for i, l := range s.Limits {
		p("- limit %.4g ms: above the best of random, in points: %s. The best of all networks under it has %.2f %%.", l, paired.Judge(byLimit[l]), 100*s.Best[i])
	}
	var means []float64
	for seed := range uint64(len(s.Fronts)) {
		means = append(means, bySeed[seed+1])
	}
	p("- mean over the limits, by seed: %s.\n", paired.Judge(means))
	p("## Fronts\n")
	if err := c.fronts(p, s, table, times); err != nil {
		return "", err
	}
	return b.String(), nil
}

// pick is the most accurate finalist that was measured within the limit, or the
// fastest where none was.
func pick(r limited, times map[string]measured) chosen {
	best, fast := -1, 0
	for i, x := range r.Finalists {
		ms := paired.Median(times[x.Genotype].Pick)
		if ms <= r.Limit && best < 0 {
			best = i
		}
		if ms < paired.Median(times[r.Finalists[fast].Genotype].Pick) {
			fast = i
		}
	}
	if best < 0 {
		best = fast
	}
	return r.Finalists[best]
}

// floor is the accuracy below which a front's point adds nothing.
const floor = 0.8

func (c *config) fronts(p func(string, ...any), s searched, table *tabular.Table, times map[string]measured) error {
	slowest := paired.Median(times[s.Last.Genotype].Pick)
	volume := func(front []chosen) (float64, error) {
		var points [][]float64
		for _, x := range front {
			r, err := table.Row(genotype(x.Genotype))
			if err != nil {
				return 0, err
			}
			points = append(points, []float64{r.Test, -paired.Median(times[x.Genotype].Pick)})
		}
		return search.Hypervolume(points, []float64{floor, -slowest}) / ((1 - floor) * slowest), nil
	}
	p("nsga2 with %d trials, objectives accuracy and latency (predicted from the table), against accuracy and MACs. What each front's networks are worth at their latency, measured the same way (with random weights where none were trained for the part above), and test accuracy: hypervolume above %.0f %% and below the %.4f ms of the network predicted to be the slowest, as a share of all.\n", s.Front, 100*floor, slowest)
	p("| seed | latency from the table | MACs | difference |")
	p("|---|---|---|---|")
	var diffs []float64
	for _, f := range s.Fronts {
		a, err := volume(f.Latency)
		if err != nil {
			return err
		}
		b, err := volume(f.MACs)
		if err != nil {
			return err
		}
		diffs = append(diffs, 100*(a-b))
		p("| %d | %.4f (%d networks) | %.4f (%d) | %+.4f |", f.Seed, a, len(f.Latency), b, len(f.MACs), a-b)
	}
	p("\nLatency above MACs, in hundredths of the whole: %s.", paired.Judge(diffs))
	if math.IsNaN(diffs[0]) {
		return fmt.Errorf("no hypervolume")
	}
	return nil
}

// compare judges the prediction by the sample, and says how MACs rank it.
func (s *searched) compare(times map[string]measured) string {
	var predicted, measured, macs, off []float64
	for _, x := range s.Sample {
		ms := paired.Median(times[x.Genotype].Pick)
		predicted, measured, macs, off = append(predicted, x.Predicted), append(measured, ms), append(macs, x.MACs), append(off, math.Abs(x.Predicted/ms-1))
	}
	return fmt.Sprintf("rank correlation with the measured times of %d networks drawn at random %.3f, median error %.1f %% (MACs: rank correlation %.3f)",
		len(s.Sample), latency.Compare(predicted, measured).Spearman, 100*paired.Median(off), latency.Compare(macs, measured).Spearman)
}

func genotype(text string) search.Genotype {
	var g search.Genotype
	for f := range strings.SplitSeq(text, ".") {
		v := 0
		for _, c := range f {
			v = 10*v + int(c-'0')
		}
		g = append(g, v)
	}
	return g
}
