package latency

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
)

// timed are the attributes that decide how long an op takes; scales, zero
// points and bounds do not.
var timed = []string{
	"strides", "padding", "dilation", "groups", "output_padding", "kernel", "count_include_pad", "activation", "transpose_a", "transpose_b",
	"axis", "axes", "keep_dims", "permutation", "start", "limit", "stride", "low", "high", "mode", "size", "coordinates", "approximate",
	"winograd", "hidden_size", "direction", "linear_before_reset", "dtype", "sizes",
}

// Key names a step as a row of the table does: the fused ops with what decides
// their time, the operands and results, and the kernel. Two steps of one key
// take equally long on one device.
func Key(s backends.Step) string {
	var b strings.Builder
	for i, n := range s.Nodes {
		if i > 0 {
			b.WriteByte('+')
		}
		b.WriteString(n.Op.Name)
		writeAttrs(&b, n)
	}
	if len(s.Nodes) == 0 {
		b.WriteString(s.Op)
	}
	b.WriteString(" | ")
	writeTypes(&b, s.In)
	if len(s.Nodes) > 0 { // weights have their shape in the op's operands
		writeWeights(&b, s.Nodes)
	}
	b.WriteString(" -> ")
	writeTypes(&b, s.Out)
	b.WriteString(" | ")
	b.WriteString(s.Kernel)
	return b.String()
}

func writeAttrs(b *strings.Builder, n *ir.Node) {
	var parts []string
	for _, name := range timed {
		if n.Op.Attr(name) == nil || !n.Has(name) {
			continue
		}
		parts = append(parts, name+"="+strings.ReplaceAll(fmt.Sprint(n.Attrs[name]), " ", ","))
	}
	if len(parts) > 0 {
		b.WriteString("[" + strings.Join(parts, " ") + "]")
	}
}

func writeTypes(b *strings.Builder, ts []ir.Type) {
	for i, t := range ts {
		if i > 0 {
			b.WriteByte(' ')
		}
		if t.DType == ir.Invalid {
			b.WriteByte('_')
			continue
		}
		b.WriteString(t.DType.String() + t.Shape.String())
	}
}

// writeWeights adds the constants that a contraction's kernel holds packed.
func writeWeights(b *strings.Builder, nodes []*ir.Node) {
	for _, n := range nodes {
		if n.Op.Class != ir.Contraction && !slices.Contains([]string{"q_convolution", "q_convolution_transpose", "q_dot", "dot_integer", "dynamic_dot"}, n.Op.Name) {
			continue
		}
		for i, v := range n.Inputs {
			if v.IsConst() && i > 0 {
				fmt.Fprintf(b, " w:%v%v", v.Type.DType, v.Type.Shape)
			}
		}
	}
}
