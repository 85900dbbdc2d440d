// Command transforms proves the transforms, place by place: on networks of
// every structure and graphs of any ops that internal/graphgen draws, and on
// the zoo. It writes a report and fails where a difference is too great. What is
// done lies in the state file, from which it goes on when it was stopped.
//
//	go run ./bench/transforms -graphs 1000 -state .cache/transforms.jsonl -report bench/reports/transforms-$(date +%F).md
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/bench/report"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
	"github.com/nasc-dev/nasc/zoo"
)

func main() {
	graphs := flag.Int("graphs", 1000, "random networks, and as many random graphs")
	file := flag.String("report", "", "the Markdown file to write; stdout otherwise")
	nets := flag.String("zoo", ".", "regular expression of the zoo's networks to take")
	state := flag.String("state", "", "file that keeps what is done, to go on from")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	total := newResults()
	j, err := openJournal(*state, total)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	random(ctx, j, *graphs)
	zooNets(ctx, j, regexp.MustCompile(*nets))
	if err := j.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	text := total.markdown(*graphs)
	if err := report.Write(*file, text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if len(total.Faults) > 0 || ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, strings.Join(total.Faults, "\n"))
		os.Exit(1)
	}
}

// prepared gives the graph that a transform is proven on: what merge and
// reparam undo must be there.
func prepared(g *ir.Graph, transform string) (*ir.Graph, error) {
	before := map[string]string{"merge": "split", "reparam": "expand-branches"}[transform]
	if before == "" {
		return g, nil
	}
	c := g.Clone()
	_, err := passes.Lookup(before).Grow(c, passes.Args{})
	c.RemoveDead()
	c.TidyNames()
	return c, err
}

// forms are the arguments in which each transform is proven.
func forms(transform string) []passes.Args {
	switch transform {
	case "widen":
		return []passes.Args{{"factor": "1.5"}, {"factor": "2"}, {"factor": "3"}}
	case "split":
		return []passes.Args{{}, {"along": "in"}}
	case "expand-branches":
		return []passes.Args{{}, {"dilation": "2"}}
	case "deepen":
		return []passes.Args{{}, {"kernel": "3"}}
	}
	return []passes.Args{{}}
}

// spread picks at most so many places, evenly.
func spread(places []string, most int) []string {
	if len(places) <= most {
		return places
	}
	out := make([]string, most)
	for i := range out {
		out[i] = places[i*len(places)/most]
	}
	return out
}

// all proves every transform on one network: every place at once, then each (or
// most of them) by itself.
func (r *results) all(ctx context.Context, g *ir.Graph, kinds []string, what string, few bool, most int) {
	r.some(ctx, passes.Transforms(), g, kinds, what, few, most)
}

func (r *results) some(ctx context.Context, transforms []passes.Pass, g *ir.Graph, kinds []string, what string, few bool, most int) {
	for _, p := range transforms {
		x, err := prepared(g, p.Name)
		if err != nil {
			r.fault("%s on %s: %v", p.Name, what, err)
			continue
		}
		q, err := passes.NewProver(ctx, x, 1)
		if err != nil {
			r.fault("%s: %v", what, err)
			return
		}
		list := forms(p.Name)
		if few {
			list = list[:1]
		}
		for _, a := range list {
			whole, err := q.Prove(ctx, p, a)
			if err != nil {
				r.fault("%s %v on %s: %v", p.Name, a, what, err)
				continue
			}
			for _, w := range whole.Refused {
				r.Refused[p.Name+": "+reason(w.Reason)]++
			}
			if len(whole.Places) == 0 {
				continue
			}
			if len(whole.Places) == 1 {
				r.add(p.Name, kinds, whole, what)
				continue
			}
			atOnce := *whole
			atOnce.Grown = &passes.Grown{Places: nil} // counted place by place
			r.add(p.Name, kinds, &atOnce, what)
			for _, place := range spread(whole.Places, most) {
				b := maps.Clone(a)
				b["node"] = place
				one, err := q.Prove(ctx, p, b)
				if err != nil && strings.Contains(err.Error(), "no place of this kind") {
					continue // a place that another one made
				}
				if err != nil {
					r.fault("%s %v on %s: %v", p.Name, b, what, err)
					continue
				}
				r.add(p.Name, kinds, one, what)
				if ctx.Err() != nil {
					return
				}
			}
		}
	}
}

var names = regexp.MustCompile(`"[^"]*"|\b[a-z_]+ v\d+\b|\d+`)

// reason is a refusal without the names in it.
func reason(s string) string { return names.ReplaceAllString(s, "…") }

// lot is how many random networks make one part of the work.
const lot = 20

