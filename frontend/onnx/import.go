// Package onnx reads ONNX models (opset 7 to 21) into ir graphs. Shape
// arithmetic is folded while reading; convolutions and other ops that are NHWC
// in nasc get transposes around them, which passes/layout removes. What nasc
// cannot take is collected and reported in one error. It may not import passes
// or backends.
//
// Specification: https://onnx.ai/onnx/operators/
package onnx

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/onnxpb"
	"github.com/nasc-dev/nasc/ir"
)

// Opsets that nasc reads.
const (
	minOpset = 7
	maxOpset = 21
)

// Options of an import.
type Options struct {
	// Shapes fixes the shapes of inputs by name; ir.Batch stands for N. An
	// input left out keeps the file's shape, its first axis symbolic where
	// the file leaves it open.
	Shapes map[string]ir.Shape
	// Name of the graph; "main" where empty.
	Name string
}

// Info says what the file told besides the graph.
type Info struct {
	Producer string
	Opset    int
	Nodes    int            // of the file
	Ops      map[string]int // ONNX op: count
	Notes    []string       // what was assumed
}

// Import reads a model file; external data lies beside it.
func Import(path string, o Options) (*ir.Graph, *Info, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, &diag.Error{Place: path, Err: err}
	}
	return Read(data, path, o)
}

// Read imports from memory; path names the model in errors and is where
// external data is looked for.
func Read(data []byte, path string, o Options) (*ir.Graph, *Info, error) {
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(data, m); err != nil {
		return nil, nil, &diag.Error{Place: path, Found: "no ONNX model, or a damaged one", Err: err, Fix: "check that the file is whole"}
	}
	g, info, err := read(m, path, o, true)
	if errors.Is(err, errSymbolic) {
		first := err
		g, info, err = read(m, path, o, false)
		if err == nil {
			info.Notes = append(info.Notes, "the batch is fixed to 1, since the model computes with it: "+first.Error())
		}
	}
	if err != nil {
		return nil, nil, diag.At(path, err)
	}
	return g, info, nil
}

func read(m *onnxpb.ModelProto, path string, o Options, symbolic bool) (*ir.Graph, *Info, error) {
	gp := m.GetGraph()
	if gp == nil || len(gp.GetOutput()) == 0 {
		return nil, nil, &diag.Error{Found: "no graph with outputs", Wanted: "an ONNX model"}
	}
	if o.Name == "" {
		o.Name = "main"
	}
	c := &importer{
		g: ir.NewGraph(o.Name), dir: filepath.Dir(path), shapes: o.Shapes, symbolic: symbolic,
		vals: map[string]item{}, bound: map[string]int{}, domains: map[string]int{}, opened: map[string]*os.File{},
		info: &Info{Producer: strings.TrimSpace(m.GetProducerName() + " " + m.GetProducerVersion()), Ops: map[string]int{}, Nodes: len(gp.GetNode())},
	}
	defer c.close()
	for _, s := range m.GetOpsetImport() {
		d := s.GetDomain()
		if d == "ai.onnx" {
			d = ""
		}
		c.domains[d] = int(s.GetVersion())
	}
	c.opset = c.domains[""]
	c.info.Opset = c.opset
	if c.opset < minOpset || c.opset > maxOpset {
		return nil, nil, &diag.Error{Found: fmt.Sprintf("opset %d", c.opset), Wanted: fmt.Sprintf("%d to %d", minOpset, maxOpset), Fix: "convert it with onnx.version_converter"}
	}
	if err := c.constants(gp); err != nil {
		return nil, nil, err
	}
	if err := c.inputs(gp); err != nil {
		return nil, nil, err
	}
	for _, n := range gp.GetNode() {
		c.info.Ops[n.GetOpType()]++
		if err := c.node(n); err != nil {
			if errors.Is(err, errSymbolic) && c.symbolic {
				return nil, nil, err
			}
			c.errs.Add(err)
		}
	}
	if err := c.errs.Err(); err != nil {
		return nil, nil, err
	}
	for _, out := range gp.GetOutput() {
		it, ok := c.vals[out.GetName()]
		switch {
		case !ok:
			return nil, nil, &diag.Error{Place: "output " + out.GetName(), Found: "no node computes it"}
		case it.v == nil:
			return nil, nil, &diag.Error{Place: "output " + out.GetName(), Err: errSymbolic}
		}
		v := it.v
		if v.Def == nil || contains(c.g.Outputs, v) { // an input, a constant, or twice the same: a node of its own
			n, err := c.g.AddNamed("reshape", out.GetName(), ir.Attrs{"shape": v.Type.Shape}, v)
			if err != nil {
				return nil, nil, err
			}
			v = n.Out()
		} else {
			c.g.Rename(v, out.GetName())
		}
		c.g.Outputs = append(c.g.Outputs, v)
	}
	if err := c.g.CheckFinite(); err != nil {
		return nil, nil, err
	}
	c.g.RemoveDead()
	if err := c.g.Verify(); err != nil {
		return nil, nil, err
	}
	return c.g, c.info, nil
}

