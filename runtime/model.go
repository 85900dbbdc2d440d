// Package runtime loads compiled models and runs them: what a service embeds.
//
// A Model is safe for use by many goroutines at once. It runs on nasc's own
// engine in the calling goroutine, and on as many more threads as Threads
// allows; a run allocates nothing once the first runs are done.
//
// From outside nasc it pulls in the standard library and golang.org/x/sys only.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
)

// Tensor is a dense array; make one with NewTensor or From.
type Tensor = ir.Tensor

// Info describes an input or output. Batch stands in Shape for an axis that
// takes any number of samples.
type Info struct {
	Name  string
	Type  ir.DType
	Shape []int
}

// Batch is the extent, in an Info, of an axis that takes any number of samples.
const Batch = ir.Batch

// From wraps data, which is not copied, as a tensor of the given shape. A shape
// that does not fit the data is refused by Run.
func From[E ir.Elem](data []E, shape ...int) *Tensor {
	t := ir.From(data, len(data))
	t.Shape = slices.Clone(shape)
	return t
}

// Option is a choice made when loading.
type Option func(*config)

type config struct {
	threads int
	target  string
	batch   int
	kernels map[string]string // for layers, as tuned on this processor
}

// Threads lets one Run use up to n threads; 1 is the default. The process's
// models share helper threads: when all are busy a Run goes on alone.
func Threads(n int) Option { return func(c *config) { c.threads = n } }

// Target chooses the target instead of the one in the file: cpu-int8, cpu-f32,
// or either with an instruction set, such as cpu-int8@avx2.
func Target(name string) Option { return func(c *config) { c.target = name } }

// BatchSize prepares the model for n samples at once while loading; 1 is the
// default. Other sizes are prepared when they come first.
func BatchSize(n int) Option { return func(c *config) { c.batch = n } }

// Model is a loaded model.
type Model struct {
	module *ir.Module
	target backends.Target
	opts   backends.Options
	labels []string
	close  func() error

	ready atomic.Pointer[[]*variant] // compiled so far; replaced, never changed
	mu    sync.Mutex                 // of compiling
	done  atomic.Bool
}

// variant is a graph of the module compiled for one batch size.
type variant struct {
	graph *ir.Graph // static
	exe   backends.Executable
}

// Load opens a compiled model. Its weights are mapped from the file where that
// can be done: the file must not be cut short while the model is open.
func Load(path string, opts ...Option) (*Model, error) {
	f, err := nascfile.Open(path)
	return fromFile(path, f, err, opts)
}

// LoadFS reads a compiled model from a file system, such as an embed.FS.
func LoadFS(fsys fs.FS, name string, opts ...Option) (*Model, error) {
	f, err := nascfile.OpenFS(fsys, name)
	return fromFile(name, f, err, opts)
}

func fromFile(name string, f *nascfile.File, err error, opts []Option) (*Model, error) {
	if err != nil {
		return nil, err
	}
	c := config{threads: 1, batch: 1}
	if t, _ := backends.SplitName(f.Manifest.Target); t == "cpu-f32" || t == "cpu-int8" {
		c.target = t
	}
	for _, o := range opts {
		o(&c)
	}
	if t := f.Manifest.Tuned; t.Device != "" {
		c.kernels = t.On(isa.Processor())
	}
	m, err := newModel(f.Module, c, f.Close)
	if err != nil {
		return nil, errors.Join(diag.At(name, err), f.Close())
	}
	m.labels = f.Manifest.Labels
	return m, nil
}

// FromModule makes a model of graphs in memory; they must not change any more.
func FromModule(m *ir.Module, opts ...Option) (*Model, error) {
	c := config{threads: 1, batch: 1}
	for _, o := range opts {
		o(&c)
	}
	return newModel(m, c, func() error { return nil })
}

func newModel(m *ir.Module, c config, closer func() error) (*Model, error) {
	if len(m.Graphs) == 0 {
		return nil, diag.Errorf("model", "it holds no graph")
	}
	name, level := backends.SplitName(c.target)
	r := &Model{module: m, opts: backends.Options{Threads: c.threads, ISA: level, Kernels: c.kernels}, close: closer}
	switch name {
	case "cpu-f32":
		r.target = cpu.F32()
	case "cpu-int8", "":
		r.target = cpu.Int8()
	default:
		return nil, &diag.Error{Place: "target", Found: fmt.Sprintf("%q", name), Wanted: "cpu-int8 or cpu-f32", Fix: "the other targets are the nasc command's"}
	}
	r.ready.Store(&[]*variant{})
	if _, err := r.prepare(m.Graphs[0], c.batch); err != nil {
		return nil, err
	}
	return r, nil
}

// Inputs describes the inputs in the order of Run's in. A model compiled for
// several sets of shapes gives the first; Shapes lists all.
func (m *Model) Inputs() []Info { return infos(m.module.Graphs[0].Inputs) }

// Outputs describes the outputs in the order of Run's out.
func (m *Model) Outputs() []Info { return infos(m.module.Graphs[0].Outputs) }

