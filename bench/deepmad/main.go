// Command deepmad trains the network that nasc design finds and as many random
// ones that keep the same limits, each with several seeds, on M2k: MNIST at
// 14×14, 2,000 pictures to train on, all 10,000 test pictures. The design reads
// no data, so nothing could be tuned on them. What is trained lies in the state
// file, from which it goes on when it was stopped.
//
//	go run ./bench/deepmad -data DIR -state .cache/deepmad.csv -report bench/reports/deepmad-$(date +%F).md
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/bench/paired"
	"github.com/nasc-dev/nasc/bench/report"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/search/design"
	"github.com/nasc-dev/nasc/search/tables"
	"github.com/nasc-dev/nasc/train"
)

type config struct {
	space, dir, state string
	limits            design.Limits
	macs, params      float64
	nets, seeds       int
	draw              uint64
	epochs            int
}

func main() {
	var c config
	flag.StringVar(&c.space, "space", "zoo/spaces/m2k-resnet.toml", "architecture file with choices")
	flag.StringVar(&c.dir, "data", "", "folder of MNIST's files")
	flag.StringVar(&c.state, "state", ".cache/deepmad.csv", "file whose .partial keeps what is trained, to go on from")
	flag.Float64Var(&c.macs, "max-macs", 1.5e6, "limit of all networks")
	flag.Float64Var(&c.params, "max-params", 60e3, "limit of all networks")
	flag.IntVar(&c.nets, "nets", 30, "random networks within the limits")
	flag.IntVar(&c.seeds, "seeds", 5, "trainings of each")
	flag.Uint64Var(&c.draw, "draw", 1, "seed of the draw")
	flag.IntVar(&c.epochs, "epochs", 10, "of each training")
	jobs := flag.Int("jobs", 1, "trainings at a time")
	file := flag.String("report", "", "the Markdown file to write; stdout otherwise")
	flag.Parse()
	c.limits = design.Limits{MACs: int64(c.macs), Params: int64(c.params)}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	text, err := c.run(ctx, *jobs)
	if err == nil {
		err = report.Write(*file, text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "deepmad:", err)
		os.Exit(1)
	}
}

func (c *config) run(ctx context.Context, jobs int) (string, error) {
	space, err := arch.LoadSpace(c.space)
	if err != nil {
		return "", err
	}
	begun := time.Now()
	p, err := design.NewProgram(ctx, space, nil, design.Default, nil)
	if err != nil {
		return "", err
	}
	found, err := p.Solve(ctx, c.limits)
	if err != nil {
		return "", err
	}
	took := time.Since(begun)
	all := []*design.Design{&found.Design}
	random, err := c.random(space, found.Genotype)
	if err != nil {
		return "", err
	}
	all = append(all, random...)
	s := tables.Setup{SpaceFile: c.space, Data: "m2k:" + c.dir, Test: "m2k-test:" + c.dir, Seeds: c.seeds, Config: train.Default()}
	s.Config.Epochs, s.Config.LR, s.Config.ValSplit = c.epochs, 5e-3, 0.128
	for _, d := range all {
		s.Only = append(s.Only, d.Genotype)
	}
	t, err := tables.New(s)
	if err != nil {
		return "", err
	}
	last := time.Time{}
	r, err := t.Run(ctx, tables.Options{Out: c.state, TrainOnly: true, Jobs: jobs, Rounds: 1, Progress: func(_ string, done, total int) {
		if time.Since(last) > 20*time.Second {
			last = time.Now()
			fmt.Fprintf(os.Stderr, "%d of %d trainings\n", done, total)
		}
	}})
	if err != nil {
		return "", err
	}
	return c.markdown(found, took, all, r.Trainings), nil
}

// mostDraws bounds the search for networks within the limits.
const mostDraws = 1_000_000

