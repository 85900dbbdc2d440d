package nasc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/difftest"
	"github.com/nasc-dev/nasc/internal/memory"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/train"
)

// Samples are inputs to run a model on; Labelled ones have classes.
type Samples interface {
	Len() int
	At(i int) ([]*ir.Tensor, error)
}

// labelled is implemented by samples that know their class.
type labelled interface {
	Labelled(i int) (in []*ir.Tensor, class int, err error)
}

// Start compiles a graph for one sample at a time.
func Start(g *ir.Graph, target string, batch, threads int) (backends.Executable, *ir.Graph, error) {
	return startWith(g, target, batch, backends.Options{Threads: threads})
}

// Start compiles the model's first graph, with the kernels that its file has for
// this processor.
func (m *Model) Start(target string, batch, threads int) (backends.Executable, *ir.Graph, error) {
	o := backends.Options{Threads: threads}
	if m.Manifest != nil && m.Manifest.Tuned.Device != "" {
		o.Kernels = m.Manifest.Tuned.On(isa.Processor())
	}
	return startWith(m.Graph(), target, batch, o)
}

func startWith(g *ir.Graph, target string, batch int, o backends.Options) (backends.Executable, *ir.Graph, error) {
	t, level, err := Target(target)
	if err != nil {
		return nil, nil, err
	}
	if err := t.Available(); err != nil {
		return nil, nil, diag.At("target "+target, err)
	}
	s, err := ir.Specialize(g, batch)
	if err != nil {
		return nil, nil, err
	}
	o.ISA = level
	e, err := t.Compile(s, o)
	if err != nil {
		return nil, nil, err
	}
	if err := room(e, s, batch, memory.Available()); err != nil {
		return nil, nil, errors.Join(err, e.Close())
	}
	return e, s, nil
}

// room refuses what a run would be killed for: inputs, outputs and intermediate
// values, where the target plans them, beyond the memory that is free (0: not
// known).
func room(e backends.Executable, g *ir.Graph, batch int, free int64) error {
	var need int64
	for _, v := range slices.Concat(g.Inputs, g.Outputs) {
		need += v.Type.Bytes()
	}
	if p, ok := e.(backends.Planned); ok {
		need += p.ArenaBytes()
	}
	if free == 0 || need <= free {
		return nil
	}
	gb := func(n int64) string { return fmt.Sprintf("%.3g GB", float64(n)/1e9) }
	return &diag.Error{
		Place: "memory", Found: fmt.Sprintf("a run of %d samples takes %s for values alone", batch, gb(need)), Wanted: "at most " + gb(free) + ", which are free",
		Fix: "fewer samples at a time",
	}
}

// Score is what an evaluation gives.
type Score struct {
	N       int
	Labels  int     // samples with a class
	Top1    float64 // share of those where the greatest output is the class
	Loss    float64 // mean cross-entropy of the softmax of the outputs, which the network may end with
	Outputs []*ir.Tensor
}

// Each runs every sample on an executable, several at once where that helps,
// and calls f with the outputs, in order.
func Each(ctx context.Context, e backends.Executable, g *ir.Graph, s Samples, progress func(done, total int), f func(i int, class int, out []*ir.Tensor) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type done struct {
		out   []*ir.Tensor
		class int
		err   error
	}
	workers := runtime.GOMAXPROCS(0)
	slots := make(chan chan done, workers)
	var wg sync.WaitGroup
	go func() {
		defer close(slots)
		for i := range s.Len() {
			c := make(chan done, 1)
			select {
			case slots <- c:
			case <-ctx.Done():
				return
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				var in []*ir.Tensor
				var err error
				class := -1
				if l, ok := s.(labelled); ok {
					in, class, err = l.Labelled(i)
				} else {
					in, err = s.At(i)
				}
				if err != nil {
					c <- done{err: err}
					return
				}
				out := backends.NewOutputs(g)
				err = e.Run(ctx, in, out)
				c <- done{out, class, err}
			}()
		}
	}()
	defer wg.Wait()
	i := 0
	for c := range slots {
		d := <-c
		if d.err != nil {
			cancel()
			return d.err
		}
		if err := f(i, d.class, d.out); err != nil {
			cancel()
			return err
		}
		i++
		if progress != nil {
			progress(i, s.Len())
		}
	}
	return ctx.Err()
}

