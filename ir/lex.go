package ir

import (
	"strconv"
	"unicode/utf8"
)

// skip passes blanks and comments, and line ends too where lines is true.
func (p *parser) skip(lines bool) {
	for p.pos < len(p.src) {
		switch c := p.src[p.pos]; {
		case c == '\n':
			if !lines {
				return
			}
			p.pos++
			p.line++
			p.bol = p.pos
		case c == ' ' || c == '\t' || c == '\r':
			p.pos++
		case c == '#':
			for p.pos < len(p.src) && p.src[p.pos] != '\n' {
				p.pos++
			}
		default:
			return
		}
	}
}

func (p *parser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

// here shows what stands at the position, for messages.
func (p *parser) here() string {
	if p.pos >= len(p.src) {
		return "the end of the text"
	}
	if p.src[p.pos] == '\n' {
		return "the end of the line"
	}
	r, _ := utf8.DecodeRuneInString(p.src[p.pos:])
	return strconv.QuoteRune(r)
}

func (p *parser) accept(c byte) bool {
	p.skip(false)
	if p.peek() == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(c byte) {
	if !p.accept(c) {
		p.fail(strconv.QuoteRune(rune(c)), "found %s", p.here())
	}
}

// word reads a run of name bytes, or a quoted string.
func (p *parser) word() string {
	p.skip(false)
	if p.peek() == '"' {
		q, err := strconv.QuotedPrefix(p.src[p.pos:])
		if err != nil {
			p.fail("a closed string", "found a broken string")
		}
		p.pos += len(q)
		s, err := strconv.Unquote(q)
		if err != nil {
			p.fail("a string", "found %s", q)
		}
		return s
	}
	i := p.pos
	for p.pos < len(p.src) && nameByte(p.src[p.pos]) {
		p.pos++
	}
	if i == p.pos {
		p.fail("a name", "found %s", p.here())
	}
	return p.src[i:p.pos]
}

// number reads an integer or float word, with sign.
func (p *parser) number() string {
	p.skip(false)
	i := p.pos
	for p.pos < len(p.src) && (nameByte(p.src[p.pos]) || p.src[p.pos] == '+') {
		p.pos++
	}
	if i == p.pos {
		p.fail("a number", "found %s", p.here())
	}
	return p.src[i:p.pos]
}

func (p *parser) float() float64 {
	s := p.number()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		p.fail("a number", "found %q", s)
	}
	return f
}

func (p *parser) float32() float32 {
	s := p.number()
	f, err := strconv.ParseFloat(s, 32)
	if err != nil {
		p.fail("a number that float32 holds", "found %q", s)
	}
	return float32(f)
}

func (p *parser) integer() int {
	s := p.number()
	k, err := strconv.Atoi(s)
	if err != nil {
		p.fail("an integer", "found %q", s)
	}
	return k
}

// list reads [x,…] calling item for each element.
func (p *parser) list(item func()) {
	p.expect('[')
	if p.accept(']') {
		return
	}
	for {
		item()
		if p.accept(']') {
			return
		}
		p.expect(',')
	}
}

func (p *parser) endLine() {
	p.skip(false)
	if p.pos < len(p.src) && p.peek() != '\n' {
		p.fail("the end of the line", "found %s", p.here())
	}
}
