package cli

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/internal/npy"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/runtime"
)

func (a *app) run() *cobra.Command {
	var (
		inputs, outputs []string
		topk            int
		target          string
		threads         int
		pre             preFlags
	)
	c := &cobra.Command{
		Use: "run FILE --input X", Short: "run a model on tensors or pictures", Args: cobra.ExactArgs(1),
		Example: "  nasc run net.nasc --input cat.jpg --topk 5\n  nasc run net.nasc --input x=x.npy --output y.npy",
		RunE: func(cmd *cobra.Command, args []string) error {
			if threads < 1 || topk < 0 {
				return &diag.Error{Place: "--threads, --topk", Found: fmt.Sprint(threads, ", ", topk), Wanted: "1 or more threads, 0 or more elements"}
			}
			if len(inputs) == 0 {
				return &diag.Error{Place: "--input", Found: "nothing", Wanted: "an .npy file, a picture or a folder of pictures"}
			}
			if target != "" && !strings.HasPrefix(target, "cpu-") {
				return &diag.Error{Place: "--target", Found: target, Wanted: "cpu-int8 or cpu-f32, with @ISA where you like", Fix: "nasc verify and nasc bench run the other targets"}
			}
			m, err := ready(cmd, args[0], nil)
			if err != nil {
				return err
			}
			defer m.Close()
			name := engineOf(targetOf(target, m))
			a.noteType(args[0], m, name)
			rm, err := runtime.FromModule(m.Module, runtime.Target(name), runtime.Threads(threads))
			if err != nil {
				return err
			}
			defer rm.Close()
			pp, err := pre.apply(a, m.Manifest.Preprocess, false)
			if err != nil {
				return err
			}
			jobs, err := readInputs(inputs, m, pp)
			if err != nil {
				return err
			}
			if strings.EqualFold(filepath.Ext(inputs[0]), ".npy") {
				pre.noteRaw(a, inputs[0])
			}
			if len(jobs) > 1 && len(outputs) > 0 {
				return &diag.Error{Place: "--output", Found: fmt.Sprintf("%d pictures", len(jobs)), Wanted: "one input"}
			}
			places, err := outputPlaces(outputs, rm.Outputs())
			if err != nil {
				return err
			}
			var all []runOutput
			for _, j := range jobs {
				a.noteNotFinite(j)
				out, err := rm.NewOutputs(j.in)
				if err != nil {
					return err
				}
				if err := rm.Run(cmd.Context(), j.in, out); err != nil {
					return err
				}
				for path, i := range places {
					if err := npy.Write(path, out[i]); err != nil {
						return err
					}
				}
				all = append(all, describe(j.name, rm.Outputs(), out, topk, m.Manifest.Labels))
			}
			return a.show(map[string]any{"results": all}, func(w io.Writer) {
				for _, r := range all {
					r.text(w, topk)
				}
			})
		},
	}
	f := c.Flags()
	f.StringArrayVar(&inputs, "input", nil, "X: .npy, a picture or a folder of them; NAME=X once per input where there are several")
	f.StringArrayVar(&outputs, "output", nil, "Y.npy for the first output, NAME=Y.npy for another")
	f.IntVar(&topk, "topk", 0, "print the K greatest elements of the first output")
	f.StringVar(&target, "target", "", "cpu-int8 or cpu-f32, with @ISA; the file's own otherwise")
	f.IntVar(&threads, "threads", 1, "threads of one run")
	pre.flags(f)
	return c
}

// noteNotFinite says where inputs are no numbers: int8 makes some of them.
func (a *app) noteNotFinite(j job) {
	for _, t := range j.in {
		bad := 0
		for i := range t.Len() {
			if x := t.At(i); math.IsNaN(x) || math.IsInf(x, 0) {
				bad++
			}
		}
		if bad > 0 {
			a.note("note: %s: %d of %d elements are NaN or infinite", j.name, bad, t.Len())
		}
	}
}

// engineOf maps a file's target to the one that the runtime has for it.
func engineOf(target string) string {
	if strings.HasPrefix(target, "cpu-") {
		return target
	}
	if strings.Contains(target, "int8") {
		return "cpu-int8"
	}
	return "cpu-f32"
}

type job struct {
	name string
	in   []*ir.Tensor
}

