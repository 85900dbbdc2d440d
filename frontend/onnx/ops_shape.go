package onnx

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// shapeOps make and read shapes; with known input shapes nothing of them is
// left in the graph.
var shapeOps = map[string]converter{
	"Shape":           shapeOf,
	"Size":            sizeOf,
	"Constant":        constant,
	"ConstantOfShape": constantOfShape,
	"Range":           rangeOf,
	"Reshape":         reshape,
	"Flatten":         flatten,
	"Squeeze":         squeeze,
	"Unsqueeze":       unsqueeze,
	"Expand":          expand,
	"Tile":            tile,
}

// numbers gives a list of integers as a constant, or as an item with
// multiples of N.
func (n *node) numbers(d []dim, scalar bool) ([]item, error) {
	out := make([]int64, len(d))
	for i, e := range d {
		if e.sym {
			return []item{{dims: d, scalar: scalar}}, nil
		}
		out[i] = int64(e.k)
	}
	if scalar {
		return one(n.c.g.Const(n.resultName(), ir.From(out)))
	}
	return one(n.c.g.Const(n.resultName(), ir.From(out, len(out))))
}

func shapeOf(n *node) ([]item, error) {
	if it := n.item(0); it.dims != nil {
		return n.numbers([]dim{{k: len(it.dims)}}, false)
	}
	s := n.in(0).Type.Shape
	start, end := n.attrInt("start", 0), n.attrInt("end", len(s))
	bound := func(i int) int {
		if i < 0 {
			i += len(s)
		}
		return min(max(i, 0), len(s))
	}
	start, end = bound(start), bound(end)
	var d []dim
	for i := start; i < end; i++ {
		d = append(d, dimOf(s[i]))
	}
	return n.numbers(d, false)
}

func sizeOf(n *node) ([]item, error) {
	p, err := ir.MulDims(n.in(0).Type.Shape...)
	if err != nil {
		return nil, err
	}
	return n.numbers([]dim{dimOf(p)}, true)
}

func constant(n *node) ([]item, error) {
	for name, a := range n.attrs {
		switch name {
		case "value":
			t, err := n.c.tensor(a.GetT())
			if err != nil {
				return nil, err
			}
			return one(n.c.g.Const(n.resultName(), t))
		case "value_float":
			return one(n.c.g.Const(n.resultName(), ir.Scalar(a.GetF())))
		case "value_floats":
			return one(n.c.g.Const(n.resultName(), ir.From(a.GetFloats(), len(a.GetFloats()))))
		case "value_int":
			return one(n.c.g.Const(n.resultName(), ir.Scalar(a.GetI())))
		case "value_ints":
			return one(n.c.g.Const(n.resultName(), ir.From(a.GetInts(), len(a.GetInts()))))
		}
	}
	return nil, fmt.Errorf("no value that nasc can take (tensor, floats or integers)")
}

func constantOfShape(n *node) ([]item, error) {
	value := ir.Scalar(float32(0))
	if a := n.attrs["value"]; a != nil {
		var err error
		if value, err = n.c.tensor(a.GetT()); err != nil {
			return nil, err
		}
		if value.Len() != 1 {
			return nil, fmt.Errorf("value has %d elements, wanted 1", value.Len())
		}
	}
	s, err := n.shape(n.dims(0, "shape"))
	if err != nil {
		return nil, err
	}
	v := n.c.g.Const(n.resultName()+".value", value.Reshaped())
	return one(n.emit("broadcast", ir.Attrs{"shape": s}, v))
}

// shape checks a list of extents.
func (n *node) shape(d []dim) (ir.Shape, error) {
	s := make(ir.Shape, len(d))
	total := 1
	for i, e := range d {
		if e.k < 0 || e.sym && e.k == 0 {
			return nil, fmt.Errorf("an extent of %d", e.k)
		}
		s[i] = e.shape()
		if e.k > 0 {
			if total > maxElems/e.k {
				return nil, fmt.Errorf("shape %v has more than 2^31 elements", s)
			}
			total *= e.k
		}
	}
	return s, n.err
}

