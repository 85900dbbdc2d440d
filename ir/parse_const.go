package ir

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
)

// maxParsedElems bounds what a line of text may make the parser allocate.
const maxParsedElems = 1 << 25

func (p *parser) constant() {
	p.expect('@')
	v := &Value{Name: p.word()}
	if p.consts[v.Name] != nil {
		p.fail("", "constant @%s is declared twice", v.Name)
	}
	p.expect(':')
	v.Type = p.typ()
	if !v.Type.Shape.Static() {
		p.fail("a static shape", "constant @%s has shape %v", v.Name, v.Type.Shape)
	}
	for p.skip(false); p.pos < len(p.src) && nameByte(p.peek()); p.skip(false) {
		w := p.word()
		p.expect('=')
		q := v.Type.Quant
		if q == nil || q.Axis < 0 || w != "scale" && w != "zero" {
			p.fail("scale= or zero= of a type with <axis=…>", "found %q", w)
		}
		if w == "scale" {
			p.list(func() { q.Scale = append(q.Scale, p.float32()) })
		} else {
			p.list(func() { q.Zero = append(q.Zero, int32(p.integer())) })
		}
	}
	if p.accept('=') {
		v.Const = p.data(v.Type)
	} else {
		v.Const = p.external(v.Name)
		if v.Const.DType != v.Type.DType || !v.Const.Shape.Equal(v.Type.Shape) {
			p.fail(v.Type.String(), "the data of @%s is %v", v.Name, v.Const.Type())
		}
	}
	if q := v.Type.Quant; q != nil && q.Axis >= 0 {
		if q.Scale == nil {
			t := p.external(v.Name + ".scale")
			s, ok := t.Data.([]float32)
			if !ok {
				p.fail("f32", "@%s.scale is %v", v.Name, t.DType)
			}
			q.Scale = s
		}
		if q.Zero == nil {
			t := p.external(v.Name + ".zero")
			z, ok := t.Data.([]int32)
			if !ok {
				p.fail("i32", "@%s.zero is %v", v.Name, t.DType)
			}
			q.Zero = z
		}
	}
	if err := v.Type.check(); err != nil {
		p.fail("", "constant @%s: %v", v.Name, err)
	}
	p.endLine()
	p.consts[v.Name] = v
}

func (p *parser) external(name string) *Tensor {
	if p.weights != nil {
		if t, ok := p.weights(name); ok {
			return t
		}
	}
	p.fail("its values after =, or a weights file that has it", "constant @%s has no data", name)
	return nil
}

func (p *parser) data(t Type) *Tensor {
	out := NewTensor(t.DType, t.Shape...)
	n := out.Len()
	p.skip(false)
	if p.peek() == '[' {
		i := 0
		p.list(func() {
			if i == n {
				p.fail(fmt.Sprintf("%d elements", n), "found more")
			}
			p.elem(out, i)
			i++
		})
		if i != n {
			p.fail(fmt.Sprintf("%d elements", n), "found %d", i)
		}
		return out
	}
	switch w := p.word(); w {
	case "splat":
		if n == 0 {
			p.fail("a shape with elements", "found splat for %v", t.Shape)
		}
		p.elem(out, 0)
		for i := 1; i < n; i++ {
			copyElem(out, i, 0)
		}
	case "normal":
		if !t.DType.IsFloat() && !t.DType.Is8Bit() {
			p.fail("a float or 8-bit type", "found normal for %v", t.DType)
		}
		p.expect('(')
		seed := p.integer()
		p.expect(',')
		std := p.float()
		p.expect(')')
		r := rand.New(rand.NewPCG(uint64(seed), 0x6e617363))
		for i := range n {
			out.Set(i, r.NormFloat64()*std)
		}
	case "randint":
		if !t.DType.IsInt() {
			p.fail("an integer type", "found randint for %v", t.DType)
		}
		p.expect('(')
		seed := p.integer()
		p.expect(',')
		lo := p.integer()
		p.expect(',')
		hi := p.integer()
		p.expect(')')
		if lo > hi || lo < math.MinInt32 || hi > math.MaxInt32 {
			p.fail("randint(seed,lo,hi) with lo ≤ hi, both int32", "found %d and %d", lo, hi)
		}
		r := rand.New(rand.NewPCG(uint64(seed), 0x6e617363))
		for i := range n {
			out.Set(i, float64(lo+r.IntN(hi-lo+1)))
		}
	default:
		p.fail("[…], splat, normal or randint", "found %q", w)
	}
	return out
}

func (p *parser) elem(t *Tensor, i int) {
	s := p.number()
	bad := func() { p.fail(t.DType.String(), "found %q", s) }
	switch d := t.Data.(type) {
	case []float32:
		f, err := strconv.ParseFloat(s, 32)
		if err != nil {
			bad()
		}
		d[i] = float32(f)
	case []float64:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			bad()
		}
		d[i] = f
	case []uint16:
		k, err := strconv.ParseUint(s, 0, 16)
		if err != nil {
			bad()
		}
		d[i] = uint16(k)
	case []bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			bad()
		}
		d[i] = b
	default:
		k, err := strconv.ParseInt(s, 10, 64)
		lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
		switch t.DType {
		case I32:
			lo, hi = math.MinInt32, math.MaxInt32
		case U8:
			lo, hi = 0, 255
		case S8:
			lo, hi = -128, 127
		}
		if err != nil || k < lo || k > hi {
			bad()
		}
		if d, ok := t.Data.([]int64); ok {
			d[i] = k
		} else {
			t.Set(i, float64(k))
		}
	}
}

func copyElem(t *Tensor, dst, src int) {
	switch d := t.Data.(type) {
	case []float32:
		d[dst] = d[src]
	case []float64:
		d[dst] = d[src]
	case []uint16:
		d[dst] = d[src]
	case []int64:
		d[dst] = d[src]
	case []int32:
		d[dst] = d[src]
	case []uint8:
		d[dst] = d[src]
	case []int8:
		d[dst] = d[src]
	case []bool:
		d[dst] = d[src]
	}
}