// random draws networks within the limits, none twice and none the designed one.
func (c *config) random(space *arch.Space, not arch.Genotype) ([]*design.Design, error) {
	var out []*design.Design
	seen := map[string]bool{not.String(): true}
	for i := uint64(0); len(out) < c.nets; i++ {
		if i == mostDraws {
			return nil, fmt.Errorf("%d of %d networks within the limits after %d draws", len(out), c.nets, i)
		}
		g := space.Sample(c.draw<<32 + i)
		if seen[g.String()] {
			continue
		}
		seen[g.String()] = true
		d, err := design.Evaluate(space, g, design.Default)
		if err != nil {
			return nil, err
		}
		if d.MACs <= c.limits.MACs && d.Params <= c.limits.Params {
			out = append(out, d)
		}
	}
	return out, nil
}

func (c *config) markdown(found *design.Result, took time.Duration, all []*design.Design, got map[string][]tables.Training) string {
	var b strings.Builder
	p := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	cpu := ""
	for _, f := range latency.Fingerprint(nasc.Version(), "cpu-f32", "", 1, 1) {
		if f.Name == "cpu" || f.Name == "cores" {
			cpu += f.Name + " " + f.Value + "; "
		}
	}
	p("# A network that DeepMAD designed, against random ones within the same limits\n")
	p("%s. `go run ./bench/deepmad`: space %s, at most %s MACs and %d parameters. %sThe design took %.2f s and read no data.",
		time.Now().Format("2006-01-02"), c.space, million(c.limits.MACs), c.limits.Params, cpu, took.Seconds())
	exact := "the optimum"
	if !found.Exact {
		exact = fmt.Sprintf("the optimum is at most %.6g", found.Bound)
	}
	p("It is `%s`: score %.6g (%s), %d layers, depths %v, %s MACs, %d parameters.\n", found.Genotype, found.Score, exact, found.Layers, found.Depths, million(found.MACs), found.Params)
	p("%d networks drawn with equal chances for each choice, those kept that are within the limits; each network is trained from scratch with %d seeds, %d epochs on M2k (the seed draws the order, the first weights and 12.8 %% of the pictures that are held out), top-1 on all 10,000 test pictures.\n", c.nets, c.seeds, c.epochs)
	p("| seed | designed | median of random | best of random | random networks above it | difference |")
	p("|---|---|---|---|---|---|")
	var diffs []float64
	for s := range c.seeds {
		mine := got[found.Genotype.String()][s].Test
		var others []float64
		above := 0
		for _, d := range all[1:] {
			v := got[d.Genotype.String()][s].Test
			others = append(others, v)
			if v > mine {
				above++
			}
		}
		diffs = append(diffs, 100*(mine-paired.Median(others)))
		p("| %d | %.2f %% | %.2f %% | %.2f %% | %d of %d | %+.2f |", s+1, 100*mine, 100*paired.Median(others), 100*slices.Max(others), above, len(others), diffs[s])
	}
	p("\nDesigned above the median, in points: %s.\n", paired.Judge(diffs))
	p("## Every network\n")
	p("| network | MACs | parameters | layers | score | mean test top-1 |")
	p("|---|---|---|---|---|---|")
	mean := func(d *design.Design) (m float64) {
		for _, v := range got[d.Genotype.String()] {
			m += v.Test / float64(c.seeds)
		}
		return m
	}
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b *design.Design) int { return cmp.Compare(mean(b), mean(a)) })
	var scores, means []float64
	for _, d := range sorted {
		mark := ""
		if d == all[0] {
			mark = " **designed**"
		} else {
			scores, means = append(scores, d.Score), append(means, mean(d))
		}
		p("| `%s`%s | %s | %d | %d | %.1f | %.2f %% |", d.Genotype, mark, million(d.MACs), d.Params, d.Layers, d.Score, 100*mean(d))
	}
	p("\nAmong the random networks alone, score and mean top-1 have a rank correlation (Spearman) of %.2f.", latency.Compare(scores, means).Spearman)
	return b.String()
}

func million(n int64) string { return fmt.Sprintf("%.2f M", float64(n)/1e6) }