func rangeOf(n *node) ([]item, error) {
	start, limit, delta := n.constant(0, "start"), n.constant(1, "limit"), n.constant(2, "delta")
	if n.err != nil {
		return nil, n.err
	}
	if start.Len() != 1 || limit.Len() != 1 || delta.Len() != 1 || delta.At(0) == 0 {
		return nil, fmt.Errorf("wanted three numbers and a step other than 0")
	}
	count := int(max(0, math.Ceil((limit.At(0)-start.At(0))/delta.At(0))))
	if count > maxFolded*16 {
		return nil, fmt.Errorf("%d numbers", count)
	}
	t := ir.NewTensor(start.DType, count)
	for i := range count {
		t.Set(i, start.At(0)+float64(i)*delta.At(0))
	}
	return one(n.c.g.Const(n.resultName(), t))
}

func reshape(n *node) ([]item, error) {
	if it := n.item(0); it.dims != nil { // scalar ↔ vector of one
		want := n.ints(1, "shape")
		if n.err == nil && (len(want) == 0 || len(want) == 1) {
			return []item{{dims: it.dims, scalar: len(want) == 0}}, nil
		}
		return nil, errSymbolic
	}
	x := n.in(0)
	want := n.dims(1, "shape")
	if n.err != nil {
		return nil, n.err
	}
	zero := n.attrInt("allowzero", 0) != 0
	infer := -1
	out := make(ir.Shape, len(want))
	var known []int
	for i, d := range want {
		switch {
		case !d.sym && d.k == -1:
			if infer >= 0 {
				return nil, fmt.Errorf("shape %v has two −1", want)
			}
			infer = i
			continue
		case !d.sym && d.k == 0 && !zero:
			if i >= len(x.Type.Shape) {
				return nil, fmt.Errorf("a 0 in place %d copies an axis that %v has not", i, x.Type)
			}
			out[i] = x.Type.Shape[i]
		case d.k < 0:
			return nil, fmt.Errorf("an extent of %d", d.k)
		default:
			out[i] = d.shape()
		}
		known = append(known, out[i])
	}
	if infer >= 0 {
		d, err := divide(x.Type.Shape, known)
		if err != nil {
			return nil, fmt.Errorf("%v to %v: %w", x.Type, out, err)
		}
		out[infer] = d
	} else if p, err := ir.MulDims(known...); err == nil {
		// A file exported with a fixed batch says 1 where it means N.
		if q, err := ir.MulDims(x.Type.Shape...); err == nil && q < 0 && p > 0 && p == -q && len(out) > 0 && out[0] == 1 {
			out[0] = ir.Batch
		} else if err == nil && q < 0 && p > 0 {
			return nil, errSymbolic
		}
	}
	if _, err := n.shape(dimsOf(out)); err != nil {
		return nil, err
	}
	return one(n.emit("reshape", ir.Attrs{"shape": out}, x))
}

func dimsOf(s ir.Shape) []dim {
	d := make([]dim, len(s))
	for i, e := range s {
		d[i] = dimOf(e)
	}
	return d
}

// divide gives the extent missing among known, so that all make up full.
func divide(full ir.Shape, known []int) (int, error) {
	p, err := ir.MulDims(full...)
	if err != nil {
		return 0, err
	}
	q, err := ir.MulDims(known...)
	if err != nil {
		return 0, err
	}
	switch {
	case q == 0:
		return 0, fmt.Errorf("an extent of 0 leaves the rest open")
	case p < 0 && q < 0:
		p, q = -p, -q
	case q < 0:
		return 0, errSymbolic
	}
	if p%q != 0 {
		return 0, fmt.Errorf("%d elements do not divide by %d", p, q)
	}
	return p / q, nil
}

