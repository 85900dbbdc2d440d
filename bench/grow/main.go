// Command grow shows what growing is for: a small network is trained, widened
// and deepened, begins with the same predictions on every test picture, and
// goes on; a network of that final size is trained from scratch at the same
// total cost. Both see M2k: MNIST at 14×14, 2,000 pictures to train on, all
// 10,000 test pictures. The recipe was chosen on other seeds and 10,000 of
// MNIST's training pictures (-tune), never on the test pictures. Several budgets
// show where growing pays; the first is the one that is judged. What is done
// lies in the state file, from which it goes on when it was stopped.
//
//	go run ./bench/grow -data DIR -state .cache/grow.jsonl -report bench/reports/grow-$(date +%F).md
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/bench/m2k"
	"github.com/nasc-dev/nasc/bench/paired"
	"github.com/nasc-dev/nasc/bench/report"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
	"github.com/nasc-dev/nasc/train"
)

//go:embed small.toml
var small []byte

// growth is what makes the final network of the small one. The noise comes after
// the check that nothing changed.
const growth = "widen(factor=2),deepen(node=conv1),deepen(node=conv2),deepen(node=conv3)"

type config struct {
	dir      string
	tune     bool
	epochs   float64 // of the final network from scratch: the budget
	first    int     // epochs of the small network
	lr       float64 // of the small network and from scratch
	growLR   float64 // after growing
	noise    float64
	batch    int
	shift    int // augmentation: by up to so many pixels
	schedule string
}

func main() {
	var c config
	flag.StringVar(&c.dir, "data", "", "folder of MNIST's files")
	seeds := flag.Int("seeds", 5, "seeds of both arms")
	from := flag.Uint64("seed", 1, "the first of them")
	jobs := flag.Int("jobs", 1, "seeds at a time")
	state := flag.String("state", "grow.jsonl", "file that keeps what is done, to go on from")
	file := flag.String("report", "", "the Markdown file to write; stdout otherwise")
	flag.BoolVar(&c.tune, "tune", false, "judge on 10,000 of MNIST's training pictures instead of the test pictures, while the recipe is chosen")
	budgets := flag.String("budgets", "2:6,4:17,8:34", "budgets in epochs of the final network, each with the epochs of the small one that are part of it; the first is judged")
	flag.Float64Var(&c.lr, "lr", 5e-3, "learning rate of the small network, and from scratch")
	flag.Float64Var(&c.growLR, "grow-lr", 3e-4, "learning rate after growing")
	flag.Float64Var(&c.noise, "noise", 0.05, "noise on copies after growing")
	flag.IntVar(&c.batch, "batch", 32, "samples a step")
	flag.IntVar(&c.shift, "shift", 1, "training pictures are shifted by up to so many pixels")
	flag.StringVar(&c.schedule, "schedule", "cosine", "of the learning rate")
	flag.Parse()
	if c.dir == "" {
		fmt.Fprintln(os.Stderr, "grow: -data is the folder of MNIST's four files")
		os.Exit(2)
	}
	all, err := c.budgets(*budgets)
	if err != nil {
		fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	runs, err := paired.Open(*state, func(p pair) string { return p.key() })
	if err != nil {
		fail(err)
	}
	err = paired.Each(ctx, len(all)**seeds, *jobs, func(ctx context.Context, i int) error {
		c, seed := all[i / *seeds], *from+uint64(i%*seeds)
		if _, ok := runs.Get(pair{Config: c.String(), Seed: seed}.key()); ok {
			return nil
		}
		p, err := c.pair(ctx, seed)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%g epochs, seed %d: grown %.2f %%, from scratch %.2f %%\n", c.epochs, seed, 100*p.Grown.Top1, 100*p.Fresh.Top1)
		return runs.Add(*p)
	})
	if err = errors.Join(err, runs.Close()); err != nil {
		fail(err)
	}
	done := make([][]pair, len(all))
	for i, c := range all {
		for seed := *from; seed < *from+uint64(*seeds); seed++ {
			p, _ := runs.Get(pair{Config: c.String(), Seed: seed}.key())
			done[i] = append(done[i], p)
		}
	}
	text := markdown(all, done)
	if err := report.Write(*file, text); err != nil {
		fail(err)
	}
}

// budgets are the configurations of a list like 2:6,4:17.
func (c config) budgets(list string) (all []config, err error) {
	for part := range strings.SplitSeq(list, ",") {
		if _, err := fmt.Sscanf(part, "%g:%d", &c.epochs, &c.first); err != nil {
			return nil, fmt.Errorf("-budgets %s: found %q, wanted EPOCHS:FIRST, as 2:6", list, part)
		}
		all = append(all, c)
	}
	return all, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "grow:", err)
	os.Exit(1)
}

// pair is both arms of one seed.
type pair struct {
	Config string
	Seed   uint64
	Small  arm     // before growing
	Grown  arm     // the whole arm: before and after
	Fresh  arm     // from scratch
	Same   int     // pictures on which the grown network begins with the small one's prediction
	Images int     // of these
	MaxAbs float64 // the greatest change of an output by growing
	First  float64 // top-1 of the grown network with its noise, before it goes on
}

type arm struct {
	Top1    float64
	Loss    float64 // on the same pictures
	Cost    float64 // MACs forward, of all pictures seen
	Seconds float64
	Params  int64
}

func (c config) String() string {
	return fmt.Sprintf("%v epochs %d first lr %g %g noise %g batch %d shift %d %s warm tune %v %s %08x", c.epochs, c.first, c.lr, c.growLR, c.noise, c.batch, c.shift, c.schedule, c.tune, growth, crc32.ChecksumIEEE(small))
}

