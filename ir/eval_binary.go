package ir

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/internal/fmath"
)

func evalBinary(n *Node, in []*Tensor) ([]*Tensor, error) {
	shape, err := Broadcast(in[0].Shape, in[1].Shape)
	if err != nil {
		return nil, err
	}
	a, b := expanded(in[0], shape), expanded(in[1], shape)
	out := NewTensor(a.DType, shape...)
	switch y := out.Data.(type) {
	case []float32:
		zip(y, a.F32(), reals[float32](b), realFunction(n.Op.Name, fmath.Max, fmath.Min, fmath.Pow, fmath.Rem))
	case []float64:
		zip(y, reals[float64](a), reals[float64](b), realFunction(n.Op.Name, max64, min64, math.Pow, math.Mod))
	case []int64:
		err = zipIntegers(n.Op.Name, y, a.I64(), b.I64())
	case []int32:
		err = zipIntegers(n.Op.Name, y, a.I32(), b.I32())
	case []uint8:
		err = zipIntegers(n.Op.Name, y, a.U8(), b.U8())
	case []int8:
		err = zipIntegers(n.Op.Name, y, a.S8(), b.S8())
	default:
		err = fmt.Errorf("no %s of %v", n.Op.Name, a.DType)
	}
	return []*Tensor{out}, err
}

func zip[E any](y, a, b []E, f func(a, b E) E) {
	for i := range y {
		y[i] = f(a[i], b[i])
	}
}

func max64(a, b float64) float64 { return max(a, b) }
func min64(a, b float64) float64 { return min(a, b) }

func realFunction[T real](name string, maximum, minimum, power, remainder func(a, b T) T) func(a, b T) T {
	switch name {
	case "add":
		return func(a, b T) T { return a + b }
	case "subtract":
		return func(a, b T) T { return a - b }
	case "multiply":
		return func(a, b T) T { return T(a * b) }
	case "divide":
		return func(a, b T) T { return a / b }
	case "maximum":
		return maximum
	case "minimum":
		return minimum
	case "power":
		return power
	}
	return remainder
}

func zipIntegers[E int64 | int32 | uint8 | int8](name string, y, a, b []E) error {
	f := map[string]func(a, b E) E{
		"add":      func(a, b E) E { return a + b },
		"subtract": func(a, b E) E { return a - b },
		"multiply": func(a, b E) E { return a * b },
		"maximum":  func(a, b E) E { return max(a, b) },
		"minimum":  func(a, b E) E { return min(a, b) },
		"divide":   func(a, b E) E { return a / b },
		"remainder": func(a, b E) E {
			return a % b
		},
		"power": func(a, b E) E { return E(math.Pow(float64(a), float64(b))) },
	}[name]
	for i := range y {
		if b[i] == 0 && (name == "divide" || name == "remainder") {
			return fmt.Errorf("integer division by zero at element %d", i)
		}
		y[i] = f(a[i], b[i])
	}
	return nil
}

func evalCompare(n *Node, in []*Tensor) ([]*Tensor, error) {
	shape, err := Broadcast(in[0].Shape, in[1].Shape)
	if err != nil {
		return nil, err
	}
	a, b := expanded(in[0], shape), expanded(in[1], shape)
	out := NewTensor(Bool, shape...)
	y := out.Data.([]bool)
	dir := n.Str("direction")
	if x, ok := a.Data.([]int64); ok { // beyond 2^53 a float64 would not tell them apart
		for i, v := range b.I64() {
			y[i] = ordered(dir, x[i] < v, x[i] == v, x[i] > v)
		}
		return []*Tensor{out}, nil
	}
	for i := range y {
		p, q := a.At(i), b.At(i)
		y[i] = ordered(dir, p < q, p == q, p > q)
	}
	return []*Tensor{out}, nil
}

func ordered(dir string, less, equal, greater bool) bool {
	switch dir {
	case "EQ":
		return equal
	case "NE":
		return !equal
	case "LT":
		return less
	case "LE":
		return less || equal
	case "GT":
		return greater
	}
	return greater || equal
}

func evalLogical(n *Node, in []*Tensor) ([]*Tensor, error) {
	shape, err := Broadcast(in[0].Shape, in[1].Shape)
	if err != nil {
		return nil, err
	}
	a, b := expanded(in[0], shape).Data.([]bool), expanded(in[1], shape).Data.([]bool)
	out := NewTensor(Bool, shape...)
	f := map[string]func(a, b bool) bool{
		"and": func(a, b bool) bool { return a && b },
		"or":  func(a, b bool) bool { return a || b },
		"xor": func(a, b bool) bool { return a != b },
	}[n.Op.Name]
	zip(out.Data.([]bool), a, b, f)
	return []*Tensor{out}, nil
}

func evalSelect(_ *Node, in []*Tensor) ([]*Tensor, error) {
	s, err := Broadcast(in[1].Shape, in[2].Shape)
	if err == nil {
		s, err = Broadcast(in[0].Shape, s)
	}
	if err != nil {
		return nil, err
	}
	out := expanded(in[2], s)
	if out == in[2] {
		out = out.Clone()
	}
	on := expanded(in[1], s)
	for i, p := range expanded(in[0], s).Data.([]bool) {
		if p {
			copyElemFrom(out, on, i)
		}
	}
	return []*Tensor{out}, nil
}

// copyElemFrom sets element i of dst to that of src, of the same type.
func copyElemFrom(dst, src *Tensor, i int) {
	switch d := dst.Data.(type) {
	case []float32:
		d[i] = src.F32()[i]
	case []float64:
		d[i] = src.Data.([]float64)[i]
	case []uint16:
		d[i] = src.Data.([]uint16)[i]
	case []int64:
		d[i] = src.I64()[i]
	case []int32:
		d[i] = src.I32()[i]
	case []uint8:
		d[i] = src.U8()[i]
	case []int8:
		d[i] = src.S8()[i]
	case []bool:
		d[i] = src.Data.([]bool)[i]
	}
}