func contains(vs []*ir.Value, v *ir.Value) bool {
	for _, w := range vs {
		if w == v {
			return true
		}
	}
	return false
}

// errSymbolic is the cause where a model computes with the batch in a way that
// only a number can answer.
var errSymbolic = errors.New("needs the batch as a number")

// item is what a name of the file stands for: a value, or a small vector of
// integers (or a scalar) of which some are multiples of the symbolic batch.
type item struct {
	v      *ir.Value
	dims   []dim
	scalar bool
}

// dim is an integer of shape arithmetic: k, or k·N.
type dim struct {
	k   int
	sym bool
}

func (d dim) shape() int {
	if d.sym {
		return -d.k
	}
	return d.k
}

func dimOf(s int) dim {
	if s < 0 {
		return dim{-s, true}
	}
	return dim{s, false}
}

// importer holds the state of one import.
type importer struct {
	g        *ir.Graph
	dir      string
	shapes   map[string]ir.Shape
	symbolic bool
	opset    int
	domains  map[string]int
	vals     map[string]item
	bound    map[string]int // dim_param: extent
	opened   map[string]*os.File
	info     *Info
	errs     diag.List
}

func (c *importer) close() {
	for _, f := range c.opened {
		_ = f.Close() // only read from
	}
}

func (c *importer) constants(gp *onnxpb.GraphProto) error {
	for _, t := range gp.GetInitializer() {
		x, err := c.tensor(t)
		if err != nil {
			c.errs.Add(diag.At("initializer "+t.GetName(), err))
			continue
		}
		c.vals[t.GetName()] = item{v: c.g.Const(t.GetName(), x)}
	}
	for _, t := range gp.GetSparseInitializer() {
		c.errs.Add(diag.Errorf("initializer "+t.GetValues().GetName(), "sparse initializers are not had"))
	}
	return nil
}

// inputs declares the graph's inputs. Open axes are bound by Options.Shapes
// (also through the file's names of axes); an open first axis is the batch.
func (c *importer) inputs(gp *onnxpb.GraphProto) error {
	declared := map[string]bool{}
	for _, in := range gp.GetInput() {
		declared[in.GetName()] = true
	}
	for name := range c.shapes {
		if !declared[name] {
			var names []string
			for _, in := range gp.GetInput() {
				if _, ok := c.vals[in.GetName()]; !ok {
					names = append(names, in.GetName())
				}
			}
			return &diag.Error{Place: "--shape " + name, Found: "no input of this name", Wanted: "one of " + strings.Join(names, ", ")}
		}
	}
	for _, in := range gp.GetInput() { // names of axes first: one --shape may fix several inputs
		s, ok := c.shapes[in.GetName()]
		if !ok {
			continue
		}
		for i, d := range in.GetType().GetTensorType().GetShape().GetDim() {
			if i < len(s) && d.GetDimParam() != "" && d.GetDimParam() != "?" {
				c.bound[d.GetDimParam()] = s[i]
			}
		}
	}
	for _, in := range gp.GetInput() {
		name := in.GetName()
		if _, ok := c.vals[name]; ok {
			continue // an initializer with a default, as old files declare
		}
		tt := in.GetType().GetTensorType()
		if tt == nil {
			c.errs.Add(diag.Errorf("input "+name, "is no tensor"))
			continue
		}
		d, err := dtypeOf(tt.GetElemType())
		if err != nil {
			c.errs.Add(diag.At("input "+name, err))
			continue
		}
		shape, err := c.inputShape(name, tt)
		if err != nil {
			c.errs.Add(err)
			continue
		}
		c.vals[name] = item{v: c.g.Input(name, ir.Type{DType: d, Shape: shape})}
	}
	return c.errs.Err()
}

