// Command n2n asks two things of N2N (nasc compress), over paired seeds: is the
// student of a ResNet ten times smaller and within a point of it, and does a
// policy that was learned on a smaller teacher reach the reward of one that
// begins with nothing in fewer episodes? The cost of a training is steps × batch
// × (3 × multiplications of a sample, and those of the teacher where it is
// asked). What is done lies in the state file, teachers and policies beside it;
// from there it goes on when it was stopped.
//
//	go run ./bench/n2n -data DIR -state .cache/n2n.jsonl -report bench/reports/n2n-$(date +%F).md
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"
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
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/evaluate"
	"github.com/nasc-dev/nasc/search/shrink"
	"github.com/nasc-dev/nasc/search/strategy"
	"github.com/nasc-dev/nasc/search/task"
	"github.com/nasc-dev/nasc/train"
)

//go:embed teacher.toml
var teacherText string

//go:embed small-teacher.toml
var smallText string

// settings were chosen with -dev.
var settings = map[string]float64{
	"teacher-epochs": 15, "teacher-lr": 5e-3, // both teachers
	"epochs": 1, "lr": 1e-2, "batch": 16, // a student's
	"rollouts": 5, "removal": 3, "shrinkage": 8, // episodes on the large teacher
	"small-removal": 6, "small-shrinkage": 24,
	"rate": 0.003, "entropy": 0.01, "share-rate": 0.01,
	"final": 0.3, "final-lr": 1e-2, // the best student's last training
	"max-share": 0.1, // limit: the student's parameters as a share of the teacher's; 0: none
}

var settingNames = []string{
	"teacher-epochs", "teacher-lr", "epochs", "lr", "batch", "rollouts", "removal", "shrinkage", "small-removal", "small-shrinkage",
	"rate", "entropy", "share-rate", "final", "final-lr", "max-share",
}

func override(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		f, err := strconv.ParseFloat(v, 64)
		if _, ok := settings[k]; !ok || err != nil {
			return fmt.Errorf("-try %s: wanted NAME=NUMBER, NAME one of %s", part, strings.Join(settingNames, ", "))
		}
		settings[k] = f
	}
	return nil
}

// run is one finished arm.
type run struct {
	Arm  string // small, fresh, carried
	Seed uint64

	TeacherParams, TeacherMACs float64
	TeacherValid, TeacherTest  float64

	Episodes []float64 // mean reward of each; 0 for students beyond the limit and for what cannot be
	Within   int       // trials within the limit
	Best     []float64 // greatest reward of a student up to each
	Reward   float64   // of the last network
	Genotype string
	Params   float64
	MACs     float64
	Early    float64 // accuracy by which the student was chosen
	Valid    float64 // after its last training
	Test     float64
	Epochs   int // of the last training
	Networks int
	Cost     float64 // of the search
	LastCost float64
	Seconds  float64
}

func key(r run) string { return fmt.Sprintf("%s %d", r.Arm, r.Seed) }

type bench struct {
	dir, folder string
	dev         bool
	runs        *paired.Runs[run]
}

