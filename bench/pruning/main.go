// Command pruning compares pruning with Torch-Pruning's, on the same weights and
// data: networks pruned by both are fine-tuned by one recipe, compiled for int8
// and timed in one run. It has steps, each of which goes on where it was
// stopped:
//
//	prepare  prunes (torch_prune.py does the other side's, see run.sh)
//	match    prunes to the int8 time of the other side's networks; needs a quiet machine
//	train    fine-tunes and judges
//	time     times all in turns; needs a quiet machine
//	report   writes the report
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/bench/paired"
)

type bench struct {
	dir                                     string // of the pruned networks
	cifarNet, liteNet                       string
	cifar, pictures, mnist                  string // data
	state, report                           string
	seeds, curveSeeds, splits, epochs, jobs int
	distillEpochs, tenfoldEpochs            int
	only                                    *regexp.Regexp
	held                                    int // training pictures that judge instead of the test pictures
	lr, distillLR                           float64
	runs                                    *paired.Runs[run]
}

// run is one finished piece of work.
type run struct {
	Key    string
	Model  string
	Seed   int
	Params int64
	MACs   int64
	// Top1 of the network as pruned, after fine-tuning, and of its int8 form.
	Pruned, Tuned, Int8 float64
	// Agreement with the whole network, as pruned and after distillation.
	AgreePruned, AgreeTuned float64
	AgreeNorms              float64 // with its batch norms measured anew
	MS, MSWhole             float64 // on cpu-int8, one thread
	Seconds                 float64
	Note                    string
}

func main() {
	b := &bench{}
	flag.StringVar(&b.dir, "dir", ".cache/pruning", "folder of the pruned networks")
	flag.StringVar(&b.cifarNet, "cifar-net", "../shared/models/cifar_resnet32.onnx", "the CIFAR network")
	flag.StringVar(&b.liteNet, "lite-net", "../shared/models/efficientnet_lite0.onnx", "the ImageNet network")
	flag.StringVar(&b.cifar, "cifar", "../shared/data/cifar10", "folder with train.bin.gz and test.bin.gz")
	flag.StringVar(&b.pictures, "pictures", "../shared/data/imagenet500/labels.tsv", "list of pictures")
	flag.StringVar(&b.mnist, "mnist", "", "folder of MNIST's files; none: without that part")
	flag.StringVar(&b.state, "state", ".cache/pruning/runs.jsonl", "file that keeps what is done")
	flag.StringVar(&b.report, "report", "", "the Markdown file to write; stdout otherwise")
	flag.IntVar(&b.seeds, "seeds", 5, "seeds of fine-tuning at half of the MACs")
	flag.IntVar(&b.curveSeeds, "curve-seeds", 1, "seeds of the other shares, and of the tenfold part")
	flag.IntVar(&b.splits, "splits", 3, "splits of the pictures in 100 and 400")
	flag.IntVar(&b.epochs, "epochs", 1, "of fine-tuning on CIFAR")
	flag.IntVar(&b.distillEpochs, "distill-epochs", 0, "of distillation on 100 pictures")
	flag.IntVar(&b.tenfoldEpochs, "tenfold-epochs", 0, "of each round of the tenfold part; 0: 5 on CIFAR, 2 on MNIST")
	flag.IntVar(&b.jobs, "jobs", 1, "pieces of work at a time, one thread each")
	flag.Float64Var(&b.lr, "lr", 0.01, "of fine-tuning: sgd, cosine")
	flag.Float64Var(&b.distillLR, "distill-lr", 2e-4, "of distillation: adamw, cosine")
	flag.IntVar(&b.held, "held", 0, "judge on so many of the training pictures, kept out of fine-tuning, instead of the test pictures: for choosing settings")
	only := flag.String("only", "", "regular expression of the work to do")
	flag.Parse()
	steps := map[string]func(context.Context) error{"prepare": b.prepare, "match": b.match, "train": b.train, "time": b.time, "report": b.writeReport}
	do := steps[flag.Arg(0)]
	if do == nil || flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: pruning [flags] prepare|match|train|time|report")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := os.MkdirAll(b.dir, 0o755)
	if err == nil {
		b.only, err = regexp.Compile(*only)
	}
	if err == nil {
		b.runs, err = paired.Open(b.state, func(r run) string { return r.Key })
	}
	if err == nil {
		err = do(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pruning:", err)
		os.Exit(1)
	}
}

// task is a piece of work with a name of its own.
type task struct {
	key string
	do  func(ctx context.Context) (*run, error)
}

// each does the tasks that are not done.
func (b *bench) each(ctx context.Context, tasks []task, jobs int) error {
	tasks = slices.DeleteFunc(tasks, func(t task) bool {
		_, ok := b.runs.Get(t.key)
		return ok || !b.only.MatchString(t.key)
	})
	return paired.Each(ctx, len(tasks), jobs, func(ctx context.Context, i int) error {
		r, err := tasks[i].do(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", tasks[i].key, err)
		}
		r.Key = tasks[i].key
		fmt.Fprintf(os.Stderr, "%s: %.0f s, top-1 %.4f → %.4f, int8 %.4f, agreement %.4f, %.4f, %.4f %s\n", r.Key, r.Seconds, r.Pruned, r.Tuned, r.Int8, r.AgreePruned, r.AgreeNorms, r.AgreeTuned, r.Note)
		return b.runs.Add(*r)
	})
}

// models lists the pruned networks whose names begin so, sorted.
func (b *bench) models(prefix string) []string {
	var out []string
	for _, ext := range []string{"onnx", "nasc"} {
		m, err := filepath.Glob(filepath.Join(b.dir, prefix+"*."+ext))
		if err != nil {
			panic("BUG: " + err.Error())
		}
		out = append(out, m...)
	}
	slices.SortFunc(out, func(x, y string) int { return strings.Compare(name(x), name(y)) })
	return out
}

// name is a network's file without folder and ending.
func name(path string) string {
	s := filepath.Base(path)
	return strings.TrimSuffix(s, filepath.Ext(s))
}
