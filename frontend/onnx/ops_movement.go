package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

var movementOps = map[string]converter{
	"Concat":       concat,
	"Split":        split,
	"Slice":        slice,
	"Pad":          pad,
	"Transpose":    transpose,
	"Gather":       gather,
	"Resize":       resize,
	"Upsample":     resize,
	"DepthToSpace": depthToSpace,
	"SpaceToDepth": spaceToDepth,
}

func concat(n *node) ([]item, error) {
	k := len(n.p.GetInput())
	for i := range k {
		if n.item(i).dims == nil {
			continue
		}
		var all []dim
		for j := range k {
			all = append(all, n.dims(j, "part")...)
		}
		return []item{{dims: all}}, n.err
	}
	in := make([]*ir.Value, k)
	for i := range in {
		in[i] = n.in(i)
	}
	if k == 1 {
		return one(in[0])
	}
	axis := n.attrInt("axis", 0)
	// Parts of extent 0 say nothing, and other frameworks leave them in.
	return one(n.emit("concatenate", ir.Attrs{"axis": axis}, in...))
}

func split(n *node) ([]item, error) {
	x := n.in(0)
	axis := n.axis(n.attrInt("axis", 0), len(x.Type.Shape))
	if n.err != nil {
		return nil, n.err
	}
	sizes := n.attrInts("split")
	if n.has(1) {
		sizes = n.ints(1, "sizes")
	}
	d := x.Type.Shape[axis]
	if sizes == nil {
		k := n.attrInt("num_outputs", len(n.p.GetOutput()))
		if d < 0 {
			return nil, errSymbolic
		}
		if k < 1 || k > d {
			return nil, fmt.Errorf("axis %d of %v in %d parts", axis, x.Type, k)
		}
		part := (d + k - 1) / k
		for i := range k {
			sizes = append(sizes, min(part, d-i*part))
		}
	}
	var out []item
	for _, v := range n.emitAll("split", ir.Attrs{"axis": axis, "sizes": sizes}, x) {
		out = append(out, item{v: v})
	}
	return out, n.err
}