// readInputs makes one job, or one for each picture of a folder.
func readInputs(args []string, m *nasc.Model, pp *nascfile.Preprocess) ([]job, error) {
	ins := m.Graph().Inputs
	if len(ins) == 0 {
		return nil, &diag.Error{Place: m.Path, Found: "a model without inputs", Wanted: "one that computes something of what --input gives"}
	}
	named := map[string]string{}
	for _, arg := range args {
		name, path, ok := cutName(arg, names(ins))
		if !ok {
			if len(args) > 1 || len(ins) > 1 {
				return nil, &diag.Error{Place: "--input " + arg, Found: "no name", Wanted: "NAME=" + arg + " with one of " + strings.Join(names(ins), ", ")}
			}
			name, path = ins[0].Name, arg
		}
		if _, twice := named[name]; twice {
			return nil, &diag.Error{Place: "--input " + arg, Found: "a second one for " + name, Wanted: "one file for each input"}
		}
		named[name] = path
	}
	if len(ins) == 1 {
		path := named[ins[0].Name]
		st, err := os.Stat(path)
		if path != "" && err != nil {
			return nil, &diag.Error{Place: "--input", Err: err}
		}
		if path != "" && (st.IsDir() || picture(path)) {
			return pictures(path, st.IsDir(), ins, pp)
		}
	}
	j := job{name: args[0], in: make([]*ir.Tensor, len(ins))}
	for i, v := range ins {
		path, ok := named[v.Name]
		delete(named, v.Name)
		if !ok {
			return nil, &diag.Error{Place: "--input", Found: "nothing for " + v.Name, Wanted: v.Name + "=X for " + v.Type.String()}
		}
		t, err := npy.Read(path)
		if err != nil {
			return nil, err
		}
		if j.in[i], err = batched(t, v, m); err != nil {
			return nil, diag.At(path, err)
		}
	}
	for name := range named {
		return nil, &diag.Error{Place: "--input " + name, Found: "no input of this name", Wanted: "one of " + strings.Join(names(ins), ", ")}
	}
	return []job{j}, nil
}

func names(vs []*ir.Value) []string {
	s := make([]string, len(vs))
	for i, v := range vs {
		s[i] = v.Name
	}
	return s
}

// cutName cuts NAME=PATH, of which either may hold further signs of equality: a
// name that is known goes before the first sign.
func cutName(arg string, known []string) (name, path string, ok bool) {
	for _, k := range known {
		if p, found := strings.CutPrefix(arg, k+"="); found && len(k) >= len(name) {
			name, path, ok = k, p, true
		}
	}
	if ok {
		return name, path, true
	}
	return strings.Cut(arg, "=")
}

func picture(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jpg", ".jpeg", ".png":
		return true
	}
	return false
}

func pictures(path string, dir bool, ins []*ir.Value, pp *nascfile.Preprocess) ([]job, error) {
	if pp == nil {
		return nil, &diag.Error{Place: "--input " + path, Found: "a picture for " + ins[0].Type.String(), Wanted: "a tensor as .npy", Fix: "the model does not say how pictures become its input"}
	}
	files := []string{path}
	if dir {
		s, err := data.Folder(path)
		if err != nil {
			return nil, err
		}
		files = data.Names(s)
	}
	var jobs []job
	for _, f := range files {
		p, err := data.ReadPicture(f)
		if err != nil {
			return nil, err
		}
		t, err := p.Input(pp)
		if err != nil {
			return nil, diag.At(f, err)
		}
		if t, err = data.Fit(t, ins[0]); err != nil {
			return nil, diag.At(f, err)
		}
		jobs = append(jobs, job{filepath.Base(f), []*ir.Tensor{t}})
	}
	return jobs, nil
}

// batched checks a tensor against an input, which may be one of several sets
// of shapes: the runtime chooses. A missing batch axis is added.
func batched(t *ir.Tensor, v *ir.Value, m *nasc.Model) (*ir.Tensor, error) {
	t, err := data.Convert(t, v.Type.DType)
	if err != nil {
		return nil, err
	}
	var forms []string
	for _, g := range m.Module.Graphs {
		for _, w := range g.Inputs {
			if w.Name != v.Name {
				continue
			}
			s := w.Type.Shape
			if len(t.Shape) == len(s) {
				n := 1
				for i, d := range s {
					if d < 0 {
						n = max(1, t.Shape[i]/-d)
					}
				}
				if s.With(n).Equal(t.Shape) {
					return t, nil
				}
			}
			if len(t.Shape) == len(s)-1 && s.With(1).Equal(append(ir.Shape{1}, t.Shape...)) {
				return t.Reshaped(append([]int{1}, t.Shape...)...), nil
			}
			forms = append(forms, s.String())
		}
	}
	return nil, &diag.Error{Found: "a tensor of shape " + t.Shape.String(), Wanted: strings.Join(forms, " or "), Fix: "these are the shapes the model was compiled for"}
}

