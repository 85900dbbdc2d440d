// Package arch reads architecture files: networks written as a list of stages in
// TOML (see zoo/README.md). It owns that form and the blocks a stage may name; it
// may import ir, internal/diag, internal/nascfile, internal/safetensors and the
// TOML parser.
package arch

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/internal/safetensors"
	"github.com/nasc-dev/nasc/ir"
)

// Info is what a file says of its network besides the graph.
type Info struct {
	Preprocess *nascfile.Preprocess // nil: raw tensors only
	Labels     []string
	Notes      []string // what was assumed: random weights, ...
	Random     bool     // no weights were given
	Stages     []Stage  // what was built, each repetition for itself
}

// Stage is one repetition of a stage as it was built.
type Stage struct {
	Name    string  // prefix of its nodes' and weights' names
	In, Out ir.Type // of the value that it takes and gives
	Params  string  // the keys that it was built by, sorted, as text; strides apply
}

// Load reads a file and the weights that it names, relative to it.
func Load(file string) (*ir.Graph, *Info, error) {
	return LoadFS(os.DirFS(filepath.Dir(file)), filepath.Base(file), file)
}

// LoadFS is Load from a file system, such as the embedded zoo; shown is the name
// in messages.
func LoadFS(fsys fs.FS, name, shown string) (*ir.Graph, *Info, error) {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, nil, &diag.Error{Place: shown, Err: err}
	}
	return Parse(shown, b, func(file string) ([]byte, error) {
		p := path.Join(path.Dir(name), filepath.ToSlash(file))
		if !fs.ValidPath(p) {
			return nil, fmt.Errorf("%s lies outside the file's folder", file)
		}
		return fs.ReadFile(fsys, p)
	})
}

// rootKeys are the keys a file may have outside of tables.
var rootKeys = []string{"name", "doc", "input", "input_name", "vocabulary", "mask", "weights", "seed", "labels", "preprocess", "stage"}

// Parse builds the graph of a file's text; open reads the weights it names. All
// faults of the file are reported, each with its line.
func Parse(file string, text []byte, open func(name string) ([]byte, error)) (*ir.Graph, *Info, error) {
	return parse(file, text, open, false)
}

// Trace is Parse for the shapes alone: the graph's weights are zeros that share
// their memory, so that many networks of a space can be looked at.
func Trace(file string, text []byte) (*ir.Graph, *Info, error) { return parse(file, text, nil, true) }

func parse(file string, text []byte, open func(name string) ([]byte, error), hollow bool) (*ir.Graph, *Info, error) {
	var doc map[string]any
	if _, err := toml.Decode(string(text), &doc); err != nil {
		return nil, nil, tomlError(file, err)
	}
	var errs diag.List
	at := scan(file, string(text))
	if doc["choices"] != nil {
		return nil, nil, &diag.Error{Place: at.place("choices", ""), Found: "[choices]: the file is a search space", Wanted: "one network", Fix: "draw networks with nasc space sample"}
	}
	root := &params{m: doc, table: "", at: at, errs: &errs}
	info := &Info{Labels: root.strings("labels")}
	for _, k := range []string{"name", "doc"} { // for people
		root.str(k, "")
	}
	n := &net{
		Builder: ir.NewBuilder("main"), info: info, hollow: hollow,
		seed: uint64(get(root, "seed", "a whole number", int64(1))),
	}
	if f := root.str("weights", ""); f != "" && !hollow {
		n.loadWeights(root, f, open)
	}
	n.inputs(root)
	if t, ok := doc["preprocess"]; ok {
		info.Preprocess = preprocess(t, n.x.Type, at, &errs)
	}
	stages, ok := doc["stage"].([]map[string]any)
	switch {
	case doc["stage"] == nil || ok && len(stages) == 0:
		errs.Add(&diag.Error{Place: file, Found: "no stages", Wanted: "one [[stage]] or more"})
	case !ok:
		root.fail("stage", &diag.Error{Found: fmt.Sprintf("stage = %v", doc["stage"]), Wanted: "tables, each under [[stage]]"})
	}
	for i, s := range stages {
		if len(errs) > 0 && n.broken {
			break
		}
		n.stage(i, &params{m: s, table: fmt.Sprintf("stage#%d", i), at: at, errs: &errs})
	}
	root.refuseOthers(rootKeys)
	if c := dim(n.x, -1); len(errs) == 0 && len(info.Labels) > 0 && len(info.Labels) != c {
		root.fail("labels", &diag.Error{Found: fmt.Sprintf("%d labels for %d outputs", len(info.Labels), c), Wanted: "one each"})
	}
	if len(errs) == 0 && n.x.Type.DType != ir.F32 {
		errs.Add(&diag.Error{Place: file, Found: fmt.Sprintf("a network that gives %v", n.x.Type), Wanted: "a stage \"embedding\" first"})
	}
	if len(errs) > 0 {
		return nil, nil, dedupe(errs)
	}
	g, err := n.Graph(n.x)
	if err != nil {
		return nil, nil, diag.At(file, err)
	}
	if info.Random = n.weights == nil; info.Random {
		info.Notes = append(info.Notes, "no weights given: seeded random ones")
	} else if len(n.unused()) > 0 {
		return nil, nil, &diag.Error{Place: file, Found: "weights that no stage reads: " + strings.Join(n.unused(), ", "), Fix: "name the stages as the weights file does"}
	}
	return g, info, nil
}