func (c *importer) inputShape(name string, tt *onnxpb.TypeProto_Tensor) (ir.Shape, error) {
	given, ok := c.shapes[name]
	dims := tt.GetShape().GetDim()
	if ok && tt.GetShape() != nil && len(given) != len(dims) {
		return nil, &diag.Error{Place: "--shape " + name, Found: fmt.Sprintf("%d axes", len(given)), Wanted: fmt.Sprintf("%d", len(dims))}
	}
	if ok {
		for i, d := range dims {
			if v := d.GetDimValue(); v > 0 && int(v) != given[i] {
				return nil, &diag.Error{Place: "--shape " + name, Found: fmt.Sprintf("%d on axis %d", given[i], i), Wanted: fmt.Sprintf("%d, which the file fixes", v)}
			}
		}
		return given.Clone(), nil
	}
	shape := ir.Shape{}
	var open []string
	for i, d := range dims {
		switch v := d.GetDimValue(); {
		case v > 0:
			if v > 1<<31-1 {
				return nil, diag.Errorf("input "+name, "axis %d has extent %d", i, v)
			}
			shape = append(shape, int(v))
		case d.GetDimParam() != "" && c.bound[d.GetDimParam()] != 0:
			shape = append(shape, c.bound[d.GetDimParam()])
		case i == 0 && c.symbolic:
			shape = append(shape, ir.Batch)
		case i == 0:
			shape = append(shape, 1)
		default:
			open = append(open, fmt.Sprint(i))
			shape = append(shape, 1)
		}
	}
	if open != nil {
		form := make([]string, len(shape))
		for i := range shape {
			form[i] = fmt.Sprint(shape[i])
			if shape[i] < 0 {
				form[i] = "1"
			}
			for _, o := range open {
				if o == fmt.Sprint(i) {
					form[i] = "…"
				}
			}
		}
		return nil, &diag.Error{
			Place: "input " + name, Found: "axes " + strings.Join(open, ", ") + " without an extent", Wanted: "their sizes",
			Fix: "give --shape " + name + "=" + strings.Join(form, "x"),
		}
	}
	return shape, nil
}

// external opens a data file that belongs to the model.
func (c *importer) external(name string, offset, length int64) ([]byte, error) {
	if !filepath.IsLocal(name) {
		return nil, &diag.Error{Found: fmt.Sprintf("external data in %q", name), Wanted: "a file beside the model"}
	}
	f := c.opened[name]
	if f == nil {
		var err error
		if f, err = os.Open(filepath.Join(c.dir, name)); err != nil {
			return nil, err
		}
		c.opened[name] = f
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if length < 0 {
		length = st.Size() - offset
	}
	if offset < 0 || length < 0 || offset > st.Size() || length > st.Size()-offset {
		return nil, &diag.Error{Place: name, Found: fmt.Sprintf("%d bytes", st.Size()), Wanted: fmt.Sprintf("%d bytes from %d on", length, offset), Fix: "the data file is cut short"}
	}
	buf := make([]byte, length)
	_, err = io.ReadFull(io.NewSectionReader(f, offset, length), buf)
	return buf, err
}

// InputNames lists the inputs of a model file that are no initializers.
func InputNames(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &diag.Error{Place: path, Err: err}
	}
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(data, m); err != nil {
		return nil, &diag.Error{Place: path, Found: "no ONNX model, or a damaged one", Err: err}
	}
	stored := map[string]bool{}
	for _, t := range m.GetGraph().GetInitializer() {
		stored[t.GetName()] = true
	}
	var names []string
	for _, in := range m.GetGraph().GetInput() {
		if !stored[in.GetName()] {
			names = append(names, in.GetName())
		}
	}
	return names, nil
}
