package nasc

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// PruneOptions steer Prune.
type PruneOptions struct {
	// Goal is what is to become less: macs, params, bytes or latency; Amount is
	// a share (0.5x) or a number (of milliseconds for latency; k, M, G follow).
	Goal, Amount string
	Target       string // whose latency it is
	Threads      int
	Table        string // latency rows; missing ones are measured and added
	Data         string // DATA for means, criteria, correction and fine-tuning
	Samples      int    // of it, for all but fine-tuning
	Unlabelled   bool   // leave its labels unread
	Eval         string // DATA to judge by, before and after
	Criterion    string
	Scope        string
	PerCost      bool
	Correct      bool
	Round        int // widths are multiples of it
	Keep         float64
	Inner        bool // leave what residual sums join as wide as it is
	Blocks       int
	LowRank      bool   // layers of two thin ones, in place of fewer channels
	Mask         string // N:M, or the share of weights to become zero; "": none. Then Goal may be ""
	Rounds       int    // of pruning, each with a fine-tuning after it; 0 is 1
	Finetune     FinetuneOptions
	Seed         uint64
	Out          string
	Preprocess   *nascfile.Preprocess
	Progress     func(stage string, done, total int)
	Warn         func(text string)
}

// Size is what a network costs, with its batch norms folded.
type Size struct {
	Params int64   `json:"params"`
	MACs   int64   `json:"macs"`
	Bytes  int64   `json:"bytes"` // of its weights
	MS     float64 `json:"ms"`    // median of runs on the target, the two networks in turns
}

// PruneResult is what Prune did.
type PruneResult struct {
	Target string `json:"target"`
	Before Size   `json:"before"`
	After  Size   `json:"after"`
	Round  int    `json:"round"`
	*passes.Pruned
	Rounds    []PruneRound `json:"rounds,omitempty"`
	Predicted [2]float64   `json:"predicted_ms,omitzero"` // by the table
	Judged    *Judged      `json:"eval,omitempty"`
	Mask      *Masked      `json:"mask,omitempty"`
	Out       string       `json:"out,omitempty"`
}

// PruneRound is one round of pruning and fine-tuning.
type PruneRound struct {
	Cost float64 `json:"cost"`
	Loss float64 `json:"loss,omitempty"` // of the last epoch
	Top1 float64 `json:"top1,omitempty"` // of the training batches, as they came
}