func infos(vs []*ir.Value) []Info {
	out := make([]Info, len(vs))
	for i, v := range vs {
		out[i] = Info{Name: v.Name, Type: v.Type.DType, Shape: slices.Clone([]int(v.Type.Shape))}
	}
	return out
}

// Labels names the classes, where the file does; nil otherwise.
func (m *Model) Labels() []string { return slices.Clone(m.labels) }

// Shapes lists the sets of input shapes that the model was compiled for.
func (m *Model) Shapes() [][]Info {
	var out [][]Info
	for _, g := range m.module.Graphs {
		out = append(out, infos(g.Inputs))
	}
	return out
}

// NewOutputs allocates the tensors that Run writes for inputs of in's shapes.
func (m *Model) NewOutputs(in []*Tensor) ([]*Tensor, error) {
	v, err := m.find(in)
	if err != nil {
		return nil, err
	}
	return backends.NewOutputs(v.graph), nil
}

// Run computes out from in. It may be called from many goroutines at once, each
// with its own out. Shapes choose among those the model was compiled for; a
// batch size that comes for the first time is prepared first. A cancelled ctx
// ends the run between two steps; out is then undefined.
func (m *Model) Run(ctx context.Context, in, out []*Tensor) error {
	v, err := m.find(in)
	if err != nil {
		return err
	}
	return v.exe.Run(ctx, in, out)
}

// Plan gives the executable that runs inputs of in's shapes, for those who
// want its steps and their times (backends.Planned).
func (m *Model) Plan(in []*Tensor) (backends.Planned, error) {
	v, err := m.find(in)
	if err != nil {
		return nil, err
	}
	p, ok := v.exe.(backends.Planned)
	if !ok {
		return nil, diag.Errorf(m.target.Name(), "the target has no plan to show")
	}
	return p, nil
}

// Close frees the model; no Run may be active or follow.
func (m *Model) Close() error {
	if m.done.Swap(true) {
		return nil
	}
	var errs diag.List
	for _, v := range *m.ready.Load() {
		errs.Add(v.exe.Close())
	}
	errs.Add(m.close())
	return errs.Err()
}

// find gives the variant for in's shapes.
func (m *Model) find(in []*Tensor) (*variant, error) {
	if m.done.Load() {
		return nil, diag.Errorf("model", "it is closed")
	}
	for _, v := range *m.ready.Load() {
		if fits(v.graph.Inputs, in) {
			return v, nil
		}
	}
	for _, g := range m.module.Graphs {
		if n, ok := batchOf(g.Inputs, in); ok {
			return m.prepare(g, n)
		}
	}
	return nil, m.refuse(in)
}

func fits(want []*ir.Value, have []*Tensor) bool {
	if len(want) != len(have) {
		return false
	}
	for i, v := range want {
		t := have[i]
		if t == nil || t.DType != v.Type.DType || !t.Shape.Equal(v.Type.Shape) {
			return false
		}
	}
	return true
}

// batchOf finds the batch size that brings the values' shapes to the tensors'.
func batchOf(want []*ir.Value, have []*Tensor) (n int, ok bool) {
	if len(want) != len(have) {
		return 0, false
	}
	n = 0
	for i, v := range want {
		t := have[i]
		if t == nil || t.DType != v.Type.DType || len(t.Shape) != len(v.Type.Shape) {
			return 0, false
		}
		for a, d := range v.Type.Shape {
			switch {
			case d >= 0 && d != t.Shape[a]:
				return 0, false
			case d < 0:
				k := t.Shape[a] / -d
				if k < 1 || k*-d != t.Shape[a] || n != 0 && n != k {
					return 0, false
				}
				n = k
			}
		}
	}
	return max(n, 1), true
}

// refuse names what came and what the model takes.
func (m *Model) refuse(in []*Tensor) error {
	var found []string
	for _, t := range in {
		if t == nil {
			found = append(found, "nothing")
			continue
		}
		found = append(found, t.DType.String()+t.Shape.String())
	}
	var wanted []string
	for _, g := range m.module.Graphs {
		var s []string
		for _, v := range g.Inputs {
			s = append(s, v.Name+" "+v.Type.DType.String()+v.Type.Shape.String())
		}
		wanted = append(wanted, strings.Join(s, ", "))
	}
	return &diag.Error{
		Place: "inputs", Found: strings.Join(found, ", "), Wanted: strings.Join(wanted, "; or "),
		Fix: "compile the model for this shape too (nasc compile --shape)",
	}
}

// prepare compiles a graph for a batch of n, once.
func (m *Model) prepare(g *ir.Graph, n int) (*variant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !g.Static() {
		s, err := ir.Specialize(g, n)
		if err != nil {
			return nil, err
		}
		g = s
	}
	for _, v := range *m.ready.Load() {
		same := len(v.graph.Inputs) == len(g.Inputs)
		for i := range g.Inputs {
			same = same && v.graph.Inputs[i].Type.Equal(g.Inputs[i].Type)
		}
		if same && v.graph.Name == g.Name {
			return v, nil
		}
	}
	exe, err := m.target.Compile(g, m.opts)
	if err != nil {
		return nil, err
	}
	v := &variant{g, exe}
	list := append(slices.Clone(*m.ready.Load()), v)
	m.ready.Store(&list)
	return v, nil
}
