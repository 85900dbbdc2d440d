// Package stablehlo writes graphs as StableHLO modules in MLIR text and runs
// them on XLA through a PJRT plugin: the target xla-cpu-int8, and the text that
// export writes. Integer programs keep the arithmetic of quant/README.md to the
// last bit. Only pjrt.go needs cgo. It may not import other backends.
//
// Specification: https://openxla.org/stablehlo/spec
package stablehlo

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// val is an SSA value of the module being written.
type val struct {
	name string
	d    ir.DType
	s    ir.Shape
}

func (v val) typ() string { return tensorType(v.d, v.s) }

var elemNames = map[ir.DType]string{
	ir.F32: "f32", ir.F64: "f64", ir.F16: "f16", ir.BF16: "bf16", ir.I64: "i64", ir.I32: "i32", ir.U8: "ui8", ir.S8: "i8", ir.Bool: "i1",
}

func tensorType(d ir.DType, s ir.Shape) string {
	var b strings.Builder
	b.WriteString("tensor<")
	for _, e := range s {
		b.WriteString(strconv.Itoa(e))
		b.WriteByte('x')
	}
	b.WriteString(elemNames[d])
	b.WriteByte('>')
	return b.String()
}

// writer collects the body of @main.
type writer struct {
	b    bytes.Buffer
	next int
	vals map[*ir.Value]val
}

// Write gives the MLIR text of a static graph: one public function main whose
// arguments and results are the graph's inputs and outputs, weights within.
// A node without a StableHLO form is an error that names it.
func Write(g *ir.Graph) (text string, err error) {
	if !g.Static() {
		return "", &diag.Error{Place: "graph @" + g.Name, Found: "a symbolic batch", Wanted: "a static shape"}
	}
	w := &writer{vals: map[*ir.Value]val{}}
	var args, results, outs []string
	for i, v := range g.Inputs {
		a := val{"%arg" + strconv.Itoa(i), v.Type.DType, v.Type.Shape}
		w.vals[v] = a
		args = append(args, a.name+": "+a.typ())
	}
	var errs diag.List
	for _, n := range g.Nodes {
		if err := w.node(n); err != nil {
			errs.Add(diag.At(n.Op.Name+" "+strconv.Quote(n.Label()), err))
			for _, o := range n.Outputs { // go on, to report every such node
				w.vals[o] = val{"%none", o.Type.DType, o.Type.Shape}
			}
		}
	}
	if err := errs.Err(); err != nil {
		return "", err
	}
	for _, v := range g.Outputs {
		o := w.get(v)
		results = append(results, o.typ())
		outs = append(outs, o.name)
	}
	return fmt.Sprintf("module @%s {\n  func.func public @main(%s) -> (%s) {\n%s    return %s : %s\n  }\n}\n",
		symbol(g.Name), strings.Join(args, ", "), strings.Join(results, ", "), w.b.String(), strings.Join(outs, ", "), strings.Join(results, ", ")), nil
}

func symbol(s string) string {
	b := []byte(s)
	for i, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_') {
			b[i] = '_'
		}
	}
	if len(b) == 0 || b[0] >= '0' && b[0] <= '9' {
		return "m" + string(b)
	}
	return string(b)
}

// get gives a value's name; constants are written where first used.
func (w *writer) get(v *ir.Value) val {
	if o, ok := w.vals[v]; ok {
		return o
	}
	if v.Const == nil {
		panic("BUG: " + v.String() + " is read before it is written")
	}
	o := w.constant(v.Const)
	w.vals[v] = o
	return o
}

// op writes one operation in MLIR's generic form.
func (w *writer) op(name string, d ir.DType, s ir.Shape, attrs, region string, in ...val) val {
	out := val{"%" + strconv.Itoa(w.next), d, s.Clone()}
	w.next++
	names, types := make([]string, len(in)), make([]string, len(in))
	for i, v := range in {
		names[i], types[i] = v.name, v.typ()
	}
	fmt.Fprintf(&w.b, "    %s = \"%s\"(%s)", out.name, name, strings.Join(names, ", "))
	if region != "" {
		fmt.Fprintf(&w.b, " (%s)", region)
	}
	if attrs != "" {
		fmt.Fprintf(&w.b, " {%s}", attrs)
	}
	fmt.Fprintf(&w.b, " : (%s) -> %s\n", strings.Join(types, ", "), out.typ())
	return out
}

// same writes an elementwise operation whose result has a's type.
func (w *writer) same(name string, a val, rest ...val) val {
	return w.op("stablehlo."+name, a.d, a.s, "", "", append([]val{a}, rest...)...)
}

