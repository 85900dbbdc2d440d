package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/diag"
)

// randomSamples is how many random inputs verify draws without --data.
const randomSamples = 4

func (a *app) verify() *cobra.Command {
	var (
		arg, targets string
		maxAbs       float64
		bitEqual     bool
		seed         uint64
		shapes       shapeFlag
		pre          preFlags
	)
	c := &cobra.Command{
		Use: "verify A [B]", Short: "do two models compute the same, or one model on several targets?", Args: cobra.RangeArgs(1, 2),
		Example: "  nasc verify net.onnx net.nasc --data digits[1200:1300]\n  nasc verify net.nasc --targets reference,cpu-int8@vnni,cpu-int8@avx2,cpu-int8@portable,xla-cpu-int8 --bit-equal",
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("max-abs") && !(maxAbs >= 0) {
				return &diag.Error{Place: "--max-abs", Found: fmt.Sprint(maxAbs), Wanted: "0 or more"}
			}
			if len(args) == 2 && targets != "" || len(args) == 1 && targets == "" {
				return &diag.Error{Place: "verify", Found: "what to compare is not clear", Wanted: "two models, or one with --targets a,b,…"}
			}
			var list []string
			if targets != "" {
				if list = strings.Split(targets, ","); len(list) < 2 {
					return &diag.Error{Place: "--targets", Found: targets, Wanted: "two or more"}
				}
			}
			for _, name := range list {
				if _, _, err := nasc.Target(name); err != nil {
					return err
				}
			}
			m, err := ready(cmd, args[0], shapes.sets)
			if err != nil {
				return err
			}
			defer m.Close()
			a.noteSets(args[0], m)
			g := m.Graph()
			var s nasc.Samples
			if arg == "" {
				pre.noteRaw(a, "random input")
				if s, err = nasc.RandomFeed(g, randomSamples, seed); err != nil {
					return err
				}
			} else if s, err = pre.feed(a, m, arg); err != nil {
				return err
			}
			var rows []nasc.Compared
			if len(args) == 2 {
				b, err := ready(cmd, args[1], shapes.sets)
				if err != nil {
					return err
				}
				defer b.Close()
				a.noteSets(args[1], b)
				if arg == "" && nasc.Quantized(g) != nasc.Quantized(b.Graph()) {
					a.note("note: random inputs may lie outside of what calibration saw, where int8 clips; --data compares on real ones")
				}
				d, err := nasc.VerifyModels(cmd.Context(), g, b.Graph(), targetOf("", m), targetOf("", b), s)
				if err != nil {
					return err
				}
				rows = []nasc.Compared{{Target: args[1], Difference: d}}
			} else {
				update, finish := a.progress()
				rows, err = nasc.VerifyTargets(cmd.Context(), g, list, s, update)
				finish()
				if err != nil {
					return err
				}
			}
			worst := *rows[0].Difference
			for _, r := range rows[1:] {
				worst.MaxAbs, worst.MaxRel, worst.MaxAbsOut = max(worst.MaxAbs, r.MaxAbs), max(worst.MaxRel, r.MaxRel), max(worst.MaxAbsOut, r.MaxAbsOut)
				worst.SQNR, worst.Top1, worst.BitEqual = min(worst.SQNR, r.SQNR), min(worst.Top1, r.Top1), worst.BitEqual && r.BitEqual
			}
			worst.N = s.Len()
			v := struct {
				*nasc.Difference
				Targets []nasc.Compared `json:"targets"`
			}{&worst, rows}
			if err := a.show(v, func(w io.Writer) { verifyText(w, args[0], rows) }); err != nil {
				return err
			}
			if bitEqual && !worst.BitEqual {
				return errUnmet{"outputs are not the same bits"}
			}
			if cmd.Flags().Changed("max-abs") && !(worst.MaxAbs <= maxAbs) {
				return errUnmet{fmt.Sprintf("max |Δ| is %g; --max-abs asked for %g", worst.MaxAbs, maxAbs)}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&arg, "data", "", "DATA to run on; random inputs otherwise")
	f.StringVar(&targets, "targets", "", "targets to compare, the first is the reference")
	f.Float64Var(&maxAbs, "max-abs", 0, "fail where max |Δ| is greater")
	f.BoolVar(&bitEqual, "bit-equal", false, "fail unless all outputs are the same bits")
	f.Uint64Var(&seed, "seed", 1, "seed of random inputs")
	shapes.flag(f)
	pre.flags(f)
	return c
}

func verifyText(w io.Writer, name string, rows []nasc.Compared) {
	fmt.Fprintf(w, "%s against\n", name)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		state := "not equal"
		if r.BitEqual {
			state = "bit for bit"
		}
		note := ""
		if r.Integer {
			note = "(integer part, fed the reference's values)"
		}
		fmt.Fprintf(t, "  %s\t%s\tmax |Δ| %.3g of %.3g\tSQNR %s\ttop-1 agreement %.2f %%\t%d outputs %s\n", r.Target, state, r.MaxAbs, r.MaxAbsOut, sqnrText(r.SQNR), 100*r.Top1, r.N, note)
	}
	t.Flush()
}

// sqnrText prints a ratio; outputs without any difference have none.
func sqnrText(db float64) string {
	if db >= nasc.MaxSQNR {
		return "∞ dB"
	}
	return fmt.Sprintf("%.1f dB", db)
}
