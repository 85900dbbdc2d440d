package onnx

import (
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

var poolOps = map[string]converter{
	"MaxPool":           pool("max_pool"),
	"AveragePool":       pool("average_pool"),
	"GlobalAveragePool": globalPool("reduce_mean"),
	"GlobalMaxPool":     globalPool("reduce_max"),
	"ReduceSum":         reduce("reduce_sum"),
	"ReduceMean":        reduce("reduce_mean"),
	"ReduceMax":         reduce("reduce_max"),
	"ReduceMin":         reduce("reduce_min"),
	"ReduceProd":        reduce("reduce_prod"),
	"ReduceL1":          reduceAfter("abs", ""),
	"ReduceL2":          reduceAfter("square", "sqrt"),
	"ReduceSumSquare":   reduceAfter("square", ""),
	"ReduceLogSum":      reduceAfter("", "log"),
	"ReduceLogSumExp":   logSumExp,
	"ArgMax":            argMax,
	"ArgMin":            argMax,
}

func pool(op string) converter {
	return func(n *node) ([]item, error) {
		for _, o := range n.p.GetOutput()[min(1, len(n.p.GetOutput())):] {
			if o != "" {
				return nil, fmt.Errorf("indices are asked for as a result; wanted values only")
			}
		}
		n.refuse("storage_order", 0)
		x := n.in(0)
		kernel := n.attrInts("kernel_shape")
		strides, dilation, pads := n.window(x.Type.Shape, kernel)
		if n.err != nil {
			return nil, n.err
		}
		include := n.attrInt("count_include_pad", 0) != 0
		overhang := make([]int, len(kernel)) // by which ceil_mode's last window passes the end
		if n.attrInt("ceil_mode", 0) != 0 {
			for i, k := range kernel {
				span := (k-1)*dilation[i] + 1
				d := x.Type.Shape[i+2] + pads[i] + pads[i+len(kernel)]
				out := (d-span+strides[i]-1)/strides[i] + 1
				if (out-1)*strides[i] >= x.Type.Shape[i+2]+pads[i] { // a window that starts in the padding is dropped
					out--
				}
				extra := (out-1)*strides[i] + span - d
				if extra > 0 {
					overhang[i] = extra
				}
			}
		}
		x = n.channelsLast(x)
		if op == "average_pool" && include && slices.Max(overhang) > 0 {
			// The file's padding counts, what ceil_mode adds does not: the first
			// becomes zeros of the input.
			r := len(x.Type.Shape)
			low, high := make([]int, r), make([]int, r)
			copy(low[1:], pads[:len(kernel)])
			copy(high[1:], pads[len(kernel):])
			x = n.emit("pad", ir.Attrs{"low": low, "high": high}, x)
			clear(pads)
			include = false
		}
		for i, extra := range overhang {
			pads[i+len(kernel)] += extra
		}
		attrs := ir.Attrs{"kernel": kernel, "strides": strides, "padding": pads, "dilation": dilation}
		if op == "average_pool" {
			attrs["count_include_pad"] = include
		}
		return one(n.channelsFirst(n.emit(op, attrs, x)))
	}
}

func globalPool(op string) converter {
	return func(n *node) ([]item, error) {
		x := n.in(0)
		var axes []int
		for a := 2; a < len(x.Type.Shape); a++ {
			axes = append(axes, a)
		}
		return one(n.emit(op, ir.Attrs{"axes": axes}, x))
	}
}

// axes reads the axes of a reduction, from the attribute or the input.
func (n *node) axes(rank int) (axes []int, keep, none bool) {
	keep = n.attrInt("keepdims", 1) != 0
	axes = n.attrInts("axes")
	if n.has(1) {
		axes = n.ints(1, "axes")
	}
	if len(axes) == 0 {
		if n.attrInt("noop_with_empty_axes", 0) != 0 {
			return nil, keep, true
		}
		for a := range rank {
			axes = append(axes, a)
		}
	}
	return axes, keep, false
}

func reduce(op string) converter {
	return func(n *node) ([]item, error) {
		if it := n.item(0); it.dims != nil {
			if op != "reduce_prod" {
				return nil, errSymbolic
			}
			p := dim{k: 1}
			for _, d := range it.dims {
				if p.sym && d.sym {
					return nil, errSymbolic
				}
				p = dim{p.k * d.k, p.sym || d.sym}
			}
			return []item{{dims: []dim{p}, scalar: n.attrInt("keepdims", 1) == 0}}, nil
		}
		x := n.in(0)
		axes, keep, none := n.axes(len(x.Type.Shape))
		if none {
			return one(x)
		}
		return one(n.emit(op, ir.Attrs{"axes": axes, "keep_dims": keep}, x))
	}
}

// reduceAfter sums a function of x and takes another of the sum.
func reduceAfter(before, after string) converter {
	return func(n *node) ([]item, error) {
		x := n.in(0)
		axes, keep, none := n.axes(len(x.Type.Shape))
		switch before {
		case "square":
			x = n.emit("multiply", nil, x, x)
		case "abs":
			x = n.emit("abs", nil, x)
		}
		if !none {
			x = n.emit("reduce_sum", ir.Attrs{"axes": axes, "keep_dims": keep}, x)
		}
		if after != "" {
			x = n.emit(after, nil, x)
		}
		return one(x)
	}
}

// logSumExp is taken around the greatest value, so that nothing overflows.
func logSumExp(n *node) ([]item, error) {
	x := n.in(0)
	axes, keep, none := n.axes(len(x.Type.Shape))
	if none {
		return one(x)
	}
	top := n.emit("reduce_max", ir.Attrs{"axes": axes, "keep_dims": true}, x)
	e := n.emit("exponential", nil, n.emit("subtract", nil, x, top))
	y := n.emit("log", nil, n.emit("reduce_sum", ir.Attrs{"axes": axes, "keep_dims": keep}, e))
	if !keep {
		top = n.emit("reshape", ir.Attrs{"shape": y.Type.Shape}, top)
	}
	return one(n.emit("add", nil, y, top))
}

func argMax(n *node) ([]item, error) {
	n.refuse("select_last_index", 0)
	x := n.in(0)
	if n.p.GetOpType() == "ArgMin" {
		x = n.emit("negate", nil, x)
	}
	return one(n.emit("arg_max", ir.Attrs{"axis": n.attrInt("axis", 0), "keep_dims": n.attrInt("keepdims", 1) != 0}, x))
}
