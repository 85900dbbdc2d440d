package arch

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Space is an architecture file in which values may vary: a tree whose choices
// are numbered. A network of it is a Genotype, which Instance writes as an
// ordinary architecture file.
type Space struct {
	Name, Doc string
	Genes     []Gene

	file  string
	named []int   // the genes of [choices], which come first
	root  []field // keys outside of stages, [preprocess] among them
	parts []part
}

// Gene is one choice. Which genes decide anything may depend on earlier ones:
// those of a repetition that is not there stay 0.
type Gene struct {
	Name    string   `json:"name"`    // where it stands: stage and key
	Options []string `json:"options"` // as the file writes them
}

// field is a key and the value that it may take.
type field struct {
	key string
	val node
}

// node is a value that may vary: leaf, array, fields, *choice or shared.
type node any

type (
	leaf   struct{ v any } // int64, float64, string or bool
	array  []node
	fields []field
)

// choice is one gene: one of the options, which may hold choices themselves.
type choice struct {
	gene    int
	options []node
	when    when // otherwise it decides nothing and is the first option
}

// part is a [[stage]], repeated, or a choice between lists of stages.
type part struct {
	name   string
	repeat node      // nil: once
	most   int       // repetitions
	shared fields    // what all repetitions have
	each   [][]field // what each repetition chooses for itself
	when   when      // otherwise it is left out
	alone  bool      // each repetition is written as a stage of its own
	pick   int       // the gene of alternatives
	alts   [][]part  // alternatives; nil: a stage
}

// Limits of a space, so that a wrong number is an error and not the end of the
// memory.
const (
	maxGenes   = 1 << 12
	maxOptions = 1 << 12
	maxDepth   = 16
)

// LoadSpace reads a space's file.
func LoadSpace(file string) (*Space, error) {
	return LoadSpaceFS(os.DirFS(filepath.Dir(file)), filepath.Base(file), file)
}

// LoadSpaceFS is LoadSpace from a file system, such as the embedded zoo; shown
// is the name in messages.
func LoadSpaceFS(fsys fs.FS, name, shown string) (*Space, error) {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, &diag.Error{Place: shown, Err: err}
	}
	return ParseSpace(shown, b)
}

// ParseSpace reads a space's text. A file without choices is a space of one
// network. All faults are reported, each with its line.
func ParseSpace(file string, text []byte) (*Space, error) {
	var doc map[string]any
	order, err := toml.Decode(string(text), &doc)
	if err != nil {
		return nil, tomlError(file, err)
	}
	var errs diag.List
	r := &spaceReader{s: &Space{file: file}, at: scan(file, string(text)), errs: &errs}
	root := &params{m: doc, at: r.at, errs: &errs}
	r.s.Name, r.s.Doc = root.str("name", strings.TrimSuffix(filepath.Base(file), ".toml")), root.str("doc", "")
	root.refuseOthers(append(slices.Clone(rootKeys), "choices"))
	r.choices(doc["choices"], order.Keys())
	for _, key := range rootKeys {
		v, ok := doc[key]
		if !ok || slices.Contains([]string{"stage", "name", "doc", "weights"}, key) { // a space's networks have no weights yet
			continue
		}
		r.table = ""
		if key == "preprocess" {
			r.table = key
		}
		r.s.root = append(r.s.root, field{key, r.node(key, key, v, 0)})
	}
	stages, ok := doc["stage"].([]map[string]any)
	if !ok || len(stages) == 0 {
		root.fail("stage", &diag.Error{Found: "no stages", Wanted: "one [[stage]] or more"})
	}
	for i, m := range stages {
		r.table = fmt.Sprintf("stage#%d", i)
		r.s.parts = append(r.s.parts, r.part(m, fmt.Sprintf("stage%d", i+1), 0))
	}
	r.input(doc)
	r.everywhere()
	if len(errs) > 0 {
		return nil, dedupe(errs)
	}
	if n := r.s.combinations(); n > maxCombinations {
		return nil, &diag.Error{Place: file, Found: fmt.Sprintf("conditions on choices with %d combinations", n), Wanted: fmt.Sprintf("at most %d", maxCombinations)}
	}
	return r.s, nil
}

// spaceReader builds the tree of a space.
type spaceReader struct {
	s     *Space
	at    *lines
	errs  *diag.List
	table string // for the lines in messages
	named map[string]shared
}

func (r *spaceReader) fail(key string, e *diag.Error) {
	e.Place = r.at.place(r.table, key)
	r.errs.Add(e)
}

// gene numbers a new choice.
func (r *spaceReader) gene(key, name string, options []string) int {
	if len(r.s.Genes) == maxGenes {
		r.fail(key, &diag.Error{Found: "too many choices", Wanted: fmt.Sprintf("at most %d", maxGenes)})
	}
	if len(r.s.Genes) >= maxGenes {
		return 0
	}
	r.s.Genes = append(r.s.Genes, Gene{name, options})
	return len(r.s.Genes) - 1
}

