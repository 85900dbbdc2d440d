package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/search/design"
)

// designMethods are what design can do.
var designMethods = []string{"deepmad"}

// designed is what nasc design found.
type designed struct {
	*design.Result
	Space    string  `json:"space"`
	Genotype string  `json:"genotype"`
	Seconds  float64 `json:"seconds"`
	Out      string  `json:"out,omitempty"`
}

func (a *app) design() *cobra.Command {
	var (
		method, out string
		t           tableFlags
		limits      design.Limits
		macs, parms float64
		s           = design.Default
	)
	c := &cobra.Command{
		Use: "design SPACE --method deepmad --max-macs F --max-params P -o net.toml", Short: "find a network without training any",
		Long: "design finds the network of a space that can express the most within limits, from its structure alone: no data,\n" +
			"no training. deepmad (Shen et al., CVPR 2023) maximizes the entropy of the levels, with widths that never fall,\n" +
			"a bound on depth over mean width, and a penalty on uneven depths. The optimum is exact, or its distance is given.",
		Example: "  nasc design zoo/spaces/resnet.toml --method deepmad --max-macs 2e9 --max-params 12e6 -o net.toml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for name, v := range map[string]float64{"--max-macs": macs, "--max-params": parms} {
				if v != 0 && !(v >= 1 && v <= 1e18) { // a share of one would become no limit
					return &diag.Error{Place: name, Found: fmt.Sprint(v), Wanted: "a number from 1 to 1e18, or 0: any"}
				}
			}
			switch {
			case method != designMethods[0]:
				return &diag.Error{Place: "--method", Found: fmt.Sprintf("%q", method), Wanted: strings.Join(designMethods, ", ")}
			case !(limits.MS >= 0):
				return &diag.Error{Place: "--max-ms", Found: fmt.Sprint(limits.MS), Wanted: "0 (any) or more"}
			case !(s.Rho >= 0):
				return &diag.Error{Place: "--rho", Found: fmt.Sprint(s.Rho), Wanted: "0 (the default) or more"}
			case !(s.Beta >= 0) || math.IsInf(s.Beta, 0):
				return &diag.Error{Place: "--beta", Found: fmt.Sprint(s.Beta), Wanted: "a number, 0 (no penalty) or more"}
			case macs == 0 && parms == 0 && limits.MS == 0:
				return &diag.Error{Place: "design", Found: "no limit", Wanted: "--max-macs, --max-params or --max-ms: without one the largest network has the most entropy"}
			case (limits.MS > 0) != (t.table != ""):
				return &diag.Error{Place: "--max-ms, --table", Found: "one without the other", Wanted: "both: times come from a latency table", Fix: "nasc profile --space SPACE --target cpu-int8 -o device.csv makes one"}
			}
			limits.MACs, limits.Params = int64(macs), int64(parms)
			if out != "" {
				if err := writable("-o", out); err != nil {
					return err
				}
			}
			start := time.Now()
			space, err := arch.LoadSpace(args[0])
			if err != nil {
				return err
			}
			if err := design.Modelled(space); err != nil {
				return err
			}
			r, err := a.solveDesign(cmd.Context(), space, &t, limits, s)
			if err != nil {
				return err
			}
			d := designed{Result: r, Space: space.Name, Genotype: r.Design.Genotype.String(), Seconds: time.Since(start).Seconds(), Out: out}
			if out != "" {
				text, err := space.Instance(r.Design.Genotype)
				if err != nil {
					return err
				}
				if err := replaceFile(out, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
					return err
				}
			}
			return a.show(d, func(w io.Writer) { designText(w, &d) })
		},
	}
	f := c.Flags()
	f.StringVar(&method, "method", designMethods[0], strings.Join(designMethods, ", "))
	f.Float64Var(&macs, "max-macs", 0, "greatest number of multiplications of a sample, such as 2e9 (0: any)")
	f.Float64Var(&parms, "max-params", 0, "greatest number of parameters (0: any)")
	f.Float64Var(&limits.MS, "max-ms", 0, "greatest time by --table (0: any)")
	t.flags(c)
	f.Float64Var(&s.Rho, "rho", 0, "greatest depth over mean width (0: 0.5, or 2 with depthwise layers)")
	f.Float64Var(&s.Beta, "beta", s.Beta, "weight of the penalty on uneven depths")
	f.StringVarP(&out, "output", "o", "", "the architecture file to write")
	return c
}

// solveDesign finds the network, and shows how far it is.
func (a *app) solveDesign(ctx context.Context, space *arch.Space, t *tableFlags, limits design.Limits, s design.Settings) (*design.Result, error) {
	update, finish := a.progress()
	defer finish()
	chain, err := a.designTimes(ctx, space, t, update)
	if err != nil {
		return nil, err
	}
	p, err := design.NewProgram(ctx, space, chain, s, update)
	if err != nil {
		return nil, err
	}
	return p.Solve(ctx, limits)
}

// designTimes prepares the space's times, where they are limited.
func (a *app) designTimes(ctx context.Context, space *arch.Space, t *tableFlags, update func(stage string, done, total int)) (*latency.Chain, error) {
	if t.table == "" {
		return nil, nil
	}
	table, err := t.open()
	if err != nil {
		return nil, err
	}
	if t.target == "" {
		t.target = table.Fact("target")
	}
	if err := a.native(t, table); err != nil {
		return nil, err
	}
	return nasc.PrepareSpace(ctx, space, table, nasc.PrepareOptions{
		Target: t.target, Threads: t.threads, Batch: t.batch, Seed: 1,
		Walking:  func(done, total int) { update("find the blocks", done, total) },
		Progress: func(done, total int) { update("prepare the space", done, total) },
	})
}

func designText(w io.Writer, d *designed) {
	fmt.Fprintf(w, "%s %s\n%s MACs, %s parameters", d.Space, d.Genotype, countText(d.MACs), countText(d.Params))
	if d.MS > 0 {
		fmt.Fprintf(w, ", %.4g ms predicted", d.MS)
	}
	fmt.Fprintf(w, "; %d layers, depths %v, depth over mean width %.3f\nentropy of each level %.4g; score %.6g", d.Layers, d.Depths, d.Rho, d.Entropy, d.Score)
	if d.Exact {
		fmt.Fprintf(w, ", the optimum")
	} else {
		fmt.Fprintf(w, ", the optimum is at most %.6g", d.Bound)
	}
	fmt.Fprintf(w, "; %d partial networks in %.2f s\n", d.Tried, d.Seconds)
	if d.Out != "" {
		fmt.Fprintf(w, "wrote %s\n", d.Out)
	}
}
