package arch

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/nasc-dev/nasc/internal/diag"
)

// shared is a value that several places take from one choice of [choices].
type shared struct {
	gene    int
	options []node // without choices in them
}

// choices reads the table of that name: NAME = [values], each a choice to which
// { choose = "NAME" } refers anywhere in the file. They are numbered in the order
// of the file.
func (r *spaceReader) choices(v any, order []toml.Key) {
	if v == nil {
		return
	}
	t, ok := v.(map[string]any)
	r.table = "choices"
	if !ok {
		r.fail("", &diag.Error{Found: fmt.Sprintf("choices = %v", short(v)), Wanted: "a table [choices]"})
		return
	}
	named := map[string]shared{} // r.named afterwards: they do not refer to each other
	for _, key := range order {
		if len(key) != 2 || key[0] != "choices" {
			continue
		}
		name := key[1]
		if reflect.ValueOf(t[name]).Kind() != reflect.Slice {
			r.fail(name, &diag.Error{Found: fmt.Sprintf("%s = %s", name, short(t[name])), Wanted: "a list of values to choose from"})
			continue
		}
		list := r.options(name, t[name])
		if list == nil {
			continue
		}
		before := len(r.s.Genes)
		c := shared{options: make([]node, len(list))}
		texts := make([]string, len(list))
		for i, o := range list {
			texts[i] = short(o)
			if slices.Contains(texts[:i], texts[i]) {
				r.fail(name, &diag.Error{Found: fmt.Sprintf("%s has %s twice to choose from", name, texts[i]), Wanted: "each value once"})
			}
			c.options[i] = r.node(name, name, o, 1)
		}
		if len(r.s.Genes) > before {
			r.fail(name, &diag.Error{Found: "a choice within " + name, Wanted: "values that do not vary: a shared choice has no others in it"})
		}
		c.gene = r.gene(name, name, texts)
		r.s.named = append(r.s.named, c.gene)
		named[name] = c
	}
	r.named = named
}

// refer reads { choose = "NAME" }.
func (r *spaceReader) refer(key, name string, m map[string]any) node {
	c, ok := r.named[name]
	if !ok {
		wanted := "choose = a list of values, or the name of one of [choices]"
		if names := slices.Sorted(maps.Keys(r.named)); len(names) > 0 {
			wanted += ": " + strings.Join(names, ", ")
		}
		r.fail(key, &diag.Error{Found: fmt.Sprintf("%s = { choose = %q }", key, name), Wanted: wanted})
		return leaf{int64(0)}
	}
	for _, k := range sortedKeys(m) {
		if k != "choose" {
			r.fail(key, &diag.Error{Found: fmt.Sprintf("%s = { choose = %q, %s = … }", key, name, k), Wanted: "choose alone: a shared choice is made once, whatever other choices are"})
		}
	}
	return c
}

// everywhere refuses shared choices that some network does not read: it would be
// there once for each of their options.
func (r *spaceReader) everywhere() {
	read := map[int]bool{}
	note := func(n node) { uses(n, read) }
	for _, f := range r.s.root {
		note(f.val)
	}
	for i := range r.s.parts {
		p := &r.s.parts[i]
		if p.when != nil || p.alts != nil {
			continue
		}
		note(p.repeat)
		if !slices.Contains(p.depths(), 0) {
			note(p.shared)
		}
	}
	r.table = "choices"
	for _, name := range slices.Sorted(maps.Keys(r.named)) {
		if !read[r.named[name].gene] {
			r.fail(name, &diag.Error{Found: fmt.Sprintf("a shared choice %s that not every network reads", name), Wanted: fmt.Sprintf("{ choose = %q } in a stage that is always there, beside others", name)})
		}
	}
}

// uses marks the shared choices that a value reads whatever else is chosen.
func uses(n node, read map[int]bool) {
	switch n := n.(type) {
	case array:
		for _, e := range n {
			uses(e, read)
		}
	case fields:
		for _, e := range n {
			uses(e.val, read)
		}
	case shared:
		read[n.gene] = true
	}
}
