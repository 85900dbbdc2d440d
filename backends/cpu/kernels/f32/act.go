package f32

import (
	"math"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// Act is what follows a contraction or an addition. Kind "" or "none" does
// nothing, "relu" is fmath.Relu, "clamp" is fmath.Clamp(v, Min, Max); any other
// is the name of a unary function with its Params.
type Act struct {
	Kind     string
	Min, Max float32
	Params   Params
}

// epilogue is an Act as the micro-kernels do it: a clamp always (with infinite
// bounds where there is none), then perhaps a function over the finished rows.
type epilogue struct {
	lo, hi float32
	then   func(y []float32)
	name   string
}

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
	return e, nil
}

// inTile gives the flags of tiles that end with the epilogue, and takes the
// function from it where the kernels of g do it themselves.
func (e *epilogue) inTile(g *gemmSet) uint64 {
	switch {
	case e.name == "hard_swish" && g.hardSwish:
		e.then = nil
		return tileHardSwish
	case math.IsInf(float64(e.lo), -1) && math.IsInf(float64(e.hi), 1):
		return tilePlain
	}
	return 0
}

func (e *epilogue) suffix() string {
	if e.name == "" {
		return ""
	}
	return "+" + e.name
}
