package arch

import (
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Adapted gives the space for inputs of another shape (without batch) and
// another number of classes, where the file fixes them: its input key, and out
// of its last stage, a dense one. A space that varies them is refused where it
// would have to change.
func (s *Space) Adapted(input []int, classes int) (*Space, error) {
	c := *s
	want := make(array, len(input))
	for i, d := range input {
		want[i] = leaf{int64(d)}
	}
	at := slices.IndexFunc(c.root, func(f field) bool { return f.key == "input" })
	if at < 0 {
		return nil, &diag.Error{Place: s.file, Found: "no input key", Wanted: fmt.Sprintf("input = %v, the data's", input)}
	}
	if have, ok := numbers(c.root[at].val); !ok {
		return nil, &diag.Error{Place: s.file, Found: "an input that varies", Wanted: fmt.Sprintf("input = %v, the data's", input)}
	} else if !slices.Equal(have, input) {
		c.root = slices.Clone(c.root)
		c.root[at].val = want
	}
	last := len(c.parts) - 1
	bad := &diag.Error{Place: s.file, Found: "a last stage that is no dense layer with a number of outputs", Wanted: fmt.Sprintf("block = \"dense\", out = %d, the data's classes", classes)}
	p := c.parts[last]
	if p.alts != nil || p.alone {
		return nil, bad
	}
	block := slices.IndexFunc(p.shared, func(f field) bool { return f.key == "block" && f.val == node(leaf{"dense"}) })
	out := slices.IndexFunc(p.shared, func(f field) bool { return f.key == "out" })
	if block < 0 || out < 0 {
		return nil, bad
	}
	n, ok := p.shared[out].val.(leaf)
	if !ok {
		return nil, bad
	}
	if n.v == any(int64(classes)) {
		return &c, nil
	}
	if slices.ContainsFunc(c.root, func(f field) bool { return f.key == "labels" }) {
		return nil, &diag.Error{Place: s.file, Found: fmt.Sprintf("labels of %v classes", n.v), Wanted: fmt.Sprintf("data of as many classes; it has %d", classes)}
	}
	p.shared = slices.Clone(p.shared)
	p.shared[out].val = leaf{int64(classes)}
	c.parts = slices.Clone(c.parts)
	c.parts[last] = p
	return &c, nil
}

// numbers reads a list of whole numbers that do not vary.
func numbers(n node) ([]int, bool) {
	a, ok := n.(array)
	if !ok {
		return nil, false
	}
	var out []int
	for _, e := range a {
		l, _ := e.(leaf)
		k, ok := l.v.(int64)
		if !ok {
			return nil, false
		}
		out = append(out, int(k))
	}
	return out, true
}
