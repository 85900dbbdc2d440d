package arch

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

// required are the keys that a block cannot do without.
var required = map[string][]string{
	"conv": {"channels"}, "basic": {"channels"}, "bottleneck": {"channels"}, "inverted": {"channels"}, "reduction": {"channels"},
	"dense_layer": {"growth"}, "dense": {"out"}, "cell": {"edges"},
	"patches": {"size", "width"}, "embedding": {"width"}, "encoder": {"heads", "hidden"}, "mixer": {"tokens", "hidden"},
}

// reads are how blocks read a key, as far as that does not depend on the network
// around it: what it refuses, no network can have.
var reads = map[string]func(p *params, key string){
	"channels": aboveZero, "groups": aboveZero, "dilation": aboveZero, "kernel": aboveZero, "stride": aboveZero, "size": aboveZero,
	"expansion": aboveZero, "growth": aboveZero, "bottleneck": aboveZero, "out": aboveZero, "width": aboveZero, "heads": aboveZero, "tokens": aboveZero,
	"hidden": func(p *params, key string) {
		if p.m["block"] == "inverted" { // 0: by expand
			p.int(key, 0)
		} else {
			p.positive(key, 1)
		}
	},
	"types": func(p *params, key string) { p.int(key, 0) },
	"positions": func(p *params, key string) {
		if p.m["block"] == "patches" {
			p.bool(key, false)
		} else {
			p.int(key, 0)
		}
	},
	"norm": func(p *params, key string) {
		if p.m["block"] == "encoder" {
			p.word(key, "pre", "pre", "post")
		} else {
			p.bool(key, true)
		}
	},
	"class": func(p *params, key string) { p.bool(key, false) }, "bias": func(p *params, key string) { p.bool(key, true) },
	"padding": func(p *params, key string) { p.word(key, "same", "same", "tf", "valid") }, "act": func(p *params, key string) { p.word(key, "none", acts...) },
	"epsilon": func(p *params, _ string) { p.epsilon(0) }, "expand": func(p *params, key string) { p.within(key, 0, 0, maxExpand) },
	"se": func(p *params, key string) { p.within(key, 0, 0, 1) }, "share": func(p *params, key string) { p.within(key, 0, 0, 1) },
	"edges": func(p *params, key string) {
		list := p.strings(key)
		if l, _ := p.m[key].([]any); l != nil && len(l) == 0 {
			p.fail(key, &diag.Error{Found: "0 edges", Wanted: "1, 3, 6, 10, …: one from every earlier node to each node"})
		}
		for _, e := range list {
			if !slices.Contains(edgeOps, e) {
				p.fail(key, &diag.Error{Found: fmt.Sprintf("%q among edges", e), Wanted: fmt.Sprintf("one of %v", edgeOps)})
			}
		}
	},
}

func aboveZero(p *params, key string) { p.positive(key, 1) }

// keys refuses a stage that lacks what its block needs, and values that no network
// can have. What depends on the stages before it shows in the networks.
func (r *spaceReader) keys(p *part, m map[string]any) {
	fs := slices.Clone(p.shared)
	if len(p.each) > 0 {
		fs = append(fs, p.each[0]...)
	}
	var kinds []string
	for _, f := range fs {
		if f.key != "block" {
			continue
		}
		for _, v := range values(f.val) {
			kind, _ := v.(string)
			if !slices.Contains(blockNames(), kind) {
				if _, fixed := m["block"].(string); !fixed { // known has said so
					r.fail("block", &diag.Error{Found: fmt.Sprintf("block %v", short(v)), Wanted: fmt.Sprintf("one of %v", blockNames())})
				}
				return
			}
			kinds = append(kinds, kind)
		}
	}
	for _, kind := range kinds {
		for _, key := range required[kind] {
			if m[key] == nil {
				wanted := key + " = a number"
				if key == "edges" {
					wanted = key + " = a list of what edges do"
				}
				r.fail(key, &diag.Error{Found: fmt.Sprintf("block %q without %s", kind, key), Wanted: wanted + ", or { choose = [...] }"})
			}
		}
	}
	for _, f := range fs {
		if reads[f.key] == nil {
			continue
		}
		for _, v := range values(f.val) {
			r.value(kinds, f.key, v)
		}
	}
}

// value refuses one value of a key where all of the kinds that the block may be
// refuse it.
func (r *spaceReader) value(kinds []string, key string, v any) {
	var said diag.List
	for _, kind := range kinds {
		var errs diag.List
		reads[key](&params{m: map[string]any{"block": kind, key: v}, table: r.table, at: r.at, errs: &errs}, key)
		if len(errs) == 0 {
			return
		}
		said = errs
	}
	*r.errs = append(*r.errs, said...)
}

// values are those that a node may take; of a list each element by itself, in a
// list of its own.
func values(n node) []any {
	switch n := n.(type) {
	case leaf:
		return []any{n.v}
	case array:
		if len(n) == 0 {
			return []any{[]any{}}
		}
		var out []any
		for _, e := range n {
			for _, v := range values(e) {
				out = append(out, []any{v})
			}
		}
		return out
	case fields:
		return []any{map[string]any{}}
	case *choice:
		return among(n.options)
	case shared:
		return among(n.options)
	}
	return nil
}

func among(options []node) []any {
	var out []any
	for _, o := range options {
		out = append(out, values(o)...)
	}
	return out
}

// input refuses a space whose networks have none, or one of no such shape.
func (r *spaceReader) input(doc map[string]any) {
	r.table = ""
	at := slices.IndexFunc(r.s.root, func(f field) bool { return f.key == "input" })
	if at < 0 {
		r.fail("input", &diag.Error{Found: "no input", Wanted: "input = [height, width, channels] or [tokens]"})
		return
	}
	options := []node{r.s.root[at].val}
	switch c := options[0].(type) {
	case *choice:
		options = c.options
	case shared:
		options = c.options
	}
	for _, o := range options {
		a, ok := o.(array)
		var errs diag.List
		for _, v := range values(o) {
			(&params{m: map[string]any{"input": v}, at: r.at, errs: &errs}).ints("input")
		}
		switch {
		case !ok || len(a) != 1 && len(a) != 3:
			r.fail("input", &diag.Error{Found: "input = " + strings.TrimSpace(short(doc["input"])), Wanted: "[height, width, channels] or [tokens]"})
			return
		case len(errs) > 0:
			*r.errs = append(*r.errs, errs...)
			return
		case len(a) == 1 && doc["vocabulary"] == nil:
			r.fail("vocabulary", &diag.Error{Found: "input of tokens without a vocabulary", Wanted: "vocabulary = their number"})
			return
		}
	}
}

// tried is how many networks are drawn before a space is said to have none that
// can be built.
const tried = 32

// Buildable refuses a space of whose networks none can be built, as far as those
// drawn by a fixed seed say: what stands after what, and its shapes.
func (s *Space) Buildable() error {
	var first error
	gs := s.Samples(tried, 1)
	for _, g := range gs {
		text, err := s.Instance(g)
		if err == nil {
			_, _, err = Trace("network "+g.String(), []byte(text))
		}
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	e := &diag.Error{}
	errors.As(first, &e) // by a line of a file that there is not
	found := fmt.Sprintf("none of %d networks drawn can be built: ", len(gs))
	if s.Count().IsInt64() && s.Count().Int64() == int64(len(gs)) {
		found = "no network can be built: "
	}
	return &diag.Error{Place: s.file, Found: found + e.Found, Wanted: e.Wanted, Fix: e.Fix, Err: e.Err}
}
