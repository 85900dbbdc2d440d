package passes

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/quant"
)

// leastTable is how many numbers a table of embeddings has at least that is
// worth storing in 8 bits: small ones cost more time than memory.
const leastTable = 1 << 16

// isEmbedding says whether a node gathers rows of a large constant table.
func isEmbedding(n *ir.Node) bool {
	if n.Op.Name != "gather" || !n.In(0).IsConst() || n.In(1).IsConst() {
		return false
	}
	t := n.In(0).Const
	axis, err := ir.NormAxis(n.Int("axis"), len(t.Shape))
	return err == nil && axis == 0 && len(t.Shape) == 2 && t.DType == ir.F32 && t.Len() >= leastTable
}

// embedding emits a gather of 8-bit rows, which then are real numbers again:
//
//	%y = gather @table %i  →  %q = gather @table.q8 %i
//	                          %s = gather @table.scales %i
//	                          %y = multiply (uniform_dequantize %q) %s
//
// A row's scale is its greatest magnitude over 127, its levels are rounded to
// nearest: only the weights are in 8 bits, what follows is f32.
func (b *quantBuilder) embedding(n *ir.Node) error {
	table := n.In(0)
	parts, ok := b.tables[table]
	if !ok {
		q, scale := roundTable(table.Const)
		parts = [2]*ir.Value{b.dst.QConst(table.Name+".q8", q, ir.PerTensor(1, 0)), b.dst.Const(table.Name+".scales", scale)}
		b.tables[table] = parts
	}
	at, err := b.real(n.In(1))
	if err != nil {
		return err
	}
	name := n.Out().Name
	var rows [2]*ir.Value
	for i, suffix := range []string{".q8", ".scale"} {
		k, err := b.add(n, "gather", name+suffix, n.Attrs, parts[i], at)
		if err != nil {
			return err
		}
		rows[i] = k.Out()
	}
	whole, err := b.add(n, "uniform_dequantize", name+".levels", nil, rows[0])
	if err != nil {
		return err
	}
	k, err := b.add(n, "multiply", name, nil, whole.Out(), rows[1])
	if err != nil {
		return err
	}
	b.f[n.Out()] = k.Out()
	return nil
}

// roundTable gives a table's rows in 8 bits and their scales, [V,1].
func roundTable(t *ir.Tensor) (q, scale *ir.Tensor) {
	rows, width := t.Shape[0], t.Shape[1]
	q, scale = ir.NewTensor(ir.S8, rows, width), ir.NewTensor(ir.F32, rows, 1)
	x := t.F32()
	for r := range rows {
		top := 0.0
		for _, v := range x[r*width : (r+1)*width] {
			top = max(top, math.Abs(float64(v)))
		}
		s := float32(max(top/127, quant.MinScale))
		scale.F32()[r] = s
		for i := r * width; i < (r+1)*width; i++ {
			q.S8()[i] = quant.RoundWeight(float64(x[i]), s)
		}
	}
	return q, scale
}
