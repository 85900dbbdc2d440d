package strategy

import (
	"context"
	"fmt"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/design"
)

// deepMAD proposes one network, the one with the most entropy within the limits
// (package search/design), so that it stands beside strategies that train.
type deepMAD struct {
	program *design.Program
	limits  design.Limits
	done    bool
}

func newDeepMAD(s search.Setup) (search.Strategy, error) {
	set := design.Default
	var err error
	if set.Rho, err = number(s, "rho", 0, 1e6); err != nil {
		return nil, err
	}
	space, ok := s.Space.(search.ArchSpace)
	if !ok {
		return nil, &diag.Error{Place: "strategy deepmad", Found: "space " + s.Space.Name(), Wanted: "an architecture file: entropy is counted from its layers"}
	}
	x := &deepMAD{}
	for _, l := range s.Goal.Limits {
		switch l.Metric.Name {
		case "macs":
			x.limits.MACs = int64(l.Bound)
		case "params":
			x.limits.Params = int64(l.Bound)
		default:
			return nil, &diag.Error{Place: "strategy deepmad", Found: "a limit on " + l.Metric.Name, Wanted: "limits on macs and params", Fix: "nasc design --max-ms L --table device.csv takes one on the time"}
		}
	}
	if x.limits == (design.Limits{}) {
		return nil, &diag.Error{Place: "strategy deepmad", Found: "no limit", Wanted: "one on macs or params: without, the largest network has the most entropy"}
	}
	x.program, err = design.NewProgram(context.Background(), space.Space, nil, set, nil)
	return x, err
}

func (x *deepMAD) Ask(ctx context.Context) (search.Proposal, error) {
	if x.done {
		return search.Proposal{}, search.ErrDone
	}
	r, err := x.program.Solve(ctx, x.limits)
	if err != nil {
		return search.Proposal{}, err
	}
	x.done = true
	note := fmt.Sprintf("score %.6g", r.Score)
	if !r.Exact {
		note += fmt.Sprintf(" of at most %.6g", r.Bound)
	}
	return search.Proposal{Genotype: r.Genotype, Note: note}, nil
}

func (x *deepMAD) Tell(context.Context, *search.Trial) error { return nil }