func (p pair) key() string { return fmt.Sprint(p.Seed, " of ", p.Config) }

// trained is one stretch of training.
func (c config) trained(ctx context.Context, g *ir.Graph, fresh bool, epochs int, lr float64, seed uint64, a *arm) (*ir.Graph, error) {
	n, err := train.New(g)
	if err != nil {
		return nil, err
	}
	if fresh {
		n.Init(seed)
	}
	cfg := train.Default()
	cfg.Epochs, cfg.Batch, cfg.LR, cfg.Seed, cfg.Schedule = epochs, c.batch, lr, seed, c.schedule
	cfg.Augment.Crop = c.shift
	if !fresh { // Adam's first steps are as long as its rate, whatever the gradient
		cfg.Warmup = 0.5
	}
	feed, err := c.feed("m2k:"+c.dir, g)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	r, err := (&train.Job{Config: cfg, Network: n, Data: feed, Preprocess: feed.Preprocess, Threads: 1}).Run(ctx)
	if err != nil {
		return nil, err
	}
	a.Seconds += time.Since(begun).Seconds()
	a.Cost += float64(g.MACs()) * float64(r.Steps*c.batch)
	a.Params = r.Graph.Params()
	return r.Graph, nil
}

func (c config) feed(name string, g *ir.Graph) (*data.Feed, error) {
	return c.feedAs(name, g, data.Assume(g.Inputs[0].Type))
}

func (c config) feedAs(name string, g *ir.Graph, pre *nascfile.Preprocess) (*data.Feed, error) {
	return data.OpenFeed(name, g.Inputs, pre)
}

// judged gives the predictions on the pictures that count.
func (c config) judged(ctx context.Context, g *ir.Graph, a *arm) ([]*ir.Tensor, error) {
	s, err := m2k.Judge(ctx, g, c.dir, c.tune, *data.Assume(g.Inputs[0].Type), true)
	if err != nil {
		return nil, err
	}
	a.Top1, a.Loss = s.Top1, s.Loss
	return s.Outputs, nil
}

// pair runs both arms of a seed.
func (c config) pair(ctx context.Context, seed uint64) (*pair, error) {
	p := &pair{Config: c.String(), Seed: seed}
	g, _, err := arch.Parse("small.toml", small, func(string) ([]byte, error) { return nil, fs.ErrNotExist })
	if err != nil {
		return nil, err
	}
	// In the form that is trained, with batch norms on their own.
	if g, err = nasc.Trainable(ctx, &nasc.Model{Path: "small.toml", Module: &ir.Module{Graphs: []*ir.Graph{g}}, Manifest: &nascfile.Manifest{}}); err != nil {
		return nil, err
	}
	if g, err = c.trained(ctx, g, true, c.first, c.lr, seed, &p.Small); err != nil {
		return nil, err
	}
	before, err := c.judged(ctx, g, &p.Small)
	if err != nil {
		return nil, err
	}
	// The growth, first without noise: the function is the same.
	exact, err := c.grown(ctx, g, 0)
	if err != nil {
		return nil, err
	}
	var begin arm
	after, err := c.judged(ctx, exact, &begin)
	if err != nil {
		return nil, err
	}
	p.Images = len(before)
	for i, x := range before {
		if nasc.ArgMax(x) == nasc.ArgMax(after[i]) {
			p.Same++
		}
		for k := range x.Len() {
			p.MaxAbs = max(p.MaxAbs, x.At(k)-after[i].At(k), after[i].At(k)-x.At(k))
		}
	}
	noisy, err := c.grown(ctx, g, c.noise)
	if err != nil {
		return nil, err
	}
	if _, err := c.judged(ctx, noisy, &begin); err != nil {
		return nil, err
	}
	p.First = begin.Top1
	// What is left of the budget.
	left := c.epochs - float64(c.first)*float64(g.MACs())/float64(exact.MACs())
	if left < 1 {
		return nil, fmt.Errorf("the small network's %d epochs leave %.2f of the budget", c.first, left)
	}
	p.Grown = p.Small
	if g, err = c.trained(ctx, noisy, false, int(left), c.growLR, seed, &p.Grown); err != nil {
		return nil, err
	}
	if _, err = c.judged(ctx, g, &p.Grown); err != nil {
		return nil, err
	}
	if g, err = c.trained(ctx, exact, true, int(c.epochs), c.lr, seed, &p.Fresh); err != nil {
		return nil, err
	}
	_, err = c.judged(ctx, g, &p.Fresh)
	return p, err
}

// grown is a wider, deeper copy of the network.
func (c config) grown(ctx context.Context, g *ir.Graph, noise float64) (*ir.Graph, error) {
	spec := growth
	if noise > 0 {
		spec = strings.ReplaceAll(spec, "widen(factor=2)", fmt.Sprintf("widen(factor=2,noise=%g)", noise))
	}
	list, err := passes.Parse(spec)
	if err != nil {
		return nil, err
	}
	feed, err := c.feed("m2k:"+c.dir+"[0:64]", g)
	if err != nil {
		return nil, err
	}
	o := passes.Options{}
	for i := range feed.Len() {
		in, err := feed.At(i)
		if err != nil {
			return nil, err
		}
		o.Inputs = append(o.Inputs, in)
	}
	b := g.Clone()
	_, err = passes.Run(ctx, b, list, o)
	return b, err
}
