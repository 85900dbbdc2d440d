package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/bench/paired"
	"github.com/nasc-dev/nasc/bench/report"
)

var arms = []struct{ name, doc string }{
	{"eas", "EAS"},
	{"random-growth", "growth by chance"},
	{"scratch", "EAS's network from scratch"},
}

// markdown is the report.
func (b *bench) markdown(spaces string, from uint64, seeds int) string {
	var w strings.Builder
	fmt.Fprintf(&w, "# EAS against growth by chance and training from scratch\n\n%s, %s, one thread a run. `make eas`.\n\n", time.Now().Format(time.DateOnly), report.CPU())
	fmt.Fprintf(&w, `Data: MNIST pooled to 14×14. 1,600 pictures to train on and 400 to judge by, split by the seed, of the 2,000 of m2k; what is
reported is the accuracy on all 10,000 test pictures, which nothing was chosen by. Every arm of a seed has the same cost of
training: the sum over all its trainings of steps × batch × multiplications of a sample × 3. Growth by chance takes EAS's
steps with EAS's settings, each layer wider with a chance of one half, places and kernels equally likely. Both end with their
best network (by the loss or the accuracy on the 400) trained on with what is left; from scratch has all of the cost for the network that EAS ended with.
All trainings: AdamW, one cosine each, pictures shifted by up to a pixel; where weights are inherited, half an epoch of warm-up, at
most a quarter of the steps.
`)
	for _, s := range settings {
		if !strings.Contains(","+spaces+",", ","+s.space+",") {
			continue
		}
		fmt.Fprintf(&w, "\n## %s\n\nCost of an arm %.3g multiplications, %.0f %% of it kept for the last training. Settings: epochs of the start %d, batch %d, learning rate %g there and from scratch, %g of those that inherit, judged by %s; %s.\n\n", s.space, s.cost, 100*s.final, s.epochs, s.batch, s.lr, s.tune, s.goal, strings.TrimPrefix(fmt.Sprint(s.options), "map"))
		fmt.Fprintln(&w, "| seed | arm | test % | judged by % | parameters | MACs | networks | actions | greatest ∣Δ∣ | cost | s |\n|---|---|---|---|---|---|---|---|---|---|---|")
		test := map[string][]float64{}
		for seed := range seeds {
			for _, a := range arms {
				r, ok := b.runs.Get(key(run{Space: s.space, Arm: a.name, Setting: s.String(), Seed: from + uint64(seed)}))
				if !ok {
					continue
				}
				test[a.name] = append(test[a.name], 100*r.Test)
				fmt.Fprintf(&w, "| %d | %s | %.2f | %.2f | %.0f | %.3g | %d | %d | %.1e | %.3g | %.0f |\n", r.Seed, a.doc, 100*r.Test, 100*r.Valid, r.Params, r.MACs, r.Networks, r.Actions, r.Delta, r.Cost, r.Seconds)
			}
		}
		fmt.Fprintln(&w)
		for _, a := range arms[1:] {
			var d []float64
			for i := range test[a.name] {
				d = append(d, test["eas"][i]-test[a.name][i])
			}
			fmt.Fprintf(&w, "- EAS above %s, in points of test accuracy: %v\n", a.doc, paired.Judge(d))
		}
	}
	return w.String()
}