// outputPlaces gives the output that goes to each file, before anything runs.
func outputPlaces(args []string, infos []runtime.Info) (map[string]int, error) {
	places := map[string]int{}
	have := make([]string, len(infos))
	for i, o := range infos {
		have[i] = o.Name
	}
	for _, arg := range args {
		name, path, ok := cutName(arg, have)
		at := 0
		if !ok {
			path = arg
		} else {
			at = slices.Index(have, name)
			if at < 0 {
				return nil, &diag.Error{Place: "--output " + arg, Found: "no output " + name, Wanted: "one of " + strings.Join(have, ", ")}
			}
		}
		if _, twice := places[path]; twice {
			return nil, &diag.Error{Place: "--output " + arg, Found: "a file that is given twice", Wanted: "a file for each output"}
		}
		if err := writable("--output", path); err != nil {
			return nil, err
		}
		places[path] = at
	}
	return places, nil
}

type runOutput struct {
	Input   string       `json:"input"`
	Outputs []outputInfo `json:"outputs"`
	Top     []topEntry   `json:"top,omitempty"`
}

type outputInfo struct {
	Name  string   `json:"name"`
	Type  string   `json:"type"`
	Shape ir.Shape `json:"shape"`
	Min   float64  `json:"min"`
	Max   float64  `json:"max"`
	Mean  float64  `json:"mean"`
	// NotFinite counts NaN and infinite elements; the other figures leave them out.
	NotFinite int `json:"not_finite,omitempty"`
}

type topEntry struct {
	Sample int     `json:"sample,omitempty"` // of a batch
	Index  int     `json:"index"`
	Value  float64 `json:"value"`
	Label  string  `json:"label,omitempty"`
}

func describe(name string, infos []runtime.Info, out []*ir.Tensor, topk int, labels []string) runOutput {
	r := runOutput{Input: name}
	for i, t := range out {
		o := outputInfo{Name: infos[i].Name, Type: t.DType.String(), Shape: t.Shape, Min: math.Inf(1), Max: math.Inf(-1)}
		for k := range t.Len() {
			v := t.At(k)
			if math.IsNaN(v) || math.IsInf(v, 0) {
				o.NotFinite++
				continue
			}
			o.Min, o.Max, o.Mean = min(o.Min, v), max(o.Max, v), o.Mean+v/float64(t.Len())
		}
		if t.Len() == o.NotFinite {
			o.Min, o.Max = 0, 0
		}
		r.Outputs = append(r.Outputs, o)
	}
	if topk > 0 && len(out) > 0 {
		samples := 1 // each of a batch has its own greatest elements
		if d := infos[0].Shape; len(d) > 1 && d[0] == runtime.Batch {
			samples = out[0].Shape[0]
		}
		for i := range samples {
			r.Top = append(r.Top, greatest(out[0], i, samples, topk, labels)...)
		}
	}
	return r
}

// greatest lists the k greatest elements of one of the samples in a tensor.
func greatest(t *ir.Tensor, sample, samples, k int, labels []string) []topEntry {
	n := t.Len() / samples
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	at := func(i int) float64 { return t.At(sample*n + i) }
	sort.SliceStable(order, func(i, j int) bool { return at(order[i]) > at(order[j]) })
	var top []topEntry
	for _, i := range order[:min(k, n)] {
		e := topEntry{Sample: sample, Index: i, Value: at(i)}
		if math.IsNaN(e.Value) || math.IsInf(e.Value, 0) {
			break // no order among such outputs
		}
		if i < len(labels) {
			e.Label = labels[i]
		}
		top = append(top, e)
	}
	return top
}

func (r runOutput) text(w io.Writer, topk int) {
	if topk > 0 {
		fmt.Fprintf(w, "%s\n", r.Input)
		sample := 0
		for _, e := range r.Top {
			if e.Sample != sample {
				sample = e.Sample
				fmt.Fprintf(w, "%s, sample %d\n", r.Input, sample)
			}
			fmt.Fprintf(w, "  %6d  %10.5f  %s\n", e.Index, e.Value, e.Label)
		}
		return
	}
	for _, o := range r.Outputs {
		fmt.Fprintf(w, "%s: %s %s%v min %.6g max %.6g mean %.6g", r.Input, o.Name, o.Type, o.Shape, o.Min, o.Max, o.Mean)
		if o.NotFinite > 0 {
			fmt.Fprintf(w, ", %d NaN or infinite", o.NotFinite)
		}
		fmt.Fprintln(w)
	}
}
