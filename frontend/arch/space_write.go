package arch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Instance writes a network of the space as an ordinary architecture file. A
// stage whose repetitions are chosen becomes a stage a repetition, NAME.0,
// NAME.1, …, of which the first alone takes the stride.
func (s *Space) Instance(g Genotype) (string, error) {
	if err := s.Check(g); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "name = %s\n", quote(s.Name))
	fmt.Fprintf(&b, "doc = %s\n", quote("network "+g.String()+" of the space "+s.Name))
	var tables []field
	for _, f := range s.root {
		if m, ok := resolve(f.val, g).(map[string]any); ok {
			tables = append(tables, field{f.key, m})
			continue
		}
		fmt.Fprintf(&b, "%s = %s\n", f.key, literal(resolve(f.val, g)))
	}
	for _, t := range tables {
		fmt.Fprintf(&b, "\n[%s]\n", t.key)
		writeKeys(&b, t.val.(map[string]any))
	}
	for _, m := range s.stages(s.parts, g) {
		b.WriteString("\n[[stage]]\n")
		writeKeys(&b, m)
	}
	return b.String(), nil
}

// stages lists the tables of a network's stages.
func (s *Space) stages(ps []part, g Genotype) []map[string]any {
	var out []map[string]any
	for i := range ps {
		p := &ps[i]
		if !p.when.holds(g) {
			continue
		}
		if p.alts != nil {
			out = append(out, s.stages(p.alts[g[p.pick]], g)...)
			continue
		}
		times := p.times(g)
		if times == 0 {
			continue
		}
		if !p.alone {
			m := p.table(g, 0)
			m["name"] = p.name
			if times > 1 {
				m["repeat"] = int64(times)
			}
			out = append(out, m)
			continue
		}
		for r := range times {
			m := p.table(g, r)
			m["name"] = fmt.Sprintf("%s.%d", p.name, r)
			out = append(out, m)
		}
	}
	return out
}

// table has the keys of a repetition, without its name: where repetitions are
// written for themselves, as a stage of its own.
func (p *part) table(g Genotype, r int) map[string]any {
	m := resolve(p.shared, g).(map[string]any)
	if !p.alone {
		return m
	}
	if r < len(p.each) {
		maps.Copy(m, resolve(fields(p.each[r]), g).(map[string]any))
	}
	if kind := m["block"]; r > 0 && kind != "max_pool" && kind != "average_pool" {
		delete(m, "stride")
	}
	return m
}

// resolve takes the options that a genotype says.
func resolve(n node, g Genotype) any {
	switch n := n.(type) {
	case leaf:
		return n.v
	case array:
		out := make([]any, len(n))
		for i, e := range n {
			out[i] = resolve(e, g)
		}
		return out
	case fields:
		out := map[string]any{}
		for _, f := range n {
			out[f.key] = resolve(f.val, g)
		}
		return out
	case *choice:
		return resolve(n.options[n.taken(g)], g)
	case shared:
		return resolve(n.options[g[n.gene]], g)
	}
	panic(fmt.Sprintf("BUG: a space with a %T", n))
}

// writeKeys writes a table's keys, block and name first.
func writeKeys(b *strings.Builder, m map[string]any) {
	ks := slices.SortedFunc(maps.Keys(m), func(x, y string) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), strings.Compare(x, y))
	})
	for _, k := range ks {
		fmt.Fprintf(b, "%s = %s\n", bare(k), literal(m[k]))
	}
}

func rank(key string) int {
	if i := slices.Index(stageKeys, key); i >= 0 {
		return i
	}
	return len(stageKeys)
}

// literal writes a value as TOML.
func literal(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		switch {
		case v != v:
			return "nan"
		case v-v != 0:
			return strings.TrimSuffix(fmt.Sprintf("%+g", v), "Inf") + "inf"
		}
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		return s
	case bool:
		return strconv.FormatBool(v)
	case string:
		return quote(v)
	case []any:
		s := make([]string, len(v))
		for i, e := range v {
			s[i] = literal(e)
		}
		return "[" + strings.Join(s, ", ") + "]"
	case map[string]any:
		var s []string
		for _, k := range sortedKeys(v) {
			s = append(s, bare(k)+" = "+literal(v[k]))
		}
		return "{ " + strings.Join(s, ", ") + " }"
	}
	panic(fmt.Sprintf("BUG: a value of type %T", v))
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f || !unicode.IsPrint(r):
			fmt.Fprintf(&b, "\\U%08X", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// bare writes a key, quoted where it must be.
func bare(k string) string {
	if k != "" && strings.IndexFunc(k, func(r rune) bool {
		return !(r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}) < 0 {
		return k
	}
	return quote(k)
}

// short writes an option for people.
func short(v any) string {
	switch v := v.(type) {
	case []any:
		s := make([]string, len(v))
		for i, e := range v {
			s[i] = short(e)
		}
		return "[" + strings.Join(s, ", ") + "]"
	case []map[string]any:
		s := make([]string, len(v))
		for i, e := range v {
			s[i] = short(e)
		}
		return "[" + strings.Join(s, ", ") + "]"
	case map[string]any:
		var s []string
		for _, k := range sortedKeys(v) {
			s = append(s, bare(k)+" = "+short(v[k]))
		}
		return "{ " + strings.Join(s, ", ") + " }"
	case int64, float64, bool, string:
		return literal(v)
	}
	return fmt.Sprint(v)
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