func main() {
	b := &bench{}
	flag.StringVar(&b.dir, "data", "", "folder of MNIST's four files")
	seeds := flag.Int("seeds", 5, "paired seeds")
	first := flag.Int("first", 1, "the first seed")
	jobs := flag.Int("jobs", 1, "seeds at once, one thread each")
	state := flag.String("state", "n2n.jsonl", "file that keeps what is done, to go on from; teachers and policies lie in the folder of that name")
	report := flag.String("report", "", "the Markdown file to write; stdout otherwise")
	flag.BoolVar(&b.dev, "dev", false, "score on 10,000 of MNIST's training pictures instead of the test pictures, while settings are chosen")
	try := flag.String("try", "", "other settings: "+strings.Join(settingNames, "=…,")+"=…")
	arms := flag.String("arms", "small,fresh,carried", "arms to run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := override(*try)
	if err == nil {
		err = b.main(ctx, *first, *seeds, *jobs, *state, *report, strings.Split(*arms, ","))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func (b *bench) main(ctx context.Context, first, seeds, jobs int, state, file string, arms []string) error {
	b.folder = strings.TrimSuffix(state, ".jsonl")
	if err := os.MkdirAll(b.folder, 0o755); err != nil {
		return err
	}
	var err error
	if b.runs, err = paired.Open(state, key); err != nil {
		return err
	}
	defer b.runs.Close()
	err = paired.Each(ctx, seeds, jobs, func(ctx context.Context, i int) error {
		for _, arm := range arms { // carried begins with what small learned
			seed := uint64(first + i)
			if _, ok := b.runs.Get(key(run{Arm: arm, Seed: seed})); ok {
				continue
			}
			r, err := b.arm(ctx, arm, seed)
			if err != nil {
				return fmt.Errorf("%s, seed %d: %w", arm, seed, err)
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
	text := b.markdown(first, seeds)
	return report.Write(file, text)
}

func (b *bench) arm(ctx context.Context, arm string, seed uint64) (*run, error) {
	set, err := evaluate.Load("m2k:"+b.dir, "", 0.2, seed)
	if err != nil {
		return nil, err
	}
	text, name, removal, shrinkage := teacherText, "teacher", "removal", "shrinkage"
	if arm == "small" {
		text, name, removal, shrinkage = smallText, "small-teacher", "small-removal", "small-shrinkage"
	}
	net, err := b.teacher(ctx, name, text, set, seed)
	if err != nil {
		return nil, err
	}
	space, err := shrink.New(net)
	if err != nil {
		return nil, err
	}
	macs, params := evaluate.Count(net)
	r := &run{Arm: arm, Seed: seed, TeacherMACs: float64(macs), TeacherParams: float64(params)}
	if r.TeacherTest, err = m2k.Top1(ctx, net, b.dir, b.dev, *set.Preprocess); err != nil {
		return nil, err
	}
	c := train.Default()
	c.Epochs, c.LR, c.Batch = int(settings["epochs"]), settings["lr"], int(settings["batch"])
	c.Augment.Crop = 1
	e, err := evaluate.NewShrinker(space, evaluate.Config{Data: set, Train: c, Weights: &evaluate.Memory{}, Threads: 1})
	if err != nil {
		return nil, err
	}
	var limits []search.Limit
	if s := settings["max-share"]; s > 0 {
		m, err := search.FindMetric("params")
		if err != nil {
			return nil, err
		}
		limits = []search.Limit{{Metric: m, Bound: math.Floor(s * r.TeacherParams)}}
	}
	goal, err := search.ParseGoal("reward", limits...)
	if err != nil {
		return nil, err
	}
	options := map[string]string{"removal": fmt.Sprint(settings[removal]), "shrinkage": fmt.Sprint(settings[shrinkage])}
	for _, k := range []string{"rollouts", "rate", "entropy", "share-rate"} {
		options[k] = fmt.Sprint(settings[k])
	}
	policy := fmt.Sprintf("%s/policy-%d.json", b.folder, seed)
	if arm == "carried" {
		options["policy"] = policy
	}
	x, err := strategy.Find("n2n", search.Setup{Space: space, Goal: goal, Seed: seed, Options: options})
	if err != nil {
		return nil, err
	}
	start := time.Now()
	o := &task.Opened{Task: task.Task{Train: c}, Trains: e}
	l := search.Loop{Space: space, Goal: goal, Strategy: x, Evaluator: e, Seed: seed}
	if arm == "fresh" {
		last := o.Last(settings["final"], nil)
		l.Last = func(told []*search.Trial) (search.Proposal, error) {
			e.Train.LR = settings["final-lr"]
			return last(told)
		}
	}
	trials, err := l.Run(ctx)
	if err != nil {
		return nil, err
	}
	r.Seconds = time.Since(start).Seconds()
	if arm == "small" {
		file, err := x.(strategy.Learner).Policies()
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(policy, file, 0o644); err != nil {
			return nil, err
		}
	}
	return r, b.finish(ctx, r, e, trials)
}

// finish fills in what the trials gave.
func (b *bench) finish(ctx context.Context, r *run, e *evaluate.Shrinker, trials []*search.Trial) error {
	r.TeacherValid = trials[0].Metrics["accuracy"]
	rollouts := settings["rollouts"]
	removal := settings["removal"]
	if r.Arm == "small" {
		removal = settings["small-removal"]
	}
	sums, best := map[int]float64{}, 0.0
	end := 0
	var last *search.Trial
	for _, t := range trials[1:] {
		if t.CopyOf == 0 {
			r.Networks++
			if t.Note == search.LastNote {
				r.LastCost += t.Metrics["train_macs"]
			} else {
				r.Cost += t.Metrics["train_macs"]
			}
		}
		if t.Note == search.LastNote {
			last = t
			continue
		}
		var phase string
		var at int
		if _, err := fmt.Sscanf(t.Note, "%s %d", &phase, &at); err != nil {
			return fmt.Errorf("trial %d: note %q: %w", t.ID, t.Note, err)
		}
		if phase == "narrowing" {
			at += int(removal)
		}
		for ; end < at; end++ { // rollouts that cannot be are no trials
			r.Best = append(r.Best, best)
		}
		reward := 0.0
		if t.Feasible() {
			reward = t.Metrics["reward"]
			r.Within++
		}
		sums[at] += reward
		best = max(best, reward)
		r.Best[at-1] = best
	}
	for i := range end {
		r.Episodes = append(r.Episodes, sums[i+1]/rollouts)
	}
	r.Cost += trials[0].Metrics["train_macs"]
	if r.Arm != "fresh" {
		r.Reward = best
		return nil
	}
	if last == nil || last.Fault != "" {
		return fmt.Errorf("no last training: %+v", last)
	}
	r.Reward, r.Genotype, r.Params, r.MACs = last.Metrics["reward"], last.Genotype.String(), last.Metrics["params"], last.Metrics["macs"]
	r.Early, r.Valid, r.Epochs = last.ParentTrial.Metrics["accuracy"], last.Metrics["accuracy"], len(last.Curve)
	net, err := e.Network(last)
	if err != nil {
		return err
	}
	r.Test, err = m2k.Top1(ctx, net, b.dir, b.dev, *e.Data.Preprocess)
	return err
}

// teacher trains a teacher, or reads it where it was trained before.
func (b *bench) teacher(ctx context.Context, name, text string, set *evaluate.Set, seed uint64) (*ir.Graph, error) {
	path := fmt.Sprintf("%s/%s-%d.nasc", b.folder, name, seed)
	if m, err := nasc.Open(path, nil); err == nil {
		return m.Graph(), nil // mapped until the end
	} else if !os.IsNotExist(err) && !strings.Contains(err.Error(), "no such file") {
		return nil, err
	}
	raw, _, err := arch.Parse(name, []byte(text), nil)
	if err != nil {
		return nil, err
	}
	g, err := nasc.Trainable(ctx, &nasc.Model{Module: &ir.Module{Graphs: []*ir.Graph{raw}}})
	if err != nil {
		return nil, err
	}
	n, err := train.New(g)
	if err != nil {
		return nil, err
	}
	n.Init(seed)
	c := train.Default()
	c.Epochs, c.LR, c.Seed, c.Augment.Crop = int(settings["teacher-epochs"]), settings["teacher-lr"], seed, 1
	feed, err := data.NewFeed(set.Train, g.Inputs, nil)
	if err != nil {
		return nil, err
	}
	r, err := (&train.Job{Config: c, Network: n, Data: feed, Preprocess: set.Preprocess, Threads: 1}).Run(ctx)
	if err != nil {
		return nil, err
	}
	man := &nascfile.Manifest{Producer: "bench/n2n", Source: name, Preprocess: set.Preprocess}
	return r.Graph, nascfile.Write(path, &ir.Module{Graphs: []*ir.Graph{r.Graph}}, man)
}