// tomlError gives a fault of the text its line.
func tomlError(file string, err error) error {
	var pe toml.ParseError
	if errors.As(err, &pe) {
		return diag.Errorf(fmt.Sprintf("%s:%d", file, pe.Position.Line), "%s", strings.TrimSpace(pe.Message))
	}
	return diag.Errorf(file, "%v", err)
}

// dedupe drops errors that say the same twice, and brings the others in the order
// of their lines.
func dedupe(l diag.List) error {
	seen := map[string]bool{}
	out := slices.DeleteFunc(slices.Clone(l), func(e error) bool {
		s := e.Error()
		old := seen[s]
		seen[s] = true
		return old
	})
	if len(out) == 1 {
		return out[0]
	}
	slices.SortStableFunc(out, func(a, b error) int { return lineOf(a) - lineOf(b) })
	return out
}

// lineOf is the line of a file that an error names; what names none comes last.
func lineOf(err error) int {
	var d *diag.Error
	if errors.As(err, &d) {
		if _, rest, ok := strings.Cut(d.Place, ":"); ok {
			digits, _, _ := strings.Cut(rest, ":")
			if n, err := strconv.Atoi(digits); err == nil {
				return n
			}
		}
	}
	return math.MaxInt32
}

func (n *net) loadWeights(root *params, file string, open func(string) ([]byte, error)) {
	b, err := open(file)
	if err != nil {
		root.fail("weights", &diag.Error{Found: "weights " + file, Err: err})
		return
	}
	if n.weights, err = safetensors.Read(b); err != nil {
		root.fail("weights", &diag.Error{Found: "weights " + file, Err: err})
	}
}

// maskName is the name of the input that says which tokens count.
const maskName = "attention_mask"

// inputs makes the graph's inputs: a picture [H,W,C], or tokens [T].
func (n *net) inputs(root *params) {
	shape := root.ints("input")
	name := root.str("input_name", "x")
	switch len(shape) {
	case 3:
		n.x = n.Input(name, ir.T(ir.F32, ir.Batch, shape[0], shape[1], shape[2]))
	case 1:
		n.vocabulary = root.int("vocabulary", 0)
		if n.vocabulary < 1 {
			root.fail("vocabulary", &diag.Error{Found: "input of tokens without a vocabulary", Wanted: "vocabulary = their number"})
			n.vocabulary = 1
		}
		n.x = n.Input(name, ir.T(ir.I64, ir.Batch, shape[0]))
		if root.bool("mask", false) {
			if name == maskName {
				root.fail("input_name", &diag.Error{Found: fmt.Sprintf("input_name = %q", name), Wanted: "another name: the mask has this one"})
				name = "x"
			}
			n.mask = n.Input(maskName, ir.T(ir.I64, ir.Batch, shape[0]))
		}
	default:
		root.fail("input", &diag.Error{Found: fmt.Sprintf("input = %v", shape), Wanted: "[height, width, channels] or [tokens]"})
		n.broken = true
		n.x = n.Input(name, ir.T(ir.F32, ir.Batch, 1, 1, 1))
	}
}

// preprocess reads the table of that name; in is the input that pictures become.
func preprocess(t any, in ir.Type, at *lines, errs *diag.List) *nascfile.Preprocess {
	m, ok := t.(map[string]any)
	p := &params{m: m, table: "preprocess", at: at, errs: errs}
	if !ok {
		p.fail("", &diag.Error{Found: "preprocess is no table", Wanted: "[preprocess]"})
		return nil
	}
	if len(in.Shape) != 4 {
		p.fail("", &diag.Error{Found: "preprocess for tokens", Wanted: "none: it is for pictures"})
		return nil
	}
	h, w, c := in.Shape[1], in.Shape[2], in.Shape[3]
	orders := map[int][]string{1: {"gray"}, 3: {"rgb", "bgr"}}[c]
	if orders == nil {
		p.fail("", &diag.Error{Found: fmt.Sprintf("preprocess for %d channels", c), Wanted: "1 or 3: pictures are gray or in colour"})
		return nil
	}
	out := &nascfile.Preprocess{
		Layout: p.word("layout", "nhwc", "nhwc"), Order: p.word("order", orders[0], orders...),
		Resize: p.int("resize", 0), Height: p.positive("height", h), Width: p.positive("width", w),
		Scale: p.within("scale", 1.0/255, -math.MaxFloat32, math.MaxFloat32), Mean: p.perChannel("mean", c), Std: p.perChannel("std", c),
	}
	if out.Height != h || out.Width != w {
		p.fail("height", &diag.Error{Found: fmt.Sprintf("pictures of %d×%d", out.Height, out.Width), Wanted: fmt.Sprintf("the input's %d×%d", h, w)})
	}
	if slices.Contains(out.Std, 0) {
		p.fail("std", &diag.Error{Found: fmt.Sprintf("std = %v", out.Std), Wanted: "no zeros: pixels are divided by it"})
	}
	p.refuseOthers([]string{"layout", "order", "resize", "height", "width", "scale", "mean", "std"})
	return out
}
