package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/bench/paired"
	"github.com/nasc-dev/nasc/bench/report"
)

// markdown reports the first budget in full, and all of them in a line each.
func markdown(all []config, runs [][]pair) string {
	var b strings.Builder
	c, done := all[0], runs[0]
	on := "all 10,000 test pictures"
	if c.tune {
		on = "10,000 of MNIST's training pictures, to choose the recipe"
	}
	fmt.Fprintf(&b, "# Grow and go on\n\n%s, %s, %s, one thread an arm. `make grow`.\n\n", time.Now().Format("2006-01-02"), report.CPU(), runtime.GOARCH)
	fmt.Fprintf(&b, "M2k: MNIST at 14×14, 2,000 training pictures; judged on %s. A small network is trained for %d epochs, then\n`%s` makes the final one of it (copies with noise of %g deviations, after\nthe check), which goes on for what is left of the budget: %g epochs of the final network, in MACs. From scratch: the same final\nnetwork, its weights drawn anew, for the whole budget. adamw, %s, batch %d, pictures\nshifted by up to %d pixels, learning rate %g, after growing %g.\n\n", on, c.first, growth, c.noise, c.epochs, c.schedule, c.batch, c.shift, c.lr, c.growLR)
	b.WriteString("| seed | small | predictions kept by growing | max \\|Δ\\| | with noise | grown and gone on | from scratch | difference | GMACs grown / scratch | seconds grown / scratch |\n|---|---|---|---|---|---|---|---|---|---|\n")
	var diffs []float64
	same, images, grown, fresh := 0, 0, 0.0, 0.0
	for _, p := range done {
		d := 100 * (p.Grown.Top1 - p.Fresh.Top1)
		diffs = append(diffs, d)
		grown, fresh = grown+100*p.Grown.Top1/float64(len(done)), fresh+100*p.Fresh.Top1/float64(len(done))
		same, images = same+p.Same, images+p.Images
		fmt.Fprintf(&b, "| %d | %.2f %% | %d of %d | %.1e | %.2f %% | %.2f %% | %.2f %% | %+.2f | %.1f / %.1f | %.0f / %.0f |\n",
			p.Seed, 100*p.Small.Top1, p.Same, p.Images, p.MaxAbs, 100*p.First, 100*p.Grown.Top1, 100*p.Fresh.Top1, d,
			p.Grown.Cost/1e9, p.Fresh.Cost/1e9, p.Grown.Seconds, p.Fresh.Seconds)
	}
	fmt.Fprintf(&b, "\nMean top-1 %.2f %% grown, %.2f %% from scratch. Paired difference in points: %s.\n", grown, fresh, paired.Judge(diffs))
	fmt.Fprintf(&b, "Growing kept %d of %d predictions. %d parameters before, %d after.\n", same, images, done[0].Small.Params, done[0].Grown.Params)
	fmt.Fprintf(&b, `
## Where growing pays

The same with other budgets; what is above was chosen to be judged before the test pictures were looked at.

| budget, epochs of the final network | epochs of the small one | small | grown and gone on | from scratch | grown less from scratch |
|---|---|---|---|---|---|
`)
	for i, c := range all {
		var small, grown, fresh float64
		var diffs []float64
		for _, p := range runs[i] {
			n := float64(len(runs[i]))
			small, grown, fresh = small+100*p.Small.Top1/n, grown+100*p.Grown.Top1/n, fresh+100*p.Fresh.Top1/n
			diffs = append(diffs, 100*(p.Grown.Top1-p.Fresh.Top1))
		}
		fmt.Fprintf(&b, "| %g | %d | %.2f %% | %.2f %% | %.2f %% | %s |\n", c.epochs, c.first, small, grown, fresh, paired.Judge(diffs))
	}
	return b.String()
}
