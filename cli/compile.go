package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

func (a *app) compile() *cobra.Command {
	var (
		o          nasc.CompileOptions
		shapes     shapeFlag
		pre        preFlags
		policy     string
		passNames  string
		report     string
		verifyEach bool
		disable    []string
		tables     []string
		foreign    bool
	)
	c := &cobra.Command{
		Use: "compile MODEL --target T -o OUT.nasc", Short: "the main job: a model to a proven program for a target",
		Long:    "compile reads an .onnx, .toml or .nasc model, brings it to the target's form (cpu-int8: quantizes it,\nwith calibration data), compares it with the float model on --eval data, measures both and writes a .nasc file.",
		Example: "  nasc compile net.onnx --target cpu-int8 --calib images:labels.tsv[0:100] --eval images:labels.tsv[100:] -o net.nasc",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.compileNumbers(cmd, &o, disable); err != nil {
				return err
			}
			debug.SetGCPercent(50) // calibration makes much short-lived memory: a smaller peak for some time
			m, err := nasc.Open(args[0], shapes.sets)
			if err != nil {
				return err
			}
			defer m.Close()
			if o.Preprocess, err = pre.apply(a, m.Manifest.Preprocess, pictureData(o.Calib) || pictureData(o.Eval)); err != nil {
				return err
			}
			if o.Policy, err = readPolicy(policy); err != nil {
				return err
			}
			if o.Tune && !strings.HasPrefix(o.Target, "cpu-int8") && !(o.Winograd && strings.HasPrefix(o.Target, "cpu-")) {
				return &diag.Error{Place: "--tune", Found: "target " + o.Target, Wanted: "cpu-int8: it chooses between int8 and f32 layers; or cpu-f32 with --winograd, which it measures"}
			}
			if policy == "auto" && !o.Tune && len(tables) == 0 {
				return &diag.Error{Place: "--policy", Found: "auto", Wanted: "--table with it, or --tune, which measures each layer here"}
			}
			if len(tables) > 0 {
				if o.Tune || policy != "auto" || !strings.HasPrefix(o.Target, "cpu-int8") {
					return &diag.Error{Place: "--table", Found: "--policy " + policy + " for " + o.Target, Wanted: "--policy auto for cpu-int8, without --tune: it chooses between int8 and f32 layers"}
				}
				if o.Table, err = readTables(tables, o.Target, o.Threads, foreign); err != nil {
					return err
				}
			}
			if foreign && len(tables) == 0 {
				return &diag.Error{Place: "--allow-foreign", Found: "no --table", Wanted: "a table of another device or version, which it allows"}
			}
			if cmd.Flags().Changed("passes") {
				if o.Passes, err = passes.Parse(passNames); err != nil {
					return err
				}
				if o.Passes == nil {
					o.Passes = []passes.Pass{}
				}
			}
			o.Pipeline = passes.Options{VerifyEach: verifyEach, Disable: disable}
			o.Warn = func(s string) { a.note("note: %s", s) }
			var finish func()
			o.Progress, finish = a.progress()
			for _, f := range [][2]string{{"-o", o.Out}, {"--report", report}} {
				if f[1] == "" {
					continue
				}
				if err := writable(f[0], f[1]); err != nil {
					return err
				}
			}
			if err := nascName("-o", o.Out); err != nil {
				return err
			}
			r, err := nasc.Compile(cmd.Context(), m, o)
			finish()
			if err != nil {
				return err
			}
			if report != "" {
				if err := writeReport(cmd.Context(), report, m, r); err != nil {
					return err
				}
			}
			if err := a.show(r, func(w io.Writer) { compileText(w, m, r) }); err != nil {
				return err
			}
			if o.MaxDrop > 0 && r.Labelled && 100*(r.Top1F32-r.Top1) > o.MaxDrop {
				return errUnmet{fmt.Sprintf("the drop is %.2f points; --max-drop asked for %.2f", 100*(r.Top1F32-r.Top1), o.MaxDrop)}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Target, "target", "cpu-int8", "target to compile for (nasc targets)")
	f.StringVarP(&o.Out, "output", "o", "", "the .nasc file to write")
	f.StringVar(&o.Calib, "calib", "", "calibration DATA for int8, or synthetic (timing only)")
	f.StringVar(&o.Eval, "eval", "", "DATA to compare before and after on")
	shapes.flag(f)
	pre.flags(f)
	f.StringVar(&policy, "policy", "int8", "int8 (every layer that can be), auto (with --table or --tune: where it measured faster), or a TOML file of layers")
	f.Float64Var(&o.MaxDrop, "max-drop", 0, "keep the fewest layers in f32 so that top-1 drops by no more points than this")
	f.StringVar(&o.Method, "method", "", "calibration: minmax, average, percentile, entropy, mse")
	f.StringVar(&o.Rounding, "rounding", "", "weight rounding: gptq (default), nearest, adaround")
	f.Float64Var(&o.Smooth, "smooth", 0, "SmoothQuant's alpha for dense layers (0: the default 0.5, negative: off)")
	f.StringVar(&o.Activations, "activations", "static", "scales of activations: static (from calibration) or dynamic (dense layers find one for each token while they run)")
	f.BoolVar(&o.Tune, "tune", false, "measure each layer in int8 and f32 on this device; what was slower in int8 stays f32; then by each kernel that fits, and keep the fastest in the file for this processor")
	f.BoolVar(&o.Winograd, "winograd", false, "compute 3x3 float convolutions of stride 1 by Winograd's algorithms where that is estimated to be faster, or with --tune measures so; other last bits")
	f.StringSliceVar(&tables, "table", nil, "latency tables of cpu-int8 and cpu-f32, by which --policy auto chooses")
	f.BoolVar(&foreign, "allow-foreign", false, "use tables of another device or version")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of everything random")
	f.IntVar(&o.Threads, "threads", 1, "threads for calibration and measuring")
	f.StringVar(&passNames, "passes", "", "run these passes instead of the default pipeline")
	f.StringSliceVar(&disable, "disable-pass", nil, "leave these passes out")
	f.BoolVar(&verifyEach, "verify-each", false, "run the interpreter before and after each pass")
	f.StringVar(&report, "report", "", "write a page with graph, errors and times here")
	return c
}

// calibrating are the flags that say how a float model becomes int8.
var calibrating = []string{"calib", "policy", "max-drop", "method", "rounding", "smooth", "activations"}

// compileNumbers refuses values that cannot be meant, and says which flags a
// target has no use of.
func (a *app) compileNumbers(cmd *cobra.Command, o *nasc.CompileOptions, disable []string) error {
	switch {
	case o.Threads < 1:
		return &diag.Error{Place: "--threads", Found: fmt.Sprint(o.Threads), Wanted: "1 or more"}
	case !(o.MaxDrop >= 0 && o.MaxDrop <= 100):
		return &diag.Error{Place: "--max-drop", Found: fmt.Sprint(o.MaxDrop), Wanted: "points of top-1, 0 (off) to 100"}
	}
	for _, name := range disable {
		if passes.Lookup(name) == nil {
			return &diag.Error{Place: "--disable-pass", Found: name, Wanted: "one of the default pipeline: " + passNames(passes.Default())}
		}
	}
	if base, _ := backends.SplitName(o.Target); strings.HasSuffix(base, "int8") {
		return nil
	}
	var idle []string
	for _, name := range calibrating {
		if cmd.Flags().Changed(name) {
			idle = append(idle, "--"+name)
		}
	}
	if len(idle) > 0 {
		a.note("note: without effect on %s, which keeps the model's type: %s", o.Target, strings.Join(idle, ", "))
	}
	return nil
}

func passNames(list []passes.Pass) string {
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// nascName refuses a name by which the file could not be opened again.
func nascName(flag, path string) error {
	if path == "" || strings.EqualFold(filepath.Ext(path), ".nasc") {
		return nil
	}
	return &diag.Error{Place: flag + " " + path, Found: fmt.Sprintf("a name that ends in %q", filepath.Ext(path)), Wanted: "one that ends in .nasc: commands tell files apart by it"}
}

// readTables reads tables of one device into one: the rows of the first of each
// kernel count. At least one is of cpu-int8.
func readTables(paths []string, target string, threads int, foreign bool) (*latency.Table, error) {
	var all *latency.Table
	_, isa := backends.SplitName(target)
	int8 := false
	for _, path := range paths {
		t, err := latency.Read(path)
		if err != nil {
			return nil, err
		}
		of := t.Fact("target")
		int8 = int8 || of == "cpu-int8"
		if !foreign {
			if err := t.Foreign(latency.Fingerprint(nasc.Version(), of, isa, max(1, threads), 1)); err != nil {
				return nil, diag.At(path, err)
			}
		}
		if all == nil {
			all = t
		} else {
			all = all.With(t)
		}
	}
	if !int8 {
		return nil, &diag.Error{Place: "--table", Found: strings.Join(paths, ", "), Wanted: "a table of cpu-int8, and one of cpu-f32", Fix: "nasc profile --target cpu-int8 --models or --space"}
	}
	return all, nil
}

// writable refuses an output that could not be written, before hours of work.
func writable(flag, path string) error {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return &diag.Error{Place: flag + " " + path, Found: "a folder", Wanted: "a file name"}
	}
	f, err := os.CreateTemp(dirOf(path), ".nasc-*")
	if err != nil {
		return &diag.Error{Place: flag + " " + path, Found: "a place that cannot be written", Err: err}
	}
	f.Close()
	return os.Remove(f.Name())
}

func compileText(w io.Writer, m *nasc.Model, r *nasc.Result) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s → %s\n", m.Path, r.Target)
	if r.Float == nil || r.Float == r.Module.Graphs[0] {
		if r.Labelled {
			fmt.Fprintf(t, "top-1\t%.2f %%\t\n", 100*r.Top1)
		}
		fmt.Fprintf(t, "size\t%s\t\n", bytesText(r.Bytes))
		fmt.Fprintf(t, "MACs\t%s\t\n", countText(r.MACs))
		fmt.Fprintf(t, "time\t%.3f ms\t\n", r.MS)
		t.Flush()
	} else {
		fmt.Fprintf(t, "\tf32\t%s\t\n", r.Target)
		if r.Labelled {
			fmt.Fprintf(t, "top-1\t%.2f %%\t%.2f %%\t\n", 100*r.Top1F32, 100*r.Top1)
		}
		fmt.Fprintf(t, "size\t%s\t%s\t\n", bytesText(r.BytesF32), bytesText(r.Bytes))
		fmt.Fprintf(t, "time\t%.3f ms\t%.3f ms\t  %.2f× as fast\n", r.MSF32, r.MS, r.MSF32/max(r.MS, 1e-9))
		t.Flush()
		if r.Evaluated {
			fmt.Fprintf(w, "on %d samples: agreement %.2f %%, SQNR %s\n", r.EvalN, 100*r.Agreement, sqnrText(r.SQNR))
		}
		fmt.Fprintf(w, "%s MACs, %.2f %% of them int8; %d nodes int8, %d f32; compiled in %.0f ms\n", countText(r.MACs), 100*r.MACShare, r.Int8Nodes, r.F32Nodes, r.CompileMS)
	}
	if r.Tuned != nil {
		kept := 0
		for _, l := range r.Tuned {
			if l.Choice == "f32" {
				kept++
				fmt.Fprintf(w, "tuned: %s stays f32: %.4f ms, int8 took %.4f\n", l.Layer, l.F32MS, l.Int8MS)
			}
		}
		where := "here"
		if r.Manifest.Notes["tune.by"] != "" {
			where = "by the " + r.Manifest.Notes["tune.by"]
		}
		fmt.Fprintf(w, "tuned: %d of %d layers int8, where it measured faster %s\n", len(r.Tuned)-kept, len(r.Tuned), where)
	}
	if v := r.Winograd; v != nil && v.Layers > 0 {
		fmt.Fprintf(w, "winograd: %d of %d 3×3 float convolutions of stride 1; outputs differ by %.1e of the greatest at most (%d samples)\n", v.Layers, v.Of, v.MaxDiff, v.Samples)
	} else if v != nil {
		fmt.Fprintf(w, "winograd: faster for none of %d 3×3 float convolutions of stride 1\n", v.Of)
	}
	if n := len(r.Kernels); n > 0 {
		fmt.Fprintf(w, "tuned: %d layers by other kernels than the engine's own choice, %.4f ms instead of %.4f; kept for this processor\n", n, r.KernelsMS, r.OwnKernelsMS)
	} else if r.KernelsTuned {
		fmt.Fprintln(w, "tuned: no kernel measured faster here than the engine's own choice")
	}
	if r.Quant != nil {
		for _, n := range r.Quant.Notes {
			fmt.Fprintf(w, "note: %s\n", n)
		}
		if len(r.Quant.Sensitivity) > 0 {
			fmt.Fprintln(w, "sensitivity (points regained with this layer alone in f32):")
			for _, s := range r.Quant.Sensitivity {
				fmt.Fprintf(w, "  %6.2f  %5.1f dB  %s\n", s.Drop, s.SQNR, s.Name)
			}
		}
	}
	if r.Out != "" {
		fmt.Fprintf(w, "wrote %s\n", r.Out)
	}
}
