package main

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/bench/paired"
	"github.com/nasc-dev/nasc/bench/report"
)

func mean(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v / float64(len(x))
	}
	return s
}

// of lists the finished runs whose keys match, by model.
func (b *bench) of(pattern string) map[string][]run {
	re := regexp.MustCompile(pattern)
	out := map[string][]run{}
	for _, r := range b.runs.All() {
		if re.MatchString(r.Key) {
			out[r.Model] = append(out[r.Model], r)
		}
	}
	for _, list := range out {
		slices.SortFunc(list, func(x, y run) int { return x.Seed - y.Seed })
	}
	return out
}

func column(list []run, f func(run) float64) []float64 {
	var out []float64
	for _, r := range list {
		out = append(out, f(r))
	}
	return out
}

func tuned(r run) float64 { return 100 * r.Tuned }
func int8(r run) float64  { return 100 * r.Int8 }

// against judges f of a's runs less that of b's, seed by seed.
func against(a, b []run, f func(run) float64) string {
	var d []float64
	for _, x := range a {
		for _, y := range b {
			if x.Seed == y.Seed {
				d = append(d, f(x)-f(y))
			}
		}
	}
	return paired.Judge(d).String()
}

func (b *bench) writeReport(context.Context) error {
	var w strings.Builder
	fmt.Fprintf(&w, "# Pruning beside Torch-Pruning\n\n%s, %s, %s. `make pruning`. Torch-Pruning 1.6.0 on PyTorch 2.15.0.\n", time.Now().Format("2006-01-02"), report.CPU(), runtime.GOARCH)
	b.cifarReport(&w)
	b.liteReport(&w)
	b.tenfoldReport(&w)
	return report.Write(b.report, w.String())
}

func (b *bench) cifarReport(w *strings.Builder) {
	runs := b.of(fmt.Sprintf("^cifar-.* epochs %d lr %g seed", b.epochs, b.lr))
	times := b.of("^time cifar-")
	if len(runs) == 0 {
		return
	}
	fmt.Fprintf(w, `
## CIFAR ResNet-32

Both prune the same ONNX file. Torch-Pruning's networks go back into ONNX; then every network is fine-tuned by nasc with one recipe:
%d epochs of the 10,000 training pictures, sgd with Nesterov momentum, learning rate %g on a cosine, weight decay 5e-4, flips and
shifts, labels only; judged on the 2,000 test pictures, in f32 and compiled for int8 (200 pictures of calibration). Time: cpu-int8, one thread, batch 1, all
networks in turns. Torch-Pruning 1.6.0 cannot prune the channels of the residual sums here (its networks no longer run: the
option-A shortcuts pad them), so it prunes the inner ones, and nasc's l2 does too (--inner); nasc's taylor was free to prune all. At 0 epochs "fine-tuned" means: batch
norms measured anew on 200 pictures, no training. "fit" is --correct: layers fitted to
what they gave before, on 400 pictures, without labels, before fine-tuning. "lowrank" is --low-rank: no channel goes, layers are made of two
thin ones. "as" are pruned to the measured time of the
Torch-Pruning network of that name instead of to MACs.

| network | MACs | parameters | ms int8 | top-1 as pruned | fine-tuned | int8 | seeds |
|---|---|---|---|---|---|---|---|
`, b.epochs, b.lr)
	names := make([]string, 0, len(runs))
	for n := range runs {
		names = append(names, n)
	}
	slices.SortFunc(names, func(x, y string) int {
		a, b := runs[x][0].MACs, runs[y][0].MACs
		if a != b {
			return int(b - a)
		}
		return strings.Compare(x, y)
	})
	for _, n := range names {
		r := runs[n]
		ms := "-"
		if t := times[n]; len(t) > 0 {
			ms = fmt.Sprintf("%.4f", t[0].MS)
		}
		fmt.Fprintf(w, "| %s | %.1f M | %.0f k | %s | %.2f %% | %.2f %% | %.2f %% | %d |\n", strings.TrimPrefix(n, "cifar-"), float64(r[0].MACs)/1e6, float64(r[0].Params)/1e3, ms,
			100*r[0].Pruned, mean(column(r, tuned)), mean(column(r, int8)), len(r))
	}
	w.WriteString("\nPaired by seed, points of top-1 after fine-tuning:\n\n")
	for _, share := range cifarShares {
		for _, side := range []string{"l2", "taylor"} {
			theirs := runs["cifar-torch-"+side+"-"+share]
			if len(theirs) == 0 {
				continue
			}
			for _, ours := range []string{"cifar-nasc-l2-fit-" + share, "cifar-nasc-taylor-fit-" + share, "cifar-nasc-" + side + "-" + share, "cifar-nasc-" + lowRank.name + "-" + share} {
				if len(runs[ours]) > 0 {
					fmt.Fprintf(w, "- %s of the MACs, %s less %s, f32: %s; int8: %s\n", share, strings.TrimPrefix(ours, "cifar-"), "torch-"+side, against(runs[ours], theirs, tuned), against(runs[ours], theirs, int8))
				}
			}
			if ours := "cifar-nasc-as-" + side + "-" + share; len(runs[ours]) > 0 {
				at := ""
				if x, y := times[ours], times["cifar-torch-"+side+"-"+share]; len(x) > 0 && len(y) > 0 {
					at = fmt.Sprintf(" (%.4f and %.4f ms)", x[0].MS, y[0].MS)
				}
				fmt.Fprintf(w, "- at the int8 time of torch-%s-%s%s, f32: %s; int8: %s\n", side, share, at, against(runs[ours], theirs, tuned), against(runs[ours], theirs, int8))
			}
		}
	}
}

