package arch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

// lines finds the line of a key: the TOML parser does not tell.
type lines struct {
	file string
	at   map[string]int // "table#index.key", and "table#index" for headers
}

// scan reads headers and keys line by line; that is enough for messages.
func scan(file, text string) *lines {
	l := &lines{file: file, at: map[string]int{}}
	table, count := "", map[string]int{}
	for i, s := range strings.Split(text, "\n") {
		s = strings.TrimSpace(s)
		switch {
		case strings.HasPrefix(s, "[["):
			name := strings.Trim(strings.SplitN(s, "]", 2)[0], "[ ")
			table = fmt.Sprintf("%s#%d", name, count[name])
			count[name]++
			l.at[table] = i + 1
		case strings.HasPrefix(s, "["):
			table = strings.Trim(strings.SplitN(s, "]", 2)[0], "[ ")
			l.at[table] = i + 1
		default:
			if key, _, ok := strings.Cut(s, "="); ok && !strings.HasPrefix(s, "#") {
				k := table + "." + strings.Trim(strings.TrimSpace(key), `"'`)
				if l.at[k] == 0 {
					l.at[k] = i + 1
				}
			}
		}
	}
	return l
}

func (l *lines) place(table, key string) string {
	for _, k := range []string{table + "." + key, table} {
		if n := l.at[k]; n > 0 {
			return fmt.Sprintf("%s:%d", l.file, n)
		}
	}
	return l.file
}

// params reads the keys of one table, keeping what went wrong.
type params struct {
	m     map[string]any
	table string
	at    *lines
	errs  *diag.List
}

func (p *params) fail(key string, e *diag.Error) {
	e.Place = p.at.place(p.table, key)
	p.errs.Add(e)
}

// value gives a key's value. A choice is refused, and its first value taken so
// that the rest of the file is checked too.
func (p *params) value(key string) (any, bool) {
	v, ok := p.m[key]
	if t, is := v.(map[string]any); is {
		if c, is := t["choose"].([]any); is && len(c) == 0 {
			p.fail(key, &diag.Error{Found: key + " = { choose = [] }", Wanted: "one value or more to choose from"})
			return nil, false
		} else if is {
			p.fail(key, &diag.Error{
				Found: fmt.Sprintf("%s = { choose = %v }: the file is a search space", key, c), Wanted: "one network", Fix: "write one of the values, or draw networks with nasc space sample",
			})
			return c[0], true
		}
	}
	return v, ok
}

func get[T any](p *params, key, wanted string, def T) T {
	v, ok := p.value(key)
	if !ok {
		return def
	}
	if t, ok := v.(T); ok {
		return t
	}
	p.fail(key, &diag.Error{Found: fmt.Sprintf("%s = %v", key, v), Wanted: wanted})
	return def
}

// maxInt bounds every whole number in a file.
const maxInt = 1 << 20

func (p *params) int(key string, def int) int {
	v := get(p, key, "a whole number", int64(def))
	if v < 0 || v > maxInt {
		p.fail(key, &diag.Error{Found: fmt.Sprintf("%s = %d", key, v), Wanted: fmt.Sprintf("a number from 0 to %d", maxInt)})
		return def
	}
	return int(v)
}

// positive is int, at least 1; without a default the key is required.
func (p *params) positive(key string, def int) int {
	if _, ok := p.m[key]; !ok && def == 0 {
		p.fail(key, &diag.Error{Found: "no " + key, Wanted: key + " = a number"})
		return 1
	}
	v := p.int(key, max(def, 1))
	if v < 1 {
		p.fail(key, &diag.Error{Found: fmt.Sprintf("%s = %d", key, v), Wanted: "1 or more"})
		return 1
	}
	return v
}

func (p *params) str(key, def string) string { return get(p, key, "a string", def) }
func (p *params) bool(key string, def bool) bool {
	return get(p, key, "true or false", def)
}

// word is a string out of a list.
func (p *params) word(key, def string, words ...string) string {
	s := p.str(key, def)
	if !slices.Contains(words, s) {
		p.fail(key, &diag.Error{Found: fmt.Sprintf("%s = %q", key, s), Wanted: strings.Join(words, ", ")})
		return def
	}
	return s
}

func (p *params) float(key string, def float64) float64 {
	if v, ok := p.value(key); ok {
		if i, ok := v.(int64); ok {
			return float64(i)
		}
	}
	return get(p, key, "a number", def)
}

// within is float with a range, both ends in it; NaN is in none.
func (p *params) within(key string, def, lo, hi float64) float64 {
	v := p.float(key, def)
	if !(v >= lo && v <= hi) {
		p.fail(key, &diag.Error{Found: fmt.Sprintf("%s = %v", key, v), Wanted: fmt.Sprintf("a number from %v to %v", lo, hi)})
		return def
	}
	return v
}

func (p *params) epsilon(def float64) float64 { return p.within("epsilon", def, 0, 1) }

func (p *params) list(key string) []any { return get[[]any](p, key, "a list", nil) }

func (p *params) ints(key string) []int {
	var out []int
	for _, v := range p.list(key) {
		i, ok := v.(int64)
		if !ok || i < 1 || i > maxInt {
			p.fail(key, &diag.Error{Found: fmt.Sprintf("%v in %s", v, key), Wanted: fmt.Sprintf("numbers from 1 to %d", maxInt)})
			return nil
		}
		out = append(out, int(i))
	}
	return out
}

func (p *params) floats(key string) []float64 {
	var out []float64
	for _, v := range p.list(key) {
		switch v := v.(type) {
		case int64:
			out = append(out, float64(v))
		case float64:
			out = append(out, v)
		default:
			p.fail(key, &diag.Error{Found: fmt.Sprintf("%v in %s", v, key), Wanted: "numbers"})
			return nil
		}
	}
	return out
}

// perChannel is a list of one finite number a channel, or one for all.
func (p *params) perChannel(key string, channels int) []float64 {
	v := p.floats(key)
	if len(v) > 1 && len(v) != channels {
		p.fail(key, &diag.Error{Found: fmt.Sprintf("%s of %d numbers", key, len(v)), Wanted: fmt.Sprintf("%d: one a channel", channels)})
	}
	if slices.ContainsFunc(v, func(f float64) bool { return f-f != 0 }) {
		p.fail(key, &diag.Error{Found: fmt.Sprintf("%s = %v", key, v), Wanted: "finite numbers"})
	}
	return v
}

func (p *params) strings(key string) []string {
	var out []string
	for _, v := range p.list(key) {
		s, ok := v.(string)
		if !ok {
			p.fail(key, &diag.Error{Found: fmt.Sprintf("%v in %s", v, key), Wanted: "strings"})
			return nil
		}
		out = append(out, s)
	}
	return out
}

// refuseOthers reports the keys that nobody reads.
func (p *params) refuseOthers(known []string) {
	var keys []string
	for k := range p.m {
		if !slices.Contains(known, k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		p.fail(k, &diag.Error{Found: "unknown key " + k, Wanted: "one of " + strings.Join(known, ", ")})
	}
}
