// Command qat proves quantization-aware training: a small MobileNetV3 is
// trained on CIFAR-10 by several seeds; from each, one copy goes on in float
// and others as int8 runs them, with weights of 8 and of 4 bits, for the same
// number of epochs. It reports the paired differences and counts the bits in
// which the compiled files differ from what was trained. Nothing is chosen by
// the test pictures. What is done lies in the folder -work, from which it goes
// on when it was stopped; a seed takes one thread.
//
//	go run ./bench/qat -train cifar10:../shared/data/cifar10/train.bin.gz -test cifar10:../shared/data/cifar10/test.bin.gz -seeds 5 -jobs 2 -report bench/reports/qat-$(date +%F).md
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"

	"github.com/nasc-dev/nasc/bench/report"
)

//go:embed net.toml
var net []byte

// settings are the flags; those with a key in results decide them.
type settings struct {
	train, test, work, report string
	first                     uint64
	seeds, jobs               int
	epochs, more              int
	batch                     int
	lr, moreLR, moreLR4       float64
	ema                       float64
	freeze                    bool
	dry                       bool
}

func main() {
	var s settings
	flag.StringVar(&s.train, "train", "cifar10:../shared/data/cifar10/train.bin.gz", "labelled DATA to train on")
	flag.StringVar(&s.test, "test", "cifar10:../shared/data/cifar10/test.bin.gz", "labelled DATA to judge by")
	flag.StringVar(&s.work, "work", ".cache/qat", "folder for networks, checkpoints and results.jsonl")
	flag.StringVar(&s.report, "report", "", "the Markdown file to write; stdout otherwise")
	flag.IntVar(&s.seeds, "seeds", 5, "trainings")
	flag.Uint64Var(&s.first, "first", 1, "their first seed")
	flag.IntVar(&s.jobs, "jobs", 1, "seeds at a time, each on one thread")
	flag.IntVar(&s.epochs, "epochs", 60, "of the first training")
	flag.IntVar(&s.more, "more", 4, "epochs that each arm goes on")
	flag.IntVar(&s.batch, "batch", 64, "pictures a step")
	flag.Float64Var(&s.lr, "lr", 2e-3, "of the first training")
	flag.Float64Var(&s.moreLR, "more-lr", 1e-4, "of the arms")
	flag.Float64Var(&s.moreLR4, "more-lr4", 5e-4, "of the arm with weights of 4 bits (0: as the others)")
	flag.Float64Var(&s.ema, "ema", 0, "decay of the averaged weights that every arm keeps (0: the last ones)")
	flag.BoolVar(&s.freeze, "freeze-norm", false, "keep the batch norms' statistics in the float arm, too, as folded norms are in the others")
	flag.BoolVar(&s.dry, "dry", false, "run nothing: report what is done")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s *settings) error {
	if err := os.MkdirAll(s.work, 0o755); err != nil {
		return err
	}
	model := filepath.Join(s.work, "net.toml")
	if err := os.WriteFile(model, net, 0o644); err != nil {
		return err
	}
	j, err := openJournal(filepath.Join(s.work, "results.jsonl"), s.key())
	if err != nil {
		return err
	}
	defer j.close()
	var wg sync.WaitGroup
	errs := make([]error, s.seeds)
	slots := make(chan struct{}, max(1, s.jobs))
	for i := range s.seeds {
		if s.dry {
			break
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r := &runner{s: s, j: j, seed: s.first + uint64(i), model: model}
			errs[i] = r.all(ctx)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	text, err := markdown(s, j.rows)
	if err != nil {
		return err
	}
	return report.Write(s.report, text)
}