func (b *bench) liteReport(w *strings.Builder) {
	runs := b.of(fmt.Sprintf("^lite0-.* epochs %d lr %g$", b.distillEpochs, b.distillLR))
	if len(runs) == 0 {
		return
	}
	// One row a method and share, over the splits.
	split := regexp.MustCompile(`-s\d+$`)
	rows := map[string][]run{}
	for n, r := range runs {
		key := split.ReplaceAllString(strings.TrimPrefix(n, "lite0-"), "")
		rows[key] = append(rows[key], r...)
	}
	distilled := ""
	if b.distillEpochs > 0 {
		distilled = fmt.Sprintf(", and then\ndistilled on them for %d epochs by one recipe (adamw, learning rate %g on a cosine, logits at temperature 2, statistics kept)", b.distillEpochs, b.distillLR)
	}
	fmt.Fprintf(w, `
## EfficientNet-Lite0 without labels

Pruned with 100 pictures and no labels; judged by agreement with the unpruned network on the other 400. Every network also with its
batch norms measured anew on the 100 pictures, the usual correction without labels%s. Means over splits. "fit" is --correct.

| network | MACs | agreement as pruned | norms measured anew | distilled | splits |
|---|---|---|---|---|---|
`, distilled)
	names := make([]string, 0, len(rows))
	for n := range rows {
		names = append(names, n)
	}
	slices.SortFunc(names, func(x, y string) int {
		a, b := x[strings.LastIndex(x, "-"):], y[strings.LastIndex(y, "-"):]
		if a != b {
			return strings.Compare(b, a)
		}
		return strings.Compare(x, y)
	})
	for _, n := range names {
		r := rows[n]
		tuned := "-"
		if b.distillEpochs > 0 {
			tuned = fmt.Sprintf("%.2f %%", 100*mean(column(r, func(r run) float64 { return r.AgreeTuned })))
		}
		fmt.Fprintf(w, "| %s | %.0f M | %.2f %% | %.2f %% | %s | %d |\n", n, float64(r[0].MACs)/1e6, 100*mean(column(r, func(r run) float64 { return r.AgreePruned })), 100*mean(column(r, func(r run) float64 { return r.AgreeNorms })), tuned, len(r))
	}
}

func (b *bench) tenfoldReport(w *strings.Builder) {
	runs := b.of("^tenfold-")
	if len(runs) == 0 {
		return
	}
	w.WriteString("\n## Ten times fewer parameters\n\nThree rounds of pruning (taylor) and fine-tuning with the unpruned network as teacher. MNIST: a ResNet-14 trained first\n(3 epochs of 20,000 training pictures), then 2 epochs a round; all 10,000 test pictures. CIFAR: ResNet-32, 5 epochs a round of the 10,000 training pictures; 2,000\ntest pictures.\n\n| network | seed | parameters | top-1 before | after | difference | agreement | minutes |\n|---|---|---|---|---|---|---|---|\n")
	var all []run
	for _, list := range runs {
		all = append(all, list...)
	}
	slices.SortFunc(all, func(x, y run) int { return strings.Compare(x.Key, y.Key) })
	for _, r := range all {
		fmt.Fprintf(w, "| %s | %d | %s | %.2f %% | %.2f %% | %+.2f | %.2f %% | %.0f |\n", strings.TrimSuffix(r.Model, fmt.Sprint("-", r.Seed)), r.Seed, strings.TrimSuffix(r.Note, " parameters"), 100*r.Pruned, 100*r.Tuned, 100*(r.Tuned-r.Pruned), 100*r.AgreeTuned, r.Seconds/60)
	}
}
