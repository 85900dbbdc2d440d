package nascfile

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nasc-dev/nasc/internal/diag"
)

// The manifest's TOML: keys with strings, integers, floats, booleans and flat
// lists of them, tables one level deep. Reading it here keeps a TOML package
// out of what services embed.

type tomlWriter struct{ b bytes.Buffer }

func (w *tomlWriter) table(name string) { fmt.Fprintf(&w.b, "\n[%s]\n", name) }

// key writes one pair; empty strings and lists are left out.
func (w *tomlWriter) key(name string, v any) {
	s := ""
	switch v := v.(type) {
	case string:
		if v == "" {
			return
		}
		s = tomlString(v)
	case int:
		s = strconv.Itoa(v)
	case bool:
		s = strconv.FormatBool(v)
	case float64:
		s = tomlFloat(v)
	case []string:
		if len(v) == 0 {
			return
		}
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = tomlString(e)
		}
		s = "[" + strings.Join(parts, ", ") + "]"
	case []float64:
		if len(v) == 0 {
			return
		}
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = tomlFloat(e)
		}
		s = "[" + strings.Join(parts, ", ") + "]"
	default:
		panic(fmt.Sprintf("BUG: %T in a manifest", v))
	}
	w.pair(name, s)
}

func (w *tomlWriter) pair(name, value string) { fmt.Fprintf(&w.b, "%s = %s\n", tomlKey(name), value) }

func tomlKey(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !bareRune(r) }) < 0 {
		return s
	}
	return tomlString(s)
}

func bareRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
}

func tomlFloat(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".eIN") {
		s += ".0"
	}
	return s
}

// tomlString writes a basic string.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// parseTOML reads such a document: table name ("" first) to key to value, which
// is a string, int64, float64, bool or []any of them.
func parseTOML(file, text string) (map[string]map[string]any, error) {
	p := &tomlParser{file: file, s: text, line: 1}
	doc := map[string]map[string]any{"": {}}
	table := doc[""]
	for p.blank(); p.s != "" && p.err == nil; p.blank() {
		if p.take("[") {
			name := p.name()
			p.want("]")
			if doc[name] != nil {
				p.fail("table %q is there twice", name)
			}
			table = map[string]any{}
			doc[name] = table
		} else {
			k := p.name()
			p.want("=")
			v := p.value()
			if _, twice := table[k]; twice {
				p.fail("key %q is there twice", k)
			}
			table[k] = v
		}
		p.endOfLine()
	}
	return doc, p.err
}

type tomlParser struct {
	file, s string
	line    int
	err     error
}

func (p *tomlParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = diag.Errorf(p.file+":"+strconv.Itoa(p.line), format, args...)
	}
	p.s = ""
}

func (p *tomlParser) space() { p.s = strings.TrimLeft(p.s, " \t") }

// blank skips white space, newlines and comments.
func (p *tomlParser) blank() {
	for {
		p.s = strings.TrimLeft(p.s, " \t\r")
		switch {
		case strings.HasPrefix(p.s, "\n"):
			p.line++
			p.s = p.s[1:]
		case strings.HasPrefix(p.s, "#"):
			_, rest, _ := strings.Cut(p.s, "\n")
			p.s = "\n" + rest
			if rest == "" {
				p.s = ""
			}
		default:
			return
		}
	}
}

func (p *tomlParser) take(token string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.s, token)
	p.s = rest
	return ok
}

func (p *tomlParser) want(token string) {
	if !p.take(token) && p.err == nil {
		p.fail("found %q; wanted %q", clip(p.s), token)
	}
}

func (p *tomlParser) endOfLine() {
	p.space()
	if p.s != "" && p.s[0] != '\n' && p.s[0] != '#' && p.s[0] != '\r' {
		p.fail("found %q after the value; wanted the end of the line", clip(p.s))
	}
}

func clip(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 20 {
		s = s[:20]
	}
	return strings.ToValidUTF8(s, "?")
}

func (p *tomlParser) name() string {
	p.space()
	if strings.HasPrefix(p.s, `"`) {
		return p.str()
	}
	n := strings.IndexFunc(p.s, func(r rune) bool { return !bareRune(r) })
	if n < 0 {
		n = len(p.s)
	}
	if n == 0 {
		p.fail("found %q; wanted a key", clip(p.s))
		return ""
	}
	k := p.s[:n]
	p.s = p.s[n:]
	return k
}

func (p *tomlParser) value() any {
	p.space()
	switch {
	case strings.HasPrefix(p.s, `"`):
		return p.str()
	case p.take("["):
		l := []any{}
		for {
			p.blank()
			if p.take("]") || p.err != nil {
				return l
			}
			if strings.HasPrefix(p.s, "[") {
				p.fail("a list in a list; wanted a flat one")
				return nil
			}
			l = append(l, p.value())
			p.blank()
			if !p.take(",") {
				p.blank()
				p.want("]")
				return l
			}
		}
	}
	n := strings.IndexAny(p.s, ",] \t\r\n#")
	if n < 0 {
		n = len(p.s)
	}
	word := p.s[:n]
	p.s = p.s[n:]
	switch word {
	case "true":
		return true
	case "false":
		return false
	}
	if i, err := strconv.ParseInt(word, 10, 64); err == nil {
		return i
	}
	if f, err := strconv.ParseFloat(word, 64); err == nil {
		return f
	}
	p.fail("found %q; wanted a string, a number, true, false or a list", clip(word))
	return nil
}

// str reads a basic string.
func (p *tomlParser) str() string {
	var b strings.Builder
	for i := 1; i < len(p.s); i++ {
		switch c := p.s[i]; c {
		case '"':
			p.s = p.s[i+1:]
			if !utf8.ValidString(b.String()) {
				p.fail("a string is not UTF-8")
			}
			return b.String()
		case '\n':
			p.fail("a string does not end on its line")
			return ""
		case '\\':
			i++
			if i == len(p.s) {
				break
			}
			switch c := p.s[i]; c {
			case '"', '\\':
				b.WriteByte(c)
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			case 'u':
				r, err := strconv.ParseUint(p.s[min(i+1, len(p.s)):min(i+5, len(p.s))], 16, 32)
				if err != nil {
					p.fail(`bad escape \u`)
					return ""
				}
				b.WriteRune(rune(r))
				i += 4
			default:
				p.fail(`unknown escape \%c`, c)
				return ""
			}
		default:
			b.WriteByte(c)
		}
	}
	p.fail("a string does not end")
	return ""
}