// node reads a value; key is the line's key, name says where it stands.
func (r *spaceReader) node(key, name string, v any, depth int) node {
	if depth > maxDepth {
		r.fail(key, &diag.Error{Found: key + " is nested deeper than " + fmt.Sprint(maxDepth), Wanted: "less"})
		return leaf{int64(0)}
	}
	switch v := v.(type) {
	case int64, float64, string, bool:
		return leaf{v}
	case []any:
		a := make(array, len(v))
		for i, e := range v {
			a[i] = r.node(key, fmt.Sprintf("%s[%d]", name, i), e, depth+1)
		}
		return a
	case []map[string]any: // a list of inline tables
		a := make(array, len(v))
		for i, e := range v {
			a[i] = r.node(key, fmt.Sprintf("%s[%d]", name, i), e, depth+1)
		}
		return a
	case map[string]any:
		if c, ok := v["choose"]; ok {
			return r.choice(key, name, c, v, depth)
		}
		f := fields{}
		for _, k := range sortedKeys(v) {
			f = append(f, field{k, r.node(key, name+"."+k, v[k], depth+1)})
		}
		return f
	}
	r.fail(key, &diag.Error{Found: fmt.Sprintf("%s = %v", key, v), Wanted: "a number, a string, true or false, a list, or { choose = [...] }"})
	return leaf{int64(0)}
}

// options checks what stands behind choose and gives the list.
func (r *spaceReader) options(key string, c any) []any {
	list, ok := c.([]any)
	if ms, is := c.([]map[string]any); is {
		ok = true
		for _, m := range ms {
			list = append(list, m)
		}
	}
	switch {
	case !ok:
		r.fail(key, &diag.Error{Found: fmt.Sprintf("%s = { choose = %v }", key, c), Wanted: "choose = a list of values"})
	case len(list) == 0:
		r.fail(key, &diag.Error{Found: key + " = { choose = [] }", Wanted: "one value or more to choose from"})
	case len(list) > maxOptions:
		r.fail(key, &diag.Error{Found: fmt.Sprintf("%s has %d values to choose from", key, len(list)), Wanted: fmt.Sprintf("at most %d", maxOptions)})
	default:
		return list
	}
	return nil
}

func (r *spaceReader) choice(key, name string, opts any, m map[string]any, depth int) node {
	for _, k := range sortedKeys(m) {
		if k != "choose" && k != "each" && k != "when" {
			r.fail(key, &diag.Error{Found: fmt.Sprintf("%s = { choose = …, %s = … }", key, k), Wanted: "choose, when, and each in a stage"})
		}
	}
	if _, ok := m["each"]; ok && depth > 0 {
		r.fail(key, &diag.Error{Found: "each = true within " + key, Wanted: "each beside the choose of a stage's key"})
	}
	if n, ok := opts.(string); ok {
		return r.refer(key, n, m)
	}
	list := r.options(key, opts)
	if list == nil {
		return leaf{int64(0)}
	}
	c := &choice{when: r.when(key, m)}
	texts := make([]string, len(list))
	for i, o := range list {
		texts[i] = short(o)
		if j := slices.Index(texts[:i], texts[i]); j >= 0 {
			r.fail(key, &diag.Error{Found: fmt.Sprintf("%s has %s twice to choose from", key, texts[i]), Wanted: "each value once"})
		}
	}
	c.gene = r.gene(key, name, texts)
	for i, o := range list {
		c.options = append(c.options, r.node(key, fmt.Sprintf("%s=%s", name, texts[i]), o, depth+1))
	}
	return c
}

// part reads a stage's table.
func (r *spaceReader) part(m map[string]any, name string, depth int) part {
	if opts, ok := m["choose"]; ok {
		return r.alternatives(m, opts, name, depth)
	}
	p := part{name: name, most: 1}
	if n, ok := m["name"].(string); ok {
		p.name = n
	} else if _, ok := m["name"]; ok {
		r.fail("name", &diag.Error{Found: fmt.Sprintf("name = %v", m["name"]), Wanted: "a string: a stage's name does not vary"})
	}
	if kind, ok := m["block"].(string); ok {
		r.known(kind, m)
	} else if m["block"] == nil {
		r.fail("block", &diag.Error{Found: "a stage without a block", Wanted: "block = its kind"})
	}
	before := len(*r.errs)
	p.when = r.when("when", m)
	r.repeat(&p, m)
	var each []string
	for _, k := range sortedKeys(m) {
		if k == "name" || k == "repeat" || k == "when" {
			continue
		}
		if t, ok := m[k].(map[string]any); ok && t["each"] != nil {
			if on, is := t["each"].(bool); !is || t["choose"] == nil {
				r.fail(k, &diag.Error{Found: fmt.Sprintf("%s = { each = %v }", k, t["each"]), Wanted: "{ choose = [...], each = true }"})
				continue
			} else if on {
				each = append(each, k)
				continue
			}
		}
		p.shared = append(p.shared, field{k, r.node(k, p.name+"."+k, m[k], 0)})
	}
	_, fixed := p.repeat.(leaf)
	p.alone = p.repeat != nil && !fixed || len(each) > 0
	for i := range p.most {
		if len(each) == 0 {
			break
		}
		var fs []field
		for _, k := range each {
			fs = append(fs, field{k, r.node(k, fmt.Sprintf("%s.%d.%s", p.name, i, k), m[k], 0)})
		}
		p.each = append(p.each, fs)
		if len(*r.errs) > 0 {
			break // the same again
		}
	}
	if len(*r.errs) == before {
		r.keys(&p, m)
	}
	return p
}

