// Command eas compares ways to a network at the same cost of training, over
// paired seeds: EAS, growth by chance with the same steps, and the network that
// EAS ended with, trained from scratch. The cost of a training is steps × batch
// × multiplications of a sample × 3. What is done lies in the state file, from
// which it goes on when it was stopped.
//
//	go run ./bench/eas -data DIR -state .cache/eas.jsonl -report bench/reports/eas-$(date +%F).md
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nasc-dev/nasc/bench/m2k"
	"github.com/nasc-dev/nasc/bench/paired"
	"github.com/nasc-dev/nasc/bench/report"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/evaluate"
	"github.com/nasc-dev/nasc/search/strategy"
	"github.com/nasc-dev/nasc/train"
	"github.com/nasc-dev/nasc/zoo"
)

// setting is how one space is compared.
type setting struct {
	space   string
	cost    float64 // multiplications in all, of each arm
	final   float64 // share of it that the best network gets at the end
	epochs  int     // of the start
	lr      float64 // learning rate of the start and from scratch
	tune    float64 // of networks that inherit weights
	batch   int
	limit   float64           // MACs of a network; 0: what the last training can see twice
	goal    string            // by which networks are judged: accuracy or loss
	options map[string]string // of the strategies
}

var settings = []setting{
	{"plain-cnn", 1.3e11, 0.35, 20, 5e-3, 5e-4, 32, 0, "loss", map[string]string{"nets": "3", "wider": "3", "deeper": "1", "share": "0.05", "stage": "0", "rate": "0.05", "clip": "0.99"}},
	{"densenet", 1e12, 0.5, 10, 1e-3, 1e-3, 64, 0, "loss", map[string]string{"nets": "6", "wider": "2", "deeper": "1", "share": "0.5", "stage": "2", "rate": "0.02", "clip": "0.99"}},
}

func (s setting) String() string {
	return fmt.Sprintf("cost %g final %g epochs %d lr %g tune %g batch %d limit %g by %s %v", s.cost, s.final, s.epochs, s.lr, s.tune, s.batch, s.limit, s.goal, s.options)
}

// override changes the settings.
func override(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			if part == "" {
				continue
			}
			return fmt.Errorf("-try %s: wanted NAME=VALUE", part)
		}
		f, err := strconv.ParseFloat(v, 64)
		if err != nil && k != "goal" {
			return fmt.Errorf("-try %s: %w", part, err)
		}
		for i := range settings {
			switch s := &settings[i]; k {
			case "cost":
				s.cost = f
			case "final":
				s.final = f
			case "epochs":
				s.epochs = int(f)
			case "lr":
				s.lr = f
			case "tune":
				s.tune = f
			case "batch":
				s.batch = int(f)
			case "goal":
				s.goal = v
			case "limit":
				s.limit = f
			default:
				s.options[k] = v
			}
		}
	}
	return nil
}

// run is one finished arm.
type run struct {
	Space, Arm string
	Setting    string // runs of other settings are no part of a comparison
	Seed       uint64
	Genotype   string
	Params     float64
	MACs       float64
	Cost       float64 // what all trainings took
	Networks   int
	Actions    int
	Delta      float64 // greatest |Δ output| of an action over max(1, greatest |output|)
	Valid      float64 // accuracy by which networks were judged
	Test       float64 // of the test pictures
	Seconds    float64
}

func key(r run) string { return fmt.Sprintf("%s %s %d %s", r.Space, r.Arm, r.Seed, r.Setting) }

type bench struct {
	dir    string
	dev    bool
	config train.Config
	runs   *paired.Runs[run]
}