// constant writes a tensor; numbers go in as hexadecimal bytes.
func (w *writer) constant(t *ir.Tensor) val {
	if t.Len() == 0 {
		return w.op("stablehlo.constant", t.DType, t.Shape, "value = dense<> : "+tensorType(t.DType, t.Shape), "")
	}
	var text string
	if d, ok := t.Data.([]bool); ok {
		text = boolText(d, t.Shape)
	} else if t.Len() == 1 {
		text = scalarText(t)
	} else {
		text = `"0x` + strings.ToUpper(hex.EncodeToString(t.RawBytes())) + `"`
	}
	return w.op("stablehlo.constant", t.DType, t.Shape, "value = dense<"+text+"> : "+tensorType(t.DType, t.Shape), "")
}

func boolText(d []bool, s ir.Shape) string {
	if len(s) == 0 {
		return strconv.FormatBool(d[0])
	}
	parts := make([]string, s[0])
	step := len(d) / s[0]
	for i := range parts {
		parts[i] = boolText(d[i*step:(i+1)*step], s[1:])
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func scalarText(t *ir.Tensor) string {
	switch d := t.Data.(type) {
	case []float32:
		return fmt.Sprintf("0x%08X", math.Float32bits(d[0]))
	case []float64:
		return fmt.Sprintf("0x%016X", math.Float64bits(d[0]))
	case []uint16:
		return fmt.Sprintf("0x%04X", d[0])
	case []int64:
		return strconv.FormatInt(d[0], 10)
	}
	return strconv.Itoa(t.Int(0))
}

func f32s(v ...float32) *ir.Tensor { return ir.From(v, len(v)) }

// scalar writes a constant of rank 0.
func (w *writer) scalar(d ir.DType, v float64) val {
	t := ir.NewTensor(d)
	t.Set(0, v)
	return w.constant(t)
}

// fill writes a scalar repeated to a shape.
func (w *writer) fill(d ir.DType, v float64, s ir.Shape) val {
	return w.broadcast(w.scalar(d, v), s, nil)
}

// broadcast writes broadcast_in_dim; operand axis i becomes result axis dims[i].
func (w *writer) broadcast(a val, s ir.Shape, dims []int) val {
	if a.s.Equal(s) {
		return a
	}
	return w.op("stablehlo.broadcast_in_dim", a.d, s, "broadcast_dimensions = "+i64s(dims), "", a)
}

// stretch broadcasts by numpy's rule.
func (w *writer) stretch(a val, s ir.Shape) val {
	if a.s.Equal(s) {
		return a
	}
	off := len(s) - len(a.s)
	dims := make([]int, len(a.s))
	for i := range dims {
		dims[i] = off + i
	}
	return w.broadcast(a, s, dims)
}

// channels broadcasts a vector along the last axis of s.
func (w *writer) channels(a val, s ir.Shape) val { return w.broadcast(a, s, []int{len(s) - 1}) }

func (w *writer) convert(a val, d ir.DType) val {
	if a.d == d {
		return a
	}
	return w.op("stablehlo.convert", d, a.s, "", "", a)
}

func (w *writer) reshape(a val, s ir.Shape) val {
	if a.s.Equal(s) {
		return a
	}
	return w.op("stablehlo.reshape", a.d, s, "", "", a)
}

func (w *writer) transpose(a val, perm []int) val {
	s := make(ir.Shape, len(perm))
	for i, p := range perm {
		s[i] = a.s[p]
	}
	return w.op("stablehlo.transpose", a.d, s, "permutation = "+i64s(perm), "", a)
}

// pad adds elements around; value has rank 0.
func (w *writer) pad(a val, low, high []int, value val) val {
	s := a.s.Clone()
	none := true
	for i := range s {
		s[i] += low[i] + high[i]
		none = none && low[i] == 0 && high[i] == 0
	}
	if none {
		return a
	}
	return w.op("stablehlo.pad", a.d, s, "edge_padding_high = "+i64s(high)+", edge_padding_low = "+i64s(low)+", interior_padding = "+i64s(make([]int, len(s))), "", a, value)
}

func (w *writer) slice(a val, start, limit, stride []int) val {
	s := make(ir.Shape, len(start))
	whole := true
	for i := range s {
		s[i] = (limit[i] - start[i] + stride[i] - 1) / stride[i]
		whole = whole && s[i] == a.s[i]
	}
	if whole {
		return a
	}
	return w.op("stablehlo.slice", a.d, s, "limit_indices = "+i64s(limit)+", start_indices = "+i64s(start)+", strides = "+i64s(stride), "", a)
}

// take gathers along one axis with indices of any shape (i32 or i64).
func (w *writer) take(a, idx val, axis int) val {
	r := len(idx.s)
	out := append(append(a.s[:axis].Clone(), idx.s...), a.s[axis+1:]...)
	var offset []int
	for i := range out {
		if i < axis || i >= axis+r {
			offset = append(offset, i)
		}
	}
	sizes := a.s.Clone()
	sizes[axis] = 1
	attrs := fmt.Sprintf("dimension_numbers = #stablehlo.gather<offset_dims = %s, collapsed_slice_dims = [%d], start_index_map = [%d], index_vector_dim = %d>, slice_sizes = %s, indices_are_sorted = false",
		plain(offset), axis, axis, r, i64s(sizes))
	return w.op("stablehlo.gather", a.d, out, attrs, "", a, idx)
}

// reduce folds axes with a StableHLO binary op; the axes are dropped.
func (w *writer) reduce(a val, op string, init float64, axes []int) val {
	s := ir.Shape{}
	drop := map[int]bool{}
	for _, x := range axes {
		drop[x] = true
	}
	for i, d := range a.s {
		if !drop[i] {
			s = append(s, d)
		}
	}
	return w.op("stablehlo.reduce", a.d, s, "dimensions = "+i64s(axes), folder(op, a.d), a, w.scalar(a.d, init))
}

// reduceWindow folds windows over all axes of a.
func (w *writer) reduceWindow(a val, op string, init float64, size, stride, dilation []int, low, high []int, out ir.Shape) val {
	pads := make([]string, len(low))
	for i := range low {
		pads[i] = fmt.Sprintf("[%d, %d]", low[i], high[i])
	}
	attrs := fmt.Sprintf("padding = dense<[%s]> : tensor<%dx2xi64>, window_dilations = %s, window_dimensions = %s, window_strides = %s",
		strings.Join(pads, ", "), len(low), i64s(dilation), i64s(size), i64s(stride))
	return w.op("stablehlo.reduce_window", a.d, out, attrs, folder(op, a.d), a, w.scalar(a.d, init))
}

// folder is the region that combines two scalars.
func folder(op string, d ir.DType) string {
	t := tensorType(d, nil)
	return fmt.Sprintf("{\n    ^bb0(%%a: %s, %%b: %s):\n      %%c = \"stablehlo.%s\"(%%a, %%b) : (%s, %s) -> %s\n      \"stablehlo.return\"(%%c) : (%s) -> ()\n    }", t, t, op, t, t, t, t)
}

// conv writes a convolution in NHWC × HWIO with an explicit window.
func (w *writer) conv(x, k val, d ir.DType, win ir.Window, out ir.Shape, lhsDilation []int, low, high []int) val {
	r := len(win.In)
	spatial := []string{"0", "1"}[:r]
	pads := make([]string, r)
	for i := range pads {
		pads[i] = fmt.Sprintf("[%d, %d]", low[i], high[i])
	}
	sp := strings.Join(spatial, ", ")
	attrs := fmt.Sprintf("batch_group_count = 1 : i64, dimension_numbers = #stablehlo.conv<[b, %s, f]x[%s, i, o]->[b, %s, f]>, feature_group_count = %d : i64, lhs_dilation = %s, padding = dense<[%s]> : tensor<%dx2xi64>, rhs_dilation = %s, window_strides = %s",
		sp, sp, sp, win.Groups, i64s(lhsDilation), strings.Join(pads, ", "), r, i64s(win.Dilation), i64s(win.Stride))
	return w.op("stablehlo.convolution", d, out, attrs, "", x, k)
}

// matmul writes dot_general over equal leading axes.
func (w *writer) matmul(a, b val, d ir.DType, ca, cb int, out ir.Shape) val {
	batch := make([]int, len(b.s)-2)
	for i := range batch {
		batch[i] = i
	}
	attrs := fmt.Sprintf("dot_dimension_numbers = #stablehlo.dot<lhs_batching_dimensions = %s, rhs_batching_dimensions = %s, lhs_contracting_dimensions = [%d], rhs_contracting_dimensions = [%d]>",
		plain(batch), plain(batch), ca, cb)
	return w.op("stablehlo.dot_general", d, out, attrs, "", a, b)
}

func i64s(v []int) string {
	if len(v) == 0 {
		return "array<i64>"
	}
	return "array<i64: " + strings.Trim(plain(v), "[]") + ">"
}

func plain(v []int) string {
	s := make([]string, len(v))
	for i, e := range v {
		s[i] = strconv.Itoa(e)
	}
	return "[" + strings.Join(s, ", ") + "]"
}