// known checks the keys of a stage whose block does not vary.
func (r *spaceReader) known(kind string, m map[string]any) {
	k := slices.IndexFunc(blocks, func(b block) bool { return b.name == kind })
	if k < 0 {
		r.fail("block", &diag.Error{Found: fmt.Sprintf("block %q", kind), Wanted: fmt.Sprintf("one of %v", blockNames())})
		return
	}
	(&params{m: m, table: r.table, at: r.at, errs: r.errs}).refuseOthers(append(append(slices.Clone(stageKeys), "when"), blocks[k].keys...))
}

// repeat reads how often a stage stands: a number, or numbers to choose from of
// which 0 leaves the stage out.
func (r *spaceReader) repeat(p *part, m map[string]any) {
	v, ok := m["repeat"]
	if !ok {
		return
	}
	n := r.node("repeat", p.name+".repeat", v, 0)
	all, least := []node{n}, int64(1)
	switch c := n.(type) {
	case *choice:
		all, least = c.options, 0
	case shared:
		all, least = c.options, 0
	}
	for _, o := range all {
		l, _ := o.(leaf)
		k, ok := l.v.(int64)
		if !ok || k < least || k > 1000 {
			r.fail("repeat", &diag.Error{Found: fmt.Sprintf("repeat = %v", short(v)), Wanted: fmt.Sprintf("whole numbers from %d to 1000", least)})
			return
		}
		p.most = max(p.most, int(k))
	}
	p.repeat = n
}

// depths are the repetitions that a stage may have.
func (p *part) depths() []int64 {
	var options []node
	switch r := p.repeat.(type) {
	case leaf:
		options = []node{r}
	case *choice:
		options = r.options
	case shared:
		options = r.options
	}
	out := []int64{}
	for _, o := range options {
		if l, ok := o.(leaf); ok {
			if k, ok := l.v.(int64); ok {
				out = append(out, k)
			}
		}
	}
	return out
}

// alternatives reads a stage that is one of several lists of stages; an empty
// list leaves it out.
func (r *spaceReader) alternatives(m map[string]any, opts any, name string, depth int) part {
	p := part{name: name, alts: [][]part{}}
	if n, ok := m["name"].(string); ok {
		p.name = n
	}
	for _, k := range sortedKeys(m) {
		if k != "choose" && k != "name" && k != "when" {
			r.fail(k, &diag.Error{Found: "key " + k + " beside the choose of a stage", Wanted: "choose = [[{ block = … }, …], …], name and when"})
		}
	}
	if depth > maxDepth {
		r.fail("choose", &diag.Error{Found: "stages nested deeper than " + fmt.Sprint(maxDepth), Wanted: "less"})
		return p
	}
	list := r.options("choose", opts)
	texts := make([]string, len(list))
	for i, o := range list {
		texts[i] = short(o)
		if j := slices.Index(texts[:i], texts[i]); j >= 0 {
			r.fail("choose", &diag.Error{Found: "the same stages twice to choose from", Wanted: "each once"})
		}
	}
	p.when = r.when("when", m)
	p.pick = r.gene("choose", p.name, texts)
	for i, o := range list {
		var stages []map[string]any
		switch o := o.(type) {
		case map[string]any:
			stages = []map[string]any{o}
		case []map[string]any:
			stages = o
		case []any:
			for _, e := range o {
				t, ok := e.(map[string]any)
				if !ok {
					r.fail("choose", &diag.Error{Found: fmt.Sprintf("%v among stages", short(e)), Wanted: "stages: { block = … }"})
					continue
				}
				stages = append(stages, t)
			}
		default:
			r.fail("choose", &diag.Error{Found: fmt.Sprintf("%v among stages", short(o)), Wanted: "lists of stages: [{ block = … }]"})
		}
		alt := []part{}
		for j, t := range stages {
			alt = append(alt, r.part(t, fmt.Sprintf("%s.%d.%d", p.name, i, j), depth+1))
		}
		p.alts = append(p.alts, alt)
	}
	return p
}