func flatten(n *node) ([]item, error) {
	x := n.in(0)
	r := len(x.Type.Shape)
	axis := n.attrInt("axis", 1)
	if axis < 0 {
		axis += r
	}
	if axis < 0 || axis > r {
		return nil, fmt.Errorf("axis %d of %v", axis, x.Type)
	}
	a, err := ir.MulDims(x.Type.Shape[:axis]...)
	if err != nil {
		return nil, err
	}
	b, err := ir.MulDims(x.Type.Shape[axis:]...)
	if err != nil {
		return nil, err
	}
	return one(n.emit("reshape", ir.Attrs{"shape": ir.Shape{a, b}}, x))
}

func (n *node) squeezeAxes() []int {
	if n.has(1) {
		return n.ints(1, "axes")
	}
	return n.attrInts("axes")
}

func squeeze(n *node) ([]item, error) {
	axes := n.squeezeAxes()
	if it := n.item(0); it.dims != nil {
		return []item{{dims: it.dims, scalar: true}}, nil
	}
	x := n.in(0)
	drop := map[int]bool{}
	for _, a := range axes {
		drop[n.axis(a, len(x.Type.Shape))] = true
	}
	s := ir.Shape{}
	for i, d := range x.Type.Shape {
		switch {
		case drop[i] && d != 1:
			return nil, fmt.Errorf("axis %d of %v is not 1", i, x.Type)
		case drop[i] || len(axes) == 0 && d == 1:
		default:
			s = append(s, d)
		}
	}
	return one(n.emit("reshape", ir.Attrs{"shape": s}, x))
}

func unsqueeze(n *node) ([]item, error) {
	axes := n.squeezeAxes()
	if it := n.item(0); it.dims != nil {
		if it.scalar && len(axes) == 1 {
			return []item{{dims: it.dims}}, nil
		}
		return nil, errSymbolic
	}
	x := n.in(0)
	r := len(x.Type.Shape) + len(axes)
	add := map[int]bool{}
	for _, a := range axes {
		add[n.axis(a, r)] = true
	}
	if len(add) != len(axes) {
		return nil, fmt.Errorf("axes %v name one twice", axes)
	}
	s := ir.Shape{}
	at := 0
	for i := range r {
		if add[i] {
			s = append(s, 1)
		} else {
			s = append(s, x.Type.Shape[at])
			at++
		}
	}
	return one(n.emit("reshape", ir.Attrs{"shape": s}, x))
}

func expand(n *node) ([]item, error) {
	x := n.in(0)
	want, err := n.shape(n.dims(1, "shape"))
	if err != nil {
		return nil, err
	}
	s, err := ir.Broadcast(x.Type.Shape, want)
	if err != nil {
		return nil, err
	}
	return one(n.emit("broadcast", ir.Attrs{"shape": s}, x))
}

func tile(n *node) ([]item, error) {
	x := n.in(0)
	times := n.dims(1, "repeats")
	s := x.Type.Shape
	if len(times) != len(s) {
		return nil, fmt.Errorf("%d repeats for %v", len(times), x.Type)
	}
	var split, wide, out ir.Shape
	for i, d := range s {
		t := times[i]
		if d == 1 {
			split, wide, out = append(split, 1), append(wide, t.shape()), append(out, t.shape())
			continue
		}
		if t.k < 1 || t.sym {
			return nil, errSymbolic
		}
		split, wide = append(split, 1, d), append(wide, t.k, d)
		if d < 0 && t.k > 1 {
			return nil, errSymbolic
		}
		out = append(out, d*t.k)
	}
	if _, err := n.shape(dimsOf(out)); err != nil {
		return nil, err
	}
	y := n.emit("reshape", ir.Attrs{"shape": split}, x)
	y = n.emit("broadcast", ir.Attrs{"shape": wide}, y)
	return one(n.emit("reshape", ir.Attrs{"shape": out}, y))
}