func random(ctx context.Context, j *journal, count int) {
	var wg sync.WaitGroup
	lots := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for first := range lots {
				last := min(first+lot, count)
				j.part(ctx, fmt.Sprintf("random %d to %d", first, last), func(r *results) {
					for seed := uint64(first); seed < uint64(last) && ctx.Err() == nil; seed++ {
						g, kinds := graphgen.Network(seed)
						slices.Sort(kinds)
						r.all(ctx, g, append(slices.Compact(kinds), "networks"), fmt.Sprint("network ", seed), false, 1<<20)
						r.all(ctx, graphgen.New(graphgen.Config{Seed: seed, Batch: 2}), []string{"any ops"}, fmt.Sprint("graph ", seed), true, 1<<20)
						r.chainOf(ctx, g, seed)
					}
				})
			}
		})
	}
	for first := 0; first < count && ctx.Err() == nil; first += lot {
		lots <- first
	}
	close(lots)
	wg.Wait()
}

// chainOf runs 20 transforms one after the other, each at a random place that
// takes it.
func (r *results) chainOf(ctx context.Context, g *ir.Graph, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0x636861696e))
	q, err := passes.NewProver(ctx, g, seed)
	if err != nil {
		r.fault("network %d: %v", seed, err)
		return
	}
	list := slices.DeleteFunc(passes.Transforms(), func(p passes.Pass) bool { return p.Name == "raise-resolution" })
	b := g.Clone()
	var done []string
	for tries := 0; len(done) < 20 && tries < 400; tries++ {
		p := list[rng.IntN(len(list))]
		a := passes.Args{"node": b.Nodes[rng.IntN(len(b.Nodes))].Out().Name}
		if p.Name == "widen" {
			a["factor"] = []string{"1.25", "1.5", "2"}[rng.IntN(3)]
		}
		c := b.Clone()
		if grown, err := p.Grow(c, a); err != nil || len(grown.Places) == 0 || c.Params() > 1<<18 {
			continue
		}
		c.RemoveDead()
		c.TidyNames()
		b = c
		done = append(done, p.Name+"@"+a["node"])
	}
	if err := b.Verify(); err != nil {
		r.fault("network %d after %v: %v", seed, done, err)
		return
	}
	e, err := q.Gap(ctx, b)
	if err != nil || !(e <= 1e-4) {
		r.fault("network %d after %v: %g %v", seed, done, e, err)
	}
	if len(done) == 20 {
		r.Chains++
		r.Chain = max(r.Chain, e)
	}
}

// zooPlaces bounds the places of one zoo network that are taken one by one.
const zooPlaces = 24

// zooNets proves the zoo's networks on small pictures and few tokens, so that the
// interpreter gets through the places.
func zooNets(ctx context.Context, j *journal, which *regexp.Regexp) {
	files, err := fs.Glob(zoo.FS, "*.toml")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	small := regexp.MustCompile(`(?m)^input = \[(\d{3,}), \d+, (\d+)\]`)
	cifar := regexp.MustCompile(`(?m)^input = \[32, 32, 3\]`)
	tokens := regexp.MustCompile(`(?m)^input = \[\d+\]`)
	pre := regexp.MustCompile(`(?m)^(height|width) = 224`)
	for _, f := range files {
		name := strings.TrimSuffix(f, ".toml")
		if ctx.Err() != nil || !which.MatchString(name) {
			continue
		}
		text, err := fs.ReadFile(zoo.FS, f)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		text = cifar.ReplaceAll(text, []byte("input = [16, 16, 3]"))
		text = small.ReplaceAll(text, []byte("input = [32, 32, $2]"))
		text = tokens.ReplaceAll(text, []byte("input = [4]"))
		text = pre.ReplaceAll(text, []byte("$1 = 32"))
		g, _, err := arch.Parse(f, text, func(file string) ([]byte, error) { return fs.ReadFile(zoo.FS, file) })
		if err != nil {
			j.part(ctx, name, func(r *results) { r.fault("%v", err) })
			continue
		}
		for _, p := range passes.Transforms() {
			j.part(ctx, name+" "+p.Name, func(r *results) {
				r.Kinds = []string{name}
				r.some(ctx, []passes.Pass{p}, g, []string{name}, name, true, zooPlaces)
			})
		}
		j.part(ctx, name+" int8", func(r *results) { r.compiled(ctx, g, name) })
	}
}

