package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

func pool(op string) writer {
	return func(e *exporter, n *ir.Node) error {
		w, err := ir.WindowOf(n)
		if err != nil {
			return err
		}
		a := window(w)
		x := e.first(n.Inputs[0])
		if op == "MaxPool" && wider(w) {
			x = e.padFirst(n, x, w)
			a["pads"] = make([]int, 2*len(w.Kernel))
		}
		if op == "AveragePool" {
			if wider(w) {
				return fmt.Errorf("padding %v, %v is not less than the kernel %v, which runtimes refuse", w.Before, w.After, w.Kernel)
			}
			if slices.Max(w.Dilation) > 1 {
				return fmt.Errorf("AveragePool has no dilation in opset %d", opset)
			}
			delete(a, "dilations")
			if n.Bool("count_include_pad") {
				a["count_include_pad"] = 1
			}
		}
		e.setFirst(n.Out(), e.emit(op, n.Out().Name, a, x))
		return nil
	}
}

// wider says whether a window's padding reaches its kernel's extent, which
// ONNX runtimes do not take.
func wider(w ir.Window) bool {
	for i, k := range w.Kernel {
		if w.Before[i] >= k || w.After[i] >= k {
			return true
		}
	}
	return false
}

// padFirst pads the spatial axes of a tensor with channels first by the least
// value of its type.
func (e *exporter) padFirst(n *ir.Node, x string, w ir.Window) string {
	t := n.Inputs[0].Type.DType
	least := math.Inf(-1)
	if t.Is8Bit() {
		lo, _ := t.Range()
		least = float64(lo)
	}
	pads := append([]int{0, 0}, w.Before...)
	pads = append(append(pads, 0, 0), w.After...)
	return e.emit("Pad", n.Out().Name+"_pad", attrs{"mode": "constant"}, x, e.ints(pads...), e.number(t, least))
}

// reduced writes a reduction of x, which is v in one of its orders.
func (e *exporter) reduced(op string, n *ir.Node, x string, first bool) (string, error) {
	axes, err := ir.ReduceAxes(n)
	if err != nil {
		return "", err
	}
	r := len(n.Inputs[0].Type.Shape)
	for i, a := range axes {
		axes[i] = axisIn(a, r, first)
	}
	slices.Sort(axes)
	keep := 0
	if n.Bool("keep_dims") {
		keep = 1
	}
	spatial := first && keep == 1 && len(axes) == r-2 && axes[0] == 2
	switch {
	case op == "ReduceMean" && spatial:
		return e.emit("GlobalAveragePool", n.Out().Name, nil, x), nil
	case op == "ReduceSum": // axes are an input since opset 13
		return e.emit(op, n.Out().Name, attrs{"keepdims": keep}, x, e.ints(axes...)), nil
	}
	return e.emit(op, n.Out().Name, attrs{"axes": axes, "keepdims": keep}, x), nil
}

func reduce(op string) writer {
	return func(e *exporter, n *ir.Node) error {
		x := n.Inputs[0]
		// What is left when axes disappear is in nasc's order only where it is
		// [N,C]: all spatial axes, and they alone, are reduced.
		axes, r := mustAxes(n), len(x.Type.Shape)
		spatial := len(axes) == r-2 && !slices.Contains(axes, 0) && !slices.Contains(axes, r-1)
		first := e.hasFirst(x) && (n.Bool("keep_dims") || spatial)
		src := e.get
		if first {
			src = e.first
		}
		y, err := e.reduced(op, n, src(x), first)
		if err != nil {
			return err
		}
		e.put(n.Out(), y, first && n.Bool("keep_dims"))
		return nil
	}
}

func mustAxes(n *ir.Node) []int {
	axes, err := ir.ReduceAxes(n)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return axes
}