// Prune removes channels of a float model until it costs what was asked for,
// measures both on the target and writes the smaller one. With several rounds
// the cost falls by the same factor in each.
func Prune(ctx context.Context, m *Model, o PruneOptions) (*PruneResult, error) {
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if len(m.Module.Graphs) != 1 {
		return nil, &diag.Error{Place: m.Path, Found: "several sets of shapes", Wanted: "a model with one", Fix: "prune it before it is compiled for more"}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Correct && o.Finetune.Epochs > 0 {
		o.Warn("--correct is for what is not trained afterwards: fine-tuned for three epochs, a CIFAR ResNet-32 came out two points lower with it")
	}
	if o.Correct && m.Masked() && o.Mask == "" {
		o.Warn("--correct fits all weights of a layer: the mask of " + m.Path + " is lost where it does")
	}
	g := m.Graph().Clone()
	if !m.Compiled { // batch norms stay: fine-tuning wants them
		var err error
		if g, err = Trainable(ctx, m); err != nil {
			return nil, err
		}
	}
	if o.Data == "" && (o.Criterion == "activation" || o.Blocks > 0) {
		o.Warn("channels and blocks are ranked by what they do to noise: --data tells what they do to real inputs")
	}
	if o.Eval != "" { // a fault there shows before pruning
		f, err := o.feed(m, g, o.Eval)
		if err != nil {
			return nil, err
		}
		if _, err := f.At(0); err != nil {
			return nil, err
		}
	}
	if o.Finetune.Epochs > 0 { // so does one of the training after it
		if err := o.rehearse(ctx, m, g); err != nil {
			return nil, err
		}
	}
	c := &costs{o: &o}
	defer c.close()
	cost, err := c.of()
	if err != nil {
		return nil, err
	}
	now, err := cost(ctx, g)
	if err != nil {
		return nil, err
	}
	limit := now
	if o.Goal != "" {
		if limit, err = amount(o.Amount, now); err != nil {
			return nil, diag.At("--target-"+o.Goal, err)
		}
		if limit > now {
			return nil, &diag.Error{Place: "--target-" + o.Goal, Found: fmt.Sprintf("%s, and the network has %.4g", o.Amount, now), Wanted: "less than it has", Fix: "0.5x is half of it"}
		}
	}
	res := &PruneResult{Target: o.Target, Round: o.Round, Out: o.Out}
	small, err := o.inRounds(ctx, m, g, c, cost, now, limit, res)
	if err != nil {
		return nil, err
	}
	if c.table != "" {
		res.Predicted = [2]float64{res.Pruned.Before, res.Pruned.After}
	}
	folded := [2]*ir.Graph{}
	var ready [2]*ir.Graph
	for i, x := range []*ir.Graph{g, small} {
		if folded[i], err = canonical(ctx, x); err != nil {
			return nil, err
		}
		if ready[i], err = c.runnable(x); err != nil {
			return nil, err
		}
	}
	res.Before, res.After = sizeOf(folded[0]), sizeOf(folded[1])
	ms, err := alternateGraphs(ctx, o.Target, max(1, o.Threads), ready[0], ready[1])
	if err != nil {
		return nil, err
	}
	res.Before.MS, res.After.MS = ms[0], ms[1]
	if o.Eval != "" {
		if res.Judged, err = o.judge(ctx, m, folded[0], folded[1]); err != nil {
			return nil, err
		}
	}
	man := *m.Manifest
	man.Producer = "nasc " + Version()
	man.Passes = append(slices.Clone(man.Passes), "prune")
	if o.Preprocess != nil {
		man.Preprocess = o.Preprocess
	}
	if o.Mask != "" {
		man.Passes = append(man.Passes, "mask") // by which a later training knows
		if res.Mask, err = o.weigh(g, small, &man); err != nil {
			return nil, err
		}
	}
	if o.Out == "" {
		return res, nil
	}
	return res, nascfile.Write(o.Out, &ir.Module{Graphs: []*ir.Graph{small}}, &man)
}

// inRounds prunes and fine-tunes, round after round.
func (o *PruneOptions) inRounds(ctx context.Context, m *Model, g *ir.Graph, c *costs, cost func(context.Context, *ir.Graph) (float64, error), now, limit float64, res *PruneResult) (*ir.Graph, error) {
	small := g
	for r := 1; r <= max(1, o.Rounds); r++ {
		p := passes.PruneOptions{
			Cost: cost, Target: limit, Unit: goalUnits[o.Goal], Criterion: o.Criterion, Scope: o.Scope, PerCost: o.PerCost, Round: o.Round, Keep: o.Keep, Inner: o.Inner, LowRank: o.LowRank, Seed: o.Seed,
			Run: Runner(ctx, max(1, o.Threads)), Progress: o.Progress,
		}
		if r < o.Rounds {
			p.Target = now * math.Pow(limit/now, float64(r)/float64(o.Rounds))
		}
		if r == 1 {
			p.Blocks = o.Blocks
		}
		if o.Goal == "latency" && !o.LowRank {
			var err error
			if p.Weigh, err = c.weigher(ctx, small); err != nil {
				return nil, err
			}
		}
		if o.Data != "" {
			if err := o.samples(m, g, &p); err != nil {
				return nil, err
			}
			p.Correct = o.Correct
		}
		next, rep, err := passes.Prune(ctx, small, p)
		if err != nil {
			return nil, err
		}
		if res.Pruned == nil {
			res.Pruned = rep
		} else {
			res.again(rep)
		}
		if next, err = o.masked(ctx, next, r); err != nil {
			return nil, err
		}
		round := PruneRound{Cost: rep.After}
		if o.Finetune.Epochs > 0 {
			if next, err = o.finetune(ctx, m, g, next, r, &round); err != nil {
				return nil, err
			}
		}
		if o.Rounds > 1 || o.Finetune.Epochs > 0 {
			res.Rounds = append(res.Rounds, round)
		}
		small = next
	}
	return small, nil
}

// again adds what a later round did to the report of the ones before.
func (r *PruneResult) again(rep *passes.Pruned) {
	for _, x := range rep.Groups {
		if i := slices.IndexFunc(r.Groups, func(y passes.PrunedGroup) bool { return y.Layers == x.Layers }); i >= 0 {
			r.Groups[i].Is = x.Is
		}
	}
	gone, all := 0, 0
	for _, x := range r.Groups {
		gone, all = gone+x.Was-x.Is, all+x.Was
	}
	r.Share = float64(gone) / float64(max(1, all))
	r.Absorbed += rep.Absorbed
	r.Corrected = rep.Corrected
	r.Pruned.After = rep.After
}

func (o *PruneOptions) check() error {
	switch {
	case o.Goal == "" && o.Mask == "":
		return &diag.Error{Place: "prune", Found: "no target", Wanted: "--target-macs, --target-params, --target-bytes, --target-latency or --mask"}
	case o.LowRank && o.Rounds > 1:
		return &diag.Error{Place: "--rounds", Found: "--low-rank, which makes two layers of each once", Wanted: "1"}
	case o.LowRank && o.Goal == "":
		return &diag.Error{Place: "--low-rank", Found: "no target", Wanted: "--target-macs, --target-params, --target-bytes or --target-latency"}
	case o.Rounds > 1 && o.Finetune.Epochs == 0:
		return &diag.Error{Place: "--rounds", Found: fmt.Sprint(o.Rounds, " without fine-tuning"), Wanted: "--finetune-epochs and --data: without, one round gives the same"}
	case o.Finetune.Epochs > 0 && o.Data == "":
		return &diag.Error{Place: "--finetune-epochs", Found: "no data", Wanted: "--data"}
	case o.Correct && o.Data == "":
		return &diag.Error{Place: "--correct", Found: "no data", Wanted: "--data: layers are fitted to what it makes of them"}
	}
	return nil
}

// canonical is a copy with batch norms folded: what targets run.
func canonical(ctx context.Context, g *ir.Graph) (*ir.Graph, error) {
	c := g.Clone()
	if Quantized(c) {
		return c, nil
	}
	_, err := passes.Canonicalize(ctx, c, passes.Options{})
	return c, err
}

func sizeOf(g *ir.Graph) Size {
	return Size{Params: g.Params(), MACs: g.MACs(), Bytes: g.ConstBytes()}
}

// samples reads the data.
func (o *PruneOptions) samples(m *Model, g *ir.Graph, p *passes.PruneOptions) error {
	f, err := o.feed(m, g, o.Data)
	if err != nil {
		return err
	}
	n := f.Len()
	if o.Samples > 0 {
		n = min(n, o.Samples)
	}
	for i := range n { // spread over the set: many are sorted by class
		in, class, err := f.Labelled(i * f.Len() / n)
		if err != nil {
			return err
		}
		if o.Unlabelled {
			class = -1
		}
		p.Samples, p.Labels = append(p.Samples, in), append(p.Labels, class)
	}
	p.Real = true
	return nil
}

// PruneGoals are what Prune can lower.
var PruneGoals = []string{"macs", "params", "bytes", "latency"}

var goalUnits = map[string]string{"macs": "MACs", "params": "parameters", "bytes": "bytes", "latency": "ms"}

// Describe sums a result up in one line for people.
func (r *PruneResult) Describe() string {
	var parts []string
	for _, x := range []struct {
		what          string
		before, after float64
	}{
		{"parameters", float64(r.Before.Params), float64(r.After.Params)},
		{"MACs", float64(r.Before.MACs), float64(r.After.MACs)},
		{"bytes", float64(r.Before.Bytes), float64(r.After.Bytes)},
		{"measured time", r.Before.MS, r.After.MS},
	} {
		if x.before > 0 { // an embedding's model has no MACs
			parts = append(parts, fmt.Sprintf("%.2f× %s", x.after/x.before, x.what))
		}
	}
	return strings.Join(parts, ", ")
}