func slice(n *node) ([]item, error) {
	var starts, ends, axes, steps []int
	if n.c.opset < 10 {
		starts, ends, axes = n.attrInts("starts"), n.attrInts("ends"), n.attrInts("axes")
	} else {
		starts, ends = n.ints(1, "starts"), n.ints(2, "ends")
		if n.has(3) {
			axes = n.ints(3, "axes")
		}
		if n.has(4) {
			steps = n.ints(4, "steps")
		}
	}
	if n.err != nil {
		return nil, n.err
	}
	if axes == nil {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || steps != nil && len(steps) != len(starts) {
		return nil, fmt.Errorf("%d starts, %d ends, %d axes, %d steps", len(starts), len(ends), len(axes), len(steps))
	}
	if it := n.item(0); it.dims != nil {
		if len(starts) != 1 || steps != nil && steps[0] != 1 {
			return nil, errSymbolic
		}
		lo, hi := bounds(starts[0], ends[0], 1, len(it.dims))
		return n.numbers(it.dims[lo:max(lo, hi)], false)
	}
	x := n.in(0)
	s := x.Type.Shape
	start, limit, stride := make([]int, len(s)), s.Clone(), make([]int, len(s))
	for i := range stride {
		stride[i] = 1
	}
	for i, a := range axes {
		a = n.axis(a, len(s))
		if n.err != nil {
			return nil, n.err
		}
		step := 1
		if steps != nil {
			step = steps[i]
		}
		if step == 0 {
			return nil, fmt.Errorf("a step of 0")
		}
		if s[a] < 0 {
			if starts[i] == 0 && ends[i] >= math.MaxInt32 && step == 1 {
				continue
			}
			return nil, errSymbolic
		}
		start[a], limit[a] = bounds(starts[i], ends[i], step, s[a])
		stride[a] = step
		switch {
		case step > 0:
			limit[a] = max(limit[a], start[a])
		default: // our limit is included
			limit[a] = min(limit[a]+1, start[a]+1)
		}
	}
	return one(n.emit("slice", ir.Attrs{"start": start, "limit": limit, "stride": stride}, x))
}

// bounds clamps ONNX's start and end to an axis of extent d.
func bounds(start, end, step, d int) (lo, hi int) {
	if start < 0 {
		start += d
	}
	if end < 0 {
		end = max(end+d, -1)
	}
	if step > 0 {
		return min(max(start, 0), d), min(max(end, 0), d)
	}
	if end == math.MaxInt32 || end == math.MaxInt64 { // backwards too this says: to the last element
		end = -1
	}
	return min(max(start, 0), d-1), min(max(end, -1), d-1)
}

func pad(n *node) ([]item, error) {
	x := n.in(0)
	r := len(x.Type.Shape)
	var pads []int
	value := 0.0
	if n.c.opset < 11 {
		pads, value = n.attrInts("pads"), n.attrFloat("value", 0)
	} else {
		pads = n.ints(1, "pads")
		if v := n.opt(2); v != nil {
			if !v.IsConst() || v.Const.Len() != 1 {
				return nil, fmt.Errorf("the value is computed while the model runs")
			}
			value = v.Const.At(0)
		}
	}
	low, high := make([]int, r), make([]int, r)
	axes := make([]int, r)
	for i := range axes {
		axes[i] = i
	}
	if n.has(3) {
		axes = n.ints(3, "axes")
	}
	if n.err != nil {
		return nil, n.err
	}
	if len(pads) != 2*len(axes) {
		return nil, fmt.Errorf("%d pads for %d axes", len(pads), len(axes))
	}
	for i, a := range axes {
		a = n.axis(a, r)
		if n.err != nil {
			return nil, n.err
		}
		low[a], high[a] = pads[i], pads[i+len(axes)]
	}
	mode := n.attrStr("mode", "constant")
	if mode != "constant" && mode != "edge" && mode != "reflect" {
		return nil, fmt.Errorf("mode %q is not had", mode)
	}
	attrs := ir.Attrs{"low": low, "high": high, "mode": mode}
	if mode == "constant" {
		attrs["value"] = value
	}
	return one(n.emit("pad", attrs, x))
}

func transpose(n *node) ([]item, error) {
	x := n.in(0)
	perm := n.attrInts("perm")
	if perm == nil {
		for i := len(x.Type.Shape) - 1; i >= 0; i-- {
			perm = append(perm, i)
		}
	}
	if len(perm) != len(x.Type.Shape) {
		return nil, fmt.Errorf("perm %v of %v", perm, x.Type)
	}
	if stored(x) {
		for i, p := range perm {
			if p < 0 || p >= len(perm) {
				return nil, fmt.Errorf("perm %v of %v", perm, x.Type)
			}
			for _, q := range perm[:i] {
				if p == q {
					return nil, fmt.Errorf("perm %v names an axis twice", perm)
				}
			}
		}
		return one(n.turn(x, perm))
	}
	return one(n.emit("transpose", ir.Attrs{"permutation": perm}, x))
}

func gather(n *node) ([]item, error) {
	if it := n.item(0); it.dims != nil {
		idx := n.constant(1, "indices")
		if n.err != nil {
			return nil, n.err
		}
		var out []dim
		for _, i := range idx.Ints() {
			if i < 0 {
				i += len(it.dims)
			}
			if i < 0 || i >= len(it.dims) {
				return nil, fmt.Errorf("index %d of %d numbers", i, len(it.dims))
			}
			out = append(out, it.dims[i])
		}
		return n.numbers(out, len(idx.Shape) == 0)
	}
	x, idx := n.in(0), n.in(1)
	axis := n.axis(n.attrInt("axis", 0), len(x.Type.Shape))
	if n.err != nil {
		return nil, n.err
	}
	// One constant place of an axis is a slice, which costs nothing.
	if idx.IsConst() && idx.Const.Len() == 1 && len(idx.Type.Shape) == 0 && !x.IsConst() && x.Type.Shape[axis] > 0 {
		i, s := idx.Const.Int(0), x.Type.Shape
		if i < 0 {
			i += s[axis]
		}
		if i < 0 || i >= s[axis] {
			return nil, fmt.Errorf("index %d on axis %d of %v", i, axis, x.Type)
		}
		start, limit := make([]int, len(s)), s.Clone()
		start[axis], limit[axis] = i, i+1
		y := n.emit("slice", ir.Attrs{"start": start, "limit": limit}, x)
		return one(n.emit("reshape", ir.Attrs{"shape": append(s[:axis].Clone(), s[axis+1:]...)}, y))
	}
	return one(n.emit("gather", ir.Attrs{"axis": axis}, x, idx))
}

// resize reads Resize of every opset, and Upsample. Only spatial axes of an
// NCHW tensor may change.
func resize(n *node) ([]item, error) {
	x := n.in(0)
	s := x.Type.Shape
	r := len(s)
	if r < 3 {
		return nil, fmt.Errorf("input is %v; wanted [N,C,spatial…]", x.Type)
	}
	mode := n.attrStr("mode", "nearest")
	coordinates := n.attrStr("coordinate_transformation_mode", "half_pixel")
	nearest := n.attrStr("nearest_mode", "round_prefer_floor")
	scalesAt, sizesAt := 2, 3
	if n.c.opset < 11 || n.p.GetOpType() == "Upsample" {
		coordinates, nearest, scalesAt, sizesAt = "asymmetric", "floor", 1, -1
	}
	switch coordinates {
	case "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel":
	default:
		return nil, fmt.Errorf("coordinate_transformation_mode %q is not had", coordinates)
	}
	n.refuse("antialias", 0)
	n.refuse("exclude_outside", 0)
	n.refuse("keep_aspect_ratio_policy", "stretch")
	var scales []float64
	if a := n.attrs["scales"]; a != nil {
		for _, f := range a.GetFloats() {
			scales = append(scales, float64(f))
		}
	} else if n.has(scalesAt) {
		t := n.constant(scalesAt, "scales")
		for i := range t.Len() {
			scales = append(scales, t.At(i))
		}
	}
	axes := n.attrInts("axes")
	if axes == nil {
		for a := range r {
			axes = append(axes, a)
		}
	}
	size := make([]int, r-2)
	factor := make([]float64, r-2)
	copy(size, s[2:])
	for i := range factor {
		factor[i] = 1
	}
	set := func(a, d int, f float64) error {
		if a = n.axis(a, r); a < 2 {
			if n.err == nil && d != s[a] {
				return fmt.Errorf("resizes axis %d of %v; wanted spatial axes only", a, x.Type)
			}
			return n.err
		}
		if d < 1 || s[a] < 1 || d > 1<<20 {
			return fmt.Errorf("resizes axis %d of %v to %d", a, x.Type, d)
		}
		size[a-2], factor[a-2] = d, f
		return nil
	}
	exact := true
	switch {
	case len(scales) == len(axes):
		for i, a := range axes {
			d := s[n.axis(a, r)]
			out := int(math.Floor(float64(d) * scales[i]))
			if d < 0 && scales[i] == 1 {
				out = d
			}
			if err := set(a, out, scales[i]); err != nil {
				return nil, err
			}
			exact = exact && float64(out) == float64(d)*scales[i]
		}
	case sizesAt > 0 && n.has(sizesAt):
		want := n.dims(sizesAt, "sizes")
		if len(want) != len(axes) {
			return nil, fmt.Errorf("%d sizes for %d axes", len(want), len(axes))
		}
		for i, a := range axes {
			if err := set(a, want[i].shape(), 0); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("neither scales nor sizes for %v", x.Type)
	}
	if n.p.GetOpType() == "Resize" && n.c.opset == 10 && mode == "nearest" && slices.Min(factor) < 1 {
		// The spec is silent; onnxruntime takes the next pixel on axes that shrink.
		if slices.Max(factor) > 1 {
			return nil, fmt.Errorf("scales %v both shrink and grow in opset 10, whose nearest pixel is not defined", scales)
		}
		nearest = "ceil"
	}
	attrs := ir.Attrs{"size": size, "mode": mode, "coordinates": coordinates, "nearest_mode": nearest, "cubic_a": n.attrFloat("cubic_coeff_a", -0.75)}
	if !exact {
		attrs["scales"] = factor
	}
	return one(n.channelsFirst(n.emit("resize", attrs, n.channelsLast(x))))
}

// depthToSpace moves blocks of channels into space.
func depthToSpace(n *node) ([]item, error) {
	x := n.in(0)
	s, b := x.Type.Shape, n.attrInt("blocksize", 0)
	if len(s) != 4 || b < 1 || s[1]%(b*b) != 0 || s[2] < 0 || s[3] < 0 {
		return nil, fmt.Errorf("blocksize %d of %v", b, x.Type)
	}
	c := s[1] / (b * b)
	shape, perm := ir.Shape{s[0], b, b, c, s[2], s[3]}, []int{0, 3, 4, 1, 5, 2}
	if n.attrStr("mode", "DCR") == "CRD" {
		shape, perm = ir.Shape{s[0], c, b, b, s[2], s[3]}, []int{0, 1, 4, 2, 5, 3}
	}
	y := n.emit("transpose", ir.Attrs{"permutation": perm}, n.emit("reshape", ir.Attrs{"shape": shape}, x))
	return one(n.emit("reshape", ir.Attrs{"shape": ir.Shape{s[0], c, s[2] * b, s[3] * b}}, y))
}

func spaceToDepth(n *node) ([]item, error) {
	x := n.in(0)
	s, b := x.Type.Shape, n.attrInt("blocksize", 0)
	if len(s) != 4 || b < 1 || s[2] < 0 || s[3] < 0 || s[2]%b != 0 || s[3]%b != 0 {
		return nil, fmt.Errorf("blocksize %d of %v", b, x.Type)
	}
	y := n.emit("reshape", ir.Attrs{"shape": ir.Shape{s[0], s[1], s[2] / b, b, s[3] / b, b}}, x)
	y = n.emit("transpose", ir.Attrs{"permutation": []int{0, 3, 5, 1, 2, 4}}, y)
	return one(n.emit("reshape", ir.Attrs{"shape": ir.Shape{s[0], s[1] * b * b, s[2] / b, s[3] / b}}, y))
}
