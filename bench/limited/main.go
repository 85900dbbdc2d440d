// Command limited searches for the most accurate networks under limits on the
// latency of cpu-int8, against as many random networks that keep them, and for
// fronts of accuracy and latency, against fronts that take MACs for latency.
//
// Accuracies come from a tabular benchmark of really trained networks (nasc
// search table, or NAS-Bench-201), latencies from a table of measured kernels
// (nasc profile --space). What a search chooses is then compiled and measured:
// trained, where nasc trained the benchmark's networks, and otherwise with random
// weights. It has three phases, so that the one that measures can be given a
// quiet machine, by pieces (-for 60s; it goes on):
//
//	go run ./bench/limited -phase search  -data DIR -device device.csv   # searches; trains and compiles what they chose
//	go run ./bench/limited -phase measure -data DIR -device device.csv   # measures these, a few seconds
//	go run ./bench/limited -phase report  -data DIR -device device.csv -report bench/reports/limited-$(date +%F).md
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/bench/report"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/tabular"
)

const target = "cpu-int8"

type config struct {
	space, bench, device, dir, state string
	strategy                         string
	budget, front, seeds, finalists  int
	piece                            time.Duration
}

// own is whether the benchmark is one of nasc's, which tells of its networks
// what this command would otherwise have to find out.
func (c *config) own() bool { return strings.HasPrefix(c.bench, "table:") }

func main() {
	var c config
	flag.StringVar(&c.space, "space", "zoo/spaces/m2k-cnn.toml", "architecture file with choices")
	flag.StringVar(&c.bench, "table", "table:zoo/tables/m2k-cnn.csv", "benchmark of the space's networks")
	flag.StringVar(&c.device, "device", "", "latency table of the space's kernels on this device, for "+target)
	flag.StringVar(&c.dir, "data", "", "folder of MNIST's files")
	flag.StringVar(&c.state, "state", ".cache/limited", "folder of chosen networks and what was measured")
	flag.StringVar(&c.strategy, "strategy", "bayesian-rf", "of the searches under a limit; fronts take nsga2")
	flag.IntVar(&c.budget, "budget", 20, "networks that a search, and its random rival, may look at")
	flag.IntVar(&c.front, "front", 200, "networks that a search for a front may look at")
	flag.IntVar(&c.seeds, "seeds", 5, "searches of each kind")
	flag.IntVar(&c.finalists, "finalists", 5, "best networks of a search that are compiled and measured")
	flag.DurationVar(&c.piece, "for", 0, "how long to measure this time; 0: till all is measured")
	phase := flag.String("phase", "search", "search, measure or report")
	file := flag.String("report", "", "the Markdown file to write; stdout otherwise")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch *phase {
	case "search":
		err = c.search(ctx)
	case "measure":
		err = c.measure(ctx)
	case "report":
		var text string
		if text, err = c.report(); err == nil {
			err = report.Write(*file, text)
		}
	default:
		err = fmt.Errorf("-phase %q; wanted search, measure or report", *phase)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "limited:", err)
		os.Exit(1)
	}
}

// chosen is a network that a search put forward.
type chosen struct {
	Genotype  string  `json:"genotype"`
	Val       float64 `json:"val"`       // what the search saw
	Test      float64 `json:"test"`      // what it did not
	Predicted float64 `json:"predicted"` // ms
	MACs      float64 `json:"macs"`
}

// limited is a search under a limit and its random rival.
type limited struct {
	Limit     float64  `json:"limit"`
	Seed      uint64   `json:"seed"`
	Finalists []chosen `json:"finalists"` // by validation accuracy
	Random    chosen   `json:"random"`    // the best of as many random networks
	Trials    int      `json:"trials"`
	Broke     int      `json:"broke"` // trials that broke the limit
}

// fronts are those of one seed.
type fronts struct {
	Seed    uint64   `json:"seed"`
	Latency []chosen `json:"latency"` // accuracy and ms predicted from the table
	MACs    []chosen `json:"macs"`    // accuracy and MACs
}

// searched is what the first phase leaves.
type searched struct {
	Device   string    `json:"device"`
	Strategy string    `json:"strategy"`
	Budget   int       `json:"budget"`
	Front    int       `json:"front"`
	Limits   []float64 `json:"limits"`
	Best     []float64 `json:"best"` // highest test accuracy among all networks under each limit, by prediction
	Runs     []limited `json:"runs"`
	Fronts   []fronts  `json:"fronts"`
	// Sample are networks drawn at random, by which the prediction is judged.
	Sample []chosen `json:"sample"`
	// Last is the network of the longest time predicted.
	Last chosen `json:"last"`
}

// known is the space with everything that a search may ask.
type known struct {
	space search.ArchSpace
	table *tabular.Table
	cpu   string
	// cheaply is by genotype.
	cheaply map[string]predicted
}

func (c *config) open(ctx context.Context) (*known, error) {
	s, err := arch.LoadSpace(c.space)
	if err != nil {
		return nil, err
	}
	k := &known{space: search.ArchSpace{Space: s}}
	if k.table, err = tabular.Open(c.bench); err != nil {
		return nil, err
	}
	t, err := latency.Read(c.device)
	if err != nil {
		return nil, err
	}
	if err := t.Foreign(latency.Fingerprint(nasc.Version(), target, "", 1, 1)); err != nil {
		return nil, fmt.Errorf("%s: %w", c.device, err)
	}
	k.cpu = t.Fact("cpu")
	return k, c.predict(ctx, k, t)
}

func (k *known) look(g search.Genotype) (chosen, error) {
	r, err := k.table.Row(g)
	if err != nil {
		return chosen{}, err
	}
	p, ok := k.cheaply[g.String()]
	if !ok {
		return chosen{}, fmt.Errorf("no prediction for %v", g)
	}
	v := 0.0
	for _, x := range r.Val {
		v += x / float64(len(r.Val))
	}
	return chosen{Genotype: g.String(), Val: v, Test: r.Test, Predicted: p.MS, MACs: p.MACs}, nil
}

// cheap is what is known of a network before it is trained.
func (k *known) cheap(g search.Genotype) (map[string]float64, error) {
	x, err := k.look(g)
	return map[string]float64{"ms": x.Predicted, "macs": x.MACs}, err
}

// Evaluate gives the mean validation accuracy of the benchmark's trainings.
func (k *known) Evaluate(_ context.Context, t *search.Trial) (search.Outcome, error) {
	x, err := k.look(t.Genotype)
	return search.Outcome{Metrics: map[string]float64{"accuracy": x.Val, "ms": x.Predicted, "macs": x.MACs}}, err
}

func (c *config) file(name string) string { return filepath.Join(c.state, name) }

func load[T any](path string) (v T, err error) {
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	return v, err
}

// save replaces a file in one go.
func save(path string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