// Evaluate runs a model on samples. Outputs of all samples' first result are
// kept where keep is set.
func Evaluate(ctx context.Context, g *ir.Graph, target string, s Samples, keep bool, progress func(done, total int)) (*Score, error) {
	e, static, err := Start(g, target, 1, 1)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	r := &Score{N: s.Len()}
	right, shares := 0, givesShares(static)
	err = Each(ctx, e, static, s, progress, func(i, class int, out []*ir.Tensor) error {
		y := out[0]
		if keep {
			r.Outputs = append(r.Outputs, y)
		}
		if class < 0 {
			return nil
		}
		if class >= y.Len() {
			return &diag.Error{Place: "data", Found: fmt.Sprintf("class %d of sample %d", class, i), Wanted: fmt.Sprintf("classes below %d, the number of the model's outputs", y.Len()), Fix: "check that data and model belong together"}
		}
		r.Labels++
		if ArgMax(y) == class {
			right++
		}
		if shares {
			r.Loss -= math.Log(max(y.At(class), train.LeastShare))
		} else {
			r.Loss += crossEntropy(y, class)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !finite(r.Loss) {
		return nil, &diag.Error{Place: "evaluation", Found: "outputs that are NaN or infinite", Fix: "nasc run on a sample shows them; check the weights and the preprocessing"}
	}
	if r.Labels > 0 {
		r.Top1, r.Loss = float64(right)/float64(r.Labels), r.Loss/float64(r.Labels)
	}
	return r, nil
}

// givesShares says whether the first output is a softmax, in f32 or on levels.
func givesShares(g *ir.Graph) bool {
	d := g.Outputs[0].Def
	for d != nil && d.Op.Name == "dequantize" {
		d = d.Inputs[0].Def
	}
	return d != nil && strings.HasSuffix(d.Op.Name, "softmax") && d.Op.Name != "log_softmax"
}

// ArgMax is the index of the greatest element, the first of equals.
func ArgMax(t *ir.Tensor) int {
	best := 0
	for i := 1; i < t.Len(); i++ {
		if t.At(i) > t.At(best) {
			best = i
		}
	}
	return best
}

func crossEntropy(y *ir.Tensor, class int) float64 {
	top := y.At(ArgMax(y))
	s := 0.0
	for i := range y.Len() {
		s += math.Exp(y.At(i) - top)
	}
	return math.Log(s) + top - y.At(class)
}

// Difference compares two runs over the same samples.
type Difference struct {
	N          int     `json:"n"`
	MaxAbs     float64 `json:"max_abs_diff"`
	MaxRel     float64 `json:"max_rel_diff"`
	MaxAbsOut  float64 `json:"max_abs_out"`
	SQNR       float64 `json:"sqnr_db"`
	Top1       float64 `json:"top1_agreement"`
	BitEqual   bool    `json:"bit_equal"`
	same       int
	power, err float64
}

// NewDifference starts a comparison.
func NewDifference() *Difference { return &Difference{BitEqual: true} }

// Add compares one sample: ref is the reference's output.
func (d *Difference) Add(ref, out *ir.Tensor) {
	d.N++
	same := difftest.Bits(out, ref) == nil
	d.BitEqual = d.BitEqual && same
	for i := range ref.Len() {
		a, b := ref.At(i), out.At(i)
		if finite(a) {
			d.MaxAbsOut = max(d.MaxAbsOut, math.Abs(a))
			d.power += a * a
		}
		if same || a == b || math.IsNaN(a) && math.IsNaN(b) {
			continue
		}
		e := math.Abs(a - b)
		if !finite(e) { // NaN or infinity on one side: as wrong as can be, but JSON has neither
			e = math.MaxFloat64
		}
		d.MaxAbs = max(d.MaxAbs, e)
		if rel := e / max(math.Abs(a), 1e-30); finite(rel) {
			d.MaxRel = max(d.MaxRel, rel)
		} else {
			d.MaxRel = math.MaxFloat64
		}
		d.err += e * e
	}
	if ArgMax(ref) == ArgMax(out) {
		d.same++
	}
	d.finish()
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// MaxSQNR stands for "no difference": JSON has no infinity.
const MaxSQNR = 999

func (d *Difference) finish() {
	d.Top1 = float64(d.same) / float64(d.N)
	switch {
	case d.err == 0:
		d.SQNR = MaxSQNR
	case d.power == 0 || math.IsInf(d.err, 1):
		d.SQNR = -MaxSQNR
	default:
		d.SQNR = 10 * math.Log10(d.power/d.err)
	}
}

// Timing is the wall time of runs in milliseconds.
type Timing struct {
	Target  string  `json:"target"`
	Threads int     `json:"threads"`
	Batch   int     `json:"batch"`
	Median  float64 `json:"median_ms"`
	P10     float64 `json:"p10_ms"`
	P90     float64 `json:"p90_ms"`
	Runs    int     `json:"runs"`
}

// Bench times an executable: warmed for warm, then at least runs runs.
func Bench(ctx context.Context, e backends.Executable, g *ir.Graph, in []*ir.Tensor, runs int, warm time.Duration) (*Timing, error) {
	out := backends.NewOutputs(g)
	for start, n := time.Now(), 0; n < 3 || time.Since(start) < warm; n++ {
		if err := e.Run(ctx, in, out); err != nil {
			return nil, err
		}
	}
	runtime.GC()
	took := make([]float64, 0, min(runs, 1<<16))
	for range runs {
		start := time.Now()
		if err := e.Run(ctx, in, out); err != nil {
			return nil, err
		}
		took = append(took, float64(time.Since(start).Nanoseconds())/1e6)
	}
	slices.Sort(took)
	return &Timing{Median: took[len(took)/2], P10: took[len(took)/10], P90: took[len(took)*9/10], Runs: runs}, nil
}
