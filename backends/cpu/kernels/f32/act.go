package f32

import (
	"math"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// Act is what follows a contraction or an addition. Kind "" or "none" does
// nothing, "relu" is fmath.Relu, "clamp" is fmath.Clamp(v, Min, Max); any other
// is the name of a unary function with its Params. With Affine the result is then
// multiplied by Scale and Shift is added, each rounded; 1 and -0 change nothing.
type Act struct {
	Kind         string
	Min, Max     float32
	Params       Params
	Affine       bool
	Scale, Shift float32
}

// epilogue is an Act as the micro-kernels do it: a clamp always (with infinite
// bounds where there is none), then perhaps a function over the finished rows.
type epilogue struct {
	lo, hi float32
	then   func(y []float32)
	affine func(y []float32) // the last part of then
	name   string
}

// affineRun is how many values a multiplication and an addition take in turns:
// they stay in the first level cache.
const affineRun = 2048

func (a Act) epilogue(l isa.Level) (epilogue, error) {
	inf := float32(math.Inf(1))
	e := epilogue{lo: -inf, hi: inf, name: a.Kind}
	switch a.Kind {
	case "", "none":
		e.name = ""
	case "relu":
		e.lo = 0
	case "clamp":
		e.lo, e.hi = a.Min, a.Max
	default:
		f, err := unaryFunc(a.Kind, a.Params, l)
		if err != nil {
			return e, err
		}
		e.then = func(y []float32) { f(y, y) }
	}
	if !a.Affine {
		return e, nil
	}
	affine, err := a.affine(l)
	if err != nil {
		return e, err
	}
	e.affine = affine
	if first := e.then; first != nil {
		e.then = func(y []float32) { first(y); affine(y) }
	} else {
		e.then = affine
	}
	return e, nil
}

func (a Act) affine(l isa.Level) (func(y []float32), error) {
	mul, err := binaryFunc("multiply", l)
	if err != nil {
		return nil, err
	}
	add, err := binaryFunc("add", l)
	if err != nil {
		return nil, err
	}
	scale, shift := []float32{a.Scale}, []float32{a.Shift}
	return func(y []float32) {
		for len(y) > 0 {
			part := y[:min(affineRun, len(y))]
			mul(part, part, scale, false, true)
			add(part, part, shift, false, true)
			y = y[len(part):]
		}
	}, nil
}

// inTile gives the flags of tiles that end with the epilogue, and takes the
// function from it where the kernels of g do it themselves.
func (e *epilogue) inTile(g *gemmSet) uint64 {
	switch {
	case e.name == "hard_swish" && g.hardSwish:
		e.then = e.affine
		return tileHardSwish
	case math.IsInf(float64(e.lo), -1) && math.IsInf(float64(e.hi), 1):
		return tilePlain
	}
	return 0
}

func (e *epilogue) suffix() string {
	s := ""
	if e.name != "" {
		s = "+" + e.name
	}
	if e.affine != nil {
		s += "+affine"
	}
	return s
}

// after is the whole of an Act as a function over finished rows; nil: nothing.
func (a Act) after(l isa.Level) (func(y []float32), error) {
	e, err := a.epilogue(l)
	if err != nil || a.Kind != "relu" && a.Kind != "clamp" {
		return e.then, err
	}
	f, err := unaryFunc(a.Kind, Params{Min: a.Min, Max: a.Max}, l)
	if err != nil {
		return nil, err
	}
	if e.affine == nil {
		return func(y []float32) { f(y, y) }, nil
	}
	return func(y []float32) { f(y, y); e.affine(y) }, nil
}