// compiled widens and deepens a network, quantizes and compiles it, and holds
// the engine to the interpreter.
func (r *results) compiled(ctx context.Context, g *ir.Graph, name string) {
	list, err := passes.Parse("widen(factor=1.5),add-se,widen(factor=2)")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	b := g.Clone()
	if b.Params() > 1<<23 { // wider still would take long
		list = list[:2]
	}
	if _, err := passes.Run(ctx, b, list, passes.Options{}); err != nil {
		r.fault("%s: %v", name, err)
		return
	}
	m := &nasc.Model{Path: name, Module: &ir.Module{Graphs: []*ir.Graph{b}}, Manifest: &nascfile.Manifest{}}
	c, err := nasc.Compile(ctx, m, nasc.CompileOptions{Target: "cpu-int8", Calib: "synthetic", Seed: 1})
	if err != nil {
		r.fault("%s widened, to int8: %v", name, err)
		return
	}
	feed, err := nasc.RandomFeed(c.Module.Graphs[0], 2, 3)
	if err != nil {
		r.fault("%s: %v", name, err)
		return
	}
	rows, err := nasc.VerifyTargets(ctx, c.Module.Graphs[0], []string{"reference", "cpu-int8"}, feed, func(string, int, int) {})
	if err != nil {
		r.fault("%s widened, on cpu-int8: %v", name, err)
		return
	}
	if !rows[0].BitEqual {
		r.fault("%s widened: the engine differs from the interpreter", name)
	}
	r.Int8[name] = fmt.Sprintf("%d int8 nodes, engine and interpreter equal to the bit", c.Int8Nodes)
}

func (r *results) markdown(graphs int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Transforms: what stays of the function\n\n%s, %s. `make transforms`, %s of work on one core.\n\n", time.Now().Format("2006-01-02"), runtime.GOARCH, time.Duration(r.Seconds*float64(time.Second)).Round(time.Second))
	fmt.Fprintf(&b, "Greatest |Δ| over max(1, greatest |output|) between the network before and after a transform, by the interpreter at a batch\nof 2: with float32 weights and arithmetic, and with float64 for both. Promised are %g and %g. Every place that a\ntransform accepts is taken by itself, and all at once (in the zoo up to 24 by themselves).\n\n", passes.KeptTolerance, passes.KeptTolerance64)
	list := passes.Transforms()
	fmt.Fprintf(&b, "## By transform\n\n%d random networks of known structures, %d random graphs of any ops.\n\n| transform | places in networks | f32 | f64 | places in graphs | f32 | f64 |\n|---|---|---|---|---|---|---|\n", graphs, graphs)
	for _, p := range list {
		fmt.Fprintf(&b, "| %s |", p.Name)
		for _, k := range []string{"networks", "any ops"} {
			c := r.Cells[p.Name][k]
			if c == nil {
				b.WriteString(" 0 | | |")
				continue
			}
			fmt.Fprintf(&b, " %d | %.1e | %.1e |", c.Places, c.F32, c.F64)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\nChains of 20 random transforms on %d networks: greatest |Δ| %.1e in f32 (promised 1e-4).\n", r.Chains, r.Chain)
	b.WriteString("\n## By structure\n\nPlaces and greatest |Δ| in f32 / in f64 of the networks that hold the structure (with one or two others).\n\n| structure |")
	for _, p := range list {
		fmt.Fprintf(&b, " %s |", p.Name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(list)) + "\n")
	var kinds []string
	for _, s := range graphgen.Structures {
		kinds = append(kinds, s.Name)
	}
	r.rows(&b, kinds, list)
	b.WriteString("\n## The zoo\n\nPictures of 32×32 (of networks for 32×32: 16×16), 4 tokens; random weights (digits-cnn: trained). All places at once, and up\nto 24 of each by themselves; these are counted. Greatest |Δ| in f32 / in f64.\n\n| network |")
	for _, p := range list {
		fmt.Fprintf(&b, " %s |", p.Name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(list)) + "\n")
	r.rows(&b, r.Kinds, list)
	b.WriteString("\nThen widened, given gates, widened again, quantized and compiled:\n\n")
	for _, k := range r.Kinds {
		fmt.Fprintf(&b, "- %s: %s\n", k, r.Int8[k])
	}
	b.WriteString("\n## What was refused, and why\n\n")
	for _, k := range slices.Sorted(maps.Keys(r.Refused)) {
		fmt.Fprintf(&b, "- %s (%d times)\n", k, r.Refused[k])
	}
	if len(r.Faults) > 0 {
		fmt.Fprintf(&b, "\n## Faults\n\n- %s\n", strings.Join(r.Faults, "\n- "))
	}
	return b.String()
}

func (r *results) rows(b *strings.Builder, kinds []string, list []passes.Pass) {
	for _, k := range kinds {
		fmt.Fprintf(b, "| %s |", k)
		for _, p := range list {
			if c := r.Cells[p.Name][k]; c != nil {
				fmt.Fprintf(b, " %d: %.0e / %.0e |", c.Places, c.F32, c.F64)
			} else {
				b.WriteString(" - |")
			}
		}
		b.WriteByte('\n')
	}
}
