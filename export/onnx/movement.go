package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

var movementOps = map[string]writer{
	"concatenate": concatenate,
	"slice":       slice,
	"pad":         pad,
	"reshape":     reshape,
	"transpose":   transpose,
	"broadcast":   broadcast,
	"gather": func(e *exporter, n *ir.Node) error {
		e.set(n.Out(), e.emit("Gather", n.Out().Name, attrs{"axis": n.Int("axis")}, e.get(n.Inputs[0]), e.get(n.Inputs[1])))
		return nil
	},
	"split":  split,
	"resize": resize,
}

func concatenate(e *exporter, n *ir.Node) error {
	in, first := e.aligned(n, n.Inputs)
	e.put(n.Out(), e.emit("Concat", n.Out().Name, attrs{"axis": axisIn(n.Int("axis"), len(n.Out().Type.Shape), first)}, in...), first)
	return nil
}

// source gives an operand in the order that it has in the file.
func (e *exporter) source(v *ir.Value) (name string, first bool) {
	if e.hasFirst(v) {
		return e.first(v), true
	}
	return e.get(v), false
}

func slice(e *exporter, n *ir.Node) error {
	x, first := e.source(n.Inputs[0])
	var starts, ends, axes, steps []int
	r := len(n.Inputs[0].Type.Shape)
	for a := range r {
		start, limit, stride, extent, err := ir.SliceAxis(n, a)
		if err != nil {
			return err
		}
		if d := n.Inputs[0].Type.Shape[a]; d < 0 || extent == d && stride == 1 {
			continue
		}
		if stride < 0 { // our limit is included; before index 0 there is only −∞
			if limit--; limit < 0 {
				limit = math.MinInt32
			}
		}
		starts, ends, axes, steps = append(starts, start), append(ends, limit), append(axes, axisIn(a, r, first)), append(steps, stride)
	}
	if starts == nil {
		e.put(n.Out(), x, first)
		return nil
	}
	e.put(n.Out(), e.emit("Slice", n.Out().Name, nil, x, e.ints(starts...), e.ints(ends...), e.ints(axes...), e.ints(steps...)), first)
	return nil
}

func pad(e *exporter, n *ir.Node) error {
	x, first := e.source(n.Inputs[0])
	low, high := n.Ints("low"), n.Ints("high")
	if first {
		p := toFirst(len(low))
		low, high = permuted(low, p), permuted(high, p)
	}
	t := n.Inputs[0].Type
	v := n.Float("value")
	if t.Quant != nil {
		v = float64(t.Quant.ZeroAt(0))
	}
	in := []string{x, e.ints(append(slices.Clone(low), high...)...)}
	if n.Str("mode") == "constant" {
		in = append(in, e.number(t.DType, v))
	}
	e.put(n.Out(), e.emit("Pad", n.Out().Name, attrs{"mode": n.Str("mode")}, in...), first)
	return nil
}

func permuted(v, p []int) []int {
	out := make([]int, len(p))
	for i, a := range p {
		out[i] = v[a]
	}
	return out
}

func reshape(e *exporter, n *ir.Node) error {
	x, s := n.Inputs[0], n.Out().Type.Shape
	// [N,1,1,C] to [N,C] needs no turning back when channels come first.
	if e.hasFirst(x) && len(s) == 2 && x.Type.Shape[1:len(x.Type.Shape)-1].Elems() == 1 {
		e.set(n.Out(), e.emit("Reshape", n.Out().Name, nil, e.first(x), e.shape(s)))
		return nil
	}
	e.set(n.Out(), e.emit("Reshape", n.Out().Name, nil, e.get(x), e.shape(s)))
	return nil
}

// transpose between NHWC and NCHW is only another name for the same tensor.
func transpose(e *exporter, n *ir.Node) error {
	x, p := n.Inputs[0], n.Ints("permutation")
	r := len(p)
	switch {
	case r >= 3 && slices.Equal(p, toLast(r)) && !e.hasFirst(x):
		e.setFirst(n.Out(), e.get(x))
	case r >= 3 && slices.Equal(p, toFirst(r)) && e.forms(x).first != "":
		e.set(n.Out(), e.forms(x).first)
	default:
		e.set(n.Out(), e.emit("Transpose", n.Out().Name, attrs{"perm": p}, e.get(x)))
	}
	return nil
}

func broadcast(e *exporter, n *ir.Node) error {
	x, s := n.Inputs[0].Type.Shape, n.Out().Type.Shape
	out := make([]int, len(s))
	open := false // whether the batch is repeated over
	for i, d := range s {
		out[i] = d
		if d < 0 {
			k := i - (len(s) - len(x))
			open = open || k < 0 || x[k] != d
			out[i] = 1
		}
	}
	shape := e.ints(out...)
	if open {
		var err error
		if shape, err = e.openShape(n.Out().Name, s); err != nil {
			return err
		}
	}
	e.set(n.Out(), e.emit("Expand", n.Out().Name, nil, e.get(n.Inputs[0]), shape))
	return nil
}

// openShape computes a shape with the batch in it from an input's shape.
func (e *exporter) openShape(name string, s ir.Shape) (string, error) {
	for _, v := range e.g.Inputs {
		a := slices.Index(v.Type.Shape, ir.Batch)
		if a < 0 {
			continue
		}
		batch := e.emit("Gather", name+"_n", attrs{"axis": 0}, e.emit("Shape", name+"_shape", nil, e.get(v)), e.ints(a))
		// Multiples of N are negative: −N·d is d times the batch.
		factor, fixed := make([]int, len(s)), make([]int, len(s))
		for i, d := range s {
			factor[i], fixed[i] = max(-d, 0), max(d, 0)
		}
		return e.emit("Add", name+"_dims", nil, e.emit("Mul", name+"_open", nil, e.ints(factor...), batch), e.ints(fixed...)), nil
	}
	return "", fmt.Errorf("repeats over the batch, which no input has as an axis")
}

func split(e *exporter, n *ir.Node) error {
	x, first := e.source(n.Inputs[0])
	var out []string
	for _, v := range n.Outputs {
		name := e.unique(v.Name)
		out = append(out, name)
		e.put(v, name, first)
	}
	e.emitN("Split", out, attrs{"axis": axisIn(n.Int("axis"), len(n.Inputs[0].Type.Shape), first)}, x, e.ints(n.Ints("sizes")...))
	return nil
}

// resized writes a Resize of a tensor with channels first.
func (e *exporter) resized(n *ir.Node, x string) string {
	s := n.Inputs[0].Type.Shape
	a := attrs{"mode": n.Str("mode"), "coordinate_transformation_mode": n.Str("coordinates")}
	switch n.Str("mode") {
	case "nearest":
		a["nearest_mode"] = n.Str("nearest_mode")
	case "cubic":
		a["cubic_coeff_a"] = n.Float("cubic_a")
	}
	size := n.Ints("size")
	scales := filled(1, len(s))
	for i, d := range size {
		f := float32(float64(d) / float64(s[i+1]))
		for float64(f)*float64(s[i+1]) < float64(d) { // runtimes cut the product down to an integer
			f = math.Nextafter32(f, math.MaxFloat32)
		}
		scales.F32()[i+2] = f
	}
	if f := n.Floats("scales"); len(f) > 0 {
		for i, v := range f {
			scales.F32()[i+2] = float32(v)
		}
	}
	return e.emit("Resize", n.Out().Name, a, x, "", e.constant("scales", scales))
}

func resize(e *exporter, n *ir.Node) error {
	e.setFirst(n.Out(), e.resized(n, e.first(n.Inputs[0])))
	return nil
}
