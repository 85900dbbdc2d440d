package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/bench/paired"
)

// Shares of the MACs that are kept.
var (
	cifarShares = []string{"0.70", "0.50", "0.35"}
	liteShares  = []string{"0.90", "0.80", "0.70"}
)

// method is a way of pruning without labels or fine-tuning.
type method struct {
	name, criterion     string
	fit, inner, lowRank bool
}

// Torch-Pruning's networks are pruned inside of their blocks only, too.
var methods = []method{
	{name: "l2", criterion: "l2", inner: true},
	{name: "taylor", criterion: "taylor"},
	{name: "taylor-fit", criterion: "taylor", fit: true},
	{name: "l2-fit", criterion: "l2", fit: true, inner: true},
}

// lowRank removes nothing; it is for what is trained on.
var lowRank = method{name: "lowrank", criterion: "l2", lowRank: true}

func (b *bench) prepare(ctx context.Context) error {
	var work []func(ctx context.Context) error
	for _, share := range cifarShares {
		for _, m := range append(methods, lowRank) {
			work = append(work, func(ctx context.Context) error {
				return b.prune(ctx, b.cifarNet, "cifar-nasc-"+m.name+"-"+share, m, nasc.PruneOptions{
					Goal: "macs", Amount: share + "x", Data: "cifar10:" + b.cifar + "/train.bin.gz", Samples: 400,
				})
			})
		}
	}
	for split := 1; split <= b.splits; split++ {
		calib, _, err := b.split(split)
		if err != nil {
			return err
		}
		for _, share := range liteShares {
			for _, m := range methods {
				work = append(work, func(ctx context.Context) error {
					return b.prune(ctx, b.liteNet, fmt.Sprintf("lite0-nasc-%s-%s-s%d", m.name, share, split), m, nasc.PruneOptions{
						Goal: "macs", Amount: share + "x", Data: "images:" + calib, Samples: 100, Unlabelled: true,
					})
				})
			}
		}
	}
	return paired.Each(ctx, len(work), b.jobs, func(ctx context.Context, i int) error { return work[i](ctx) })
}

// prune writes one network, unless it is there.
func (b *bench) prune(ctx context.Context, from, to string, m method, o nasc.PruneOptions) error {
	o.Out = filepath.Join(b.dir, to+".nasc")
	if _, err := os.Stat(o.Out); err == nil || !b.only.MatchString(to) {
		return nil
	}
	net, err := nasc.Open(from, nil)
	if err != nil {
		return err
	}
	defer net.Close()
	o.Criterion, o.Scope, o.PerCost, o.Correct, o.Inner, o.LowRank, o.Threads, o.Seed = m.criterion, "global", m.criterion == "taylor", m.fit, m.inner, m.lowRank, 1, 1
	if o.Target == "" {
		o.Target = "cpu-f32"
	}
	r, err := nasc.Prune(ctx, net, o)
	if err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	fmt.Fprintf(os.Stderr, "%s: %.3f of the MACs, %.3f of the parameters\n", to, float64(r.After.MACs)/float64(r.Before.MACs), float64(r.After.Params)/float64(r.Before.Params))
	return nil
}

// split writes lists of 100 pictures to prune and distill with, and of the
// others, and gives their names.
func (b *bench) split(seed int) (calib, rest string, err error) {
	text, err := os.ReadFile(b.pictures)
	if err != nil {
		return "", "", err
	}
	dir, err := filepath.Abs(filepath.Dir(b.pictures))
	if err != nil {
		return "", "", err
	}
	var lines []string
	for l := range strings.Lines(string(text)) {
		file, class, ok := strings.Cut(strings.TrimSpace(l), "\t")
		if _, err := strconv.Atoi(class); ok && err == nil {
			lines = append(lines, filepath.Join(dir, file)+"\t"+class+"\n")
		}
	}
	if len(lines) < 200 {
		return "", "", fmt.Errorf("%s: %d pictures; 500 are wanted", b.pictures, len(lines))
	}
	rand.New(rand.NewPCG(uint64(seed), 100)).Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	calib, rest = filepath.Join(b.dir, fmt.Sprintf("split%d-100.tsv", seed)), filepath.Join(b.dir, fmt.Sprintf("split%d-rest.tsv", seed))
	for file, part := range map[string][]string{calib: lines[:100], rest: lines[100:]} {
		want := strings.Join(part, "")
		if old, err := os.ReadFile(file); err == nil && string(old) == want {
			continue
		}
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			return "", "", err
		}
	}
	return calib, rest, nil
}
