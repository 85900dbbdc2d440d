package nasc

import (
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

// EdgesWork is a network of the changes of type between int8 and f32 layers, at
// several sizes: networks of one type alone have them at their ends only.
func EdgesWork(batch int) (latency.Work, error) {
	b := ir.NewBuilder("edges")
	var out []*ir.Value
	for _, n := range []int{64, 1 << 10, 1 << 13, 1 << 15, 1 << 17, 1 << 19} {
		x := b.Input("x"+ir.Shape{n}.String(), ir.T(ir.F32, batch, n))
		q := b.Op("uniform_quantize", ir.Attrs{"out_dtype": "u8", "out_scale": 0.02, "out_zero": int64(3)}, x)
		out = append(out, b.Op("uniform_dequantize", nil, q))
	}
	g, err := b.Graph(out...)
	if err != nil {
		return latency.Work{}, err
	}
	return latency.Work{Name: "edges", Graph: g, In: passes.RandomInputs(g, 1)}, nil
}