func main() {
	b := &bench{}
	flag.StringVar(&b.dir, "data", "", "folder of MNIST's four files")
	spaces := flag.String("spaces", "plain-cnn,densenet", "spaces to compare on")
	seeds := flag.Int("seeds", 5, "paired seeds")
	from := flag.Uint64("seed", 1, "the first of them")
	jobs := flag.Int("jobs", 1, "runs at once, one thread each")
	state := flag.String("state", "eas.jsonl", "file that keeps what is done, to go on from")
	report := flag.String("report", "", "the Markdown file to write; stdout otherwise")
	flag.BoolVar(&b.dev, "dev", false, "score on 10,000 of MNIST's training pictures instead of the test pictures, while settings are chosen")
	try := flag.String("try", "", "other settings for all spaces: cost=1e12,final=0.5,epochs=10,tune=0.001,nets=4,…")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := override(*try)
	if err == nil {
		err = b.main(ctx, *spaces, *from, *seeds, *jobs, *state, *report)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func (b *bench) main(ctx context.Context, spaces string, from uint64, seeds, jobs int, state, file string) error {
	b.config = train.Default()
	b.config.Augment.Crop = 1
	var err error
	if b.runs, err = paired.Open(state, key); err != nil {
		return err
	}
	defer b.runs.Close()
	type work struct {
		s    setting
		seed uint64
		arms []string
	}
	var all []work
	for seed := range seeds {
		for _, s := range settings {
			if strings.Contains(","+spaces+",", ","+s.space+",") {
				// From scratch needs the network that EAS ends with.
				all = append(all, work{s, from + uint64(seed), []string{"eas", "scratch"}}, work{s, from + uint64(seed), []string{"random-growth"}})
			}
		}
	}
	err = paired.Each(ctx, len(all), jobs, func(ctx context.Context, i int) error {
		w := all[i]
		for _, arm := range w.arms {
			if _, ok := b.runs.Get(key(run{Space: w.s.space, Arm: arm, Setting: w.s.String(), Seed: w.seed})); ok {
				continue
			}
			r, err := b.arm(ctx, w.s, arm, w.seed)
			if err != nil {
				return fmt.Errorf("%s, %s, seed %d: %w", w.s.space, arm, w.seed, err)
			}
			fmt.Fprintf(os.Stderr, "%+v\n", *r)
			if err := b.runs.Add(*r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	text := b.markdown(spaces, from, seeds)
	return report.Write(file, text)
}

func (b *bench) arm(ctx context.Context, s setting, arm string, seed uint64) (*run, error) {
	start := time.Now()
	space, err := arch.LoadSpaceFS(zoo.FS, "spaces/"+s.space+".toml", s.space)
	if err != nil {
		return nil, err
	}
	set, err := evaluate.Load("m2k:"+b.dir, "", 0.2, seed)
	if err != nil {
		return nil, err
	}
	r := &run{Space: s.space, Arm: arm, Setting: s.String(), Seed: seed}
	config := b.config
	config.Epochs, config.LR, config.Batch = s.epochs, s.lr, s.batch
	var mu sync.Mutex
	e, err := evaluate.New(evaluate.Config{
		Space: space, Data: set, Train: config, TuneLR: s.tune, Noise: 0.01, Weights: &evaluate.Memory{}, Threads: 1,
		Edited: func(_ *search.Trial, _ string, d, top float64) {
			mu.Lock()
			defer mu.Unlock()
			r.Actions++
			r.Delta = max(r.Delta, d/max(1, top))
		},
	})
	if err != nil {
		return nil, err
	}
	var last *search.Trial
	if arm == "scratch" {
		of, ok := b.runs.Get(key(run{Space: s.space, Arm: "eas", Setting: s.String(), Seed: seed}))
		if !ok {
			return nil, fmt.Errorf("BUG: no network to train from scratch")
		}
		g, err := e.Space.DecodeGenotype(of.Genotype)
		if err != nil {
			return nil, err
		}
		last = &search.Trial{ID: 1, Seed: seed, Proposal: search.Proposal{Genotype: g}}
		if err := b.train(ctx, e, last, of.MACs, s.cost, r); err != nil {
			return nil, err
		}
	} else {
		best, err := b.grow(ctx, e, s, arm, seed, r)
		if err != nil {
			return nil, err
		}
		last = &search.Trial{ID: best.ID + 1, Seed: seed, ParentTrial: best, Proposal: search.Proposal{Genotype: best.Genotype, Parent: best.ID}}
		if err := b.train(ctx, e, last, best.Metrics["macs"], s.cost-r.Cost, r); err != nil {
			return nil, err
		}
	}
	r.Genotype, r.Params, r.MACs, r.Valid = last.Genotype.String(), last.Metrics["params"], last.Metrics["macs"], last.Metrics["accuracy"]
	net, err := e.Network(last)
	if err != nil {
		return nil, err
	}
	if r.Test, err = m2k.Top1(ctx, net, b.dir, b.dev, *set.Preprocess); err != nil {
		return nil, err
	}
	r.Seconds = time.Since(start).Seconds()
	return r, nil
}

// grow runs a strategy until what is left of the cost is the final training's.
func (b *bench) grow(ctx context.Context, e *evaluate.Evaluator, s setting, arm string, seed uint64, r *run) (*search.Trial, error) {
	goal, err := search.ParseGoal(s.goal)
	if err != nil {
		return nil, err
	}
	row, err := strategy.Lookup(arm)
	if err != nil {
		return nil, err
	}
	options := map[string]string{}
	for _, o := range row.Options {
		if v, ok := s.options[o.Name]; ok {
			options[o.Name] = v
		}
	}
	space, cheap := search.ArchSpace{Space: e.Space}, evaluate.Cheap(e.Space)
	per := e.Data.Train.Len() / s.batch
	epoch := stepMACs * float64(per*s.batch)
	// Nothing grows beyond what the end can train for two epochs.
	limit := s.limit
	if limit == 0 {
		limit = s.cost * s.final / epoch / 2
	}
	macs, err := search.FindMetric("macs")
	if err != nil {
		return nil, err
	}
	limited := goal
	limited.Limits = append(limited.Limits, search.Limit{Metric: macs, Bound: limit})
	x, err := strategy.Find(arm, search.Setup{Space: space, Goal: limited, Seed: seed, Options: options, Cheap: cheap})
	if err != nil {
		return nil, err
	}
	paid := &costly{Strategy: x, left: s.cost * (1 - s.final), price: func(p search.Proposal) (float64, error) {
		m, err := cheap(p.Genotype)
		steps := float64(s.epochs * per)
		if p.Budget > 0 {
			steps = max(1, math.Round(p.Budget*steps))
		}
		return m["macs"] * stepMACs * float64(s.batch) * steps, err
	}}
	l := search.Loop{Space: space, Goal: goal, Strategy: paid, Evaluator: e, Seed: seed, Window: 1}
	trials, err := l.Run(ctx)
	if err != nil {
		return nil, err
	}
	r.Networks = len(trials)
	for _, t := range trials {
		if t.Fault != "" {
			return nil, fmt.Errorf("trial %d: %s", t.ID, t.Fault)
		}
		r.Cost += t.Metrics["train_macs"]
	}
	// The start, trained for longest, may still be ahead; this is about growth.
	grown := slices.DeleteFunc(trials, func(t *search.Trial) bool { return t.Parent == 0 })
	if len(grown) == 0 {
		return nil, fmt.Errorf("the start took all that there was for searching")
	}
	return search.Best(grown), nil
}

// stepMACs is what a sample costs in training, in forward passes.
const stepMACs = 3

// costly is a strategy that is done when what is left does not pay for the next
// network.
type costly struct {
	search.Strategy
	left  float64
	price func(search.Proposal) (float64, error)
}

func (c *costly) Ask(ctx context.Context) (search.Proposal, error) {
	p, err := c.Strategy.Ask(ctx)
	if err != nil {
		return p, err
	}
	switch price, err := c.price(p); {
	case err != nil:
		return p, err
	case price > c.left:
		return search.Proposal{}, search.ErrDone
	}
	return p, nil
}

func (c *costly) Tell(ctx context.Context, t *search.Trial) error {
	c.left -= t.Metrics["train_macs"]
	return c.Strategy.Tell(ctx, t)
}

// train trains a network, from scratch or on, for as many steps as the cost pays.
func (b *bench) train(ctx context.Context, e *evaluate.Evaluator, t *search.Trial, macs, cost float64, r *run) error {
	per := e.Data.Train.Len() / e.Train.Batch
	steps := int(cost / (stepMACs * macs * float64(e.Train.Batch)))
	if steps < 1 {
		return fmt.Errorf("the cost does not pay a step of %s", t.Genotype)
	}
	full := *e
	full.Train.Steps, full.Train.Epochs = steps, (steps+per-1)/per
	o, err := full.Evaluate(ctx, t)
	if err != nil {
		return err
	}
	if o.Fault != "" {
		return fmt.Errorf("%s: %s", t.Genotype, o.Fault)
	}
	t.Outcome = o
	r.Cost += o.Metrics["train_macs"]
	r.Networks++
	return nil
}
