package onnx

import (
	"fmt"
	"strings"

	"github.com/nasc-dev/nasc/ir"
)

var recurrentOps = map[string]converter{
	"LSTM": func(n *node) ([]item, error) { return recurrent(n, "lstm", []string{"Sigmoid", "Tanh", "Tanh"}) },
	"GRU":  func(n *node) ([]item, error) { return recurrent(n, "gru", []string{"Sigmoid", "Tanh"}) },
}

func recurrent(n *node, op string, activations []string) ([]item, error) {
	n.refuse("layout", 0)
	n.refuse("input_forget", 0)
	if n.attrs["clip"] != nil {
		return nil, fmt.Errorf("clip is not had")
	}
	if a := n.attrs["activations"]; a != nil {
		for i, s := range a.GetStrings() {
			if want := activations[i%len(activations)]; !strings.EqualFold(string(s), want) {
				return nil, fmt.Errorf("activation %s is not had; wanted %s", s, want)
			}
		}
	}
	attrs := ir.Attrs{"hidden_size": n.attrInt("hidden_size", 0), "direction": n.attrStr("direction", "forward")}
	if op == "gru" {
		attrs["linear_before_reset"] = n.attrInt("linear_before_reset", 0) != 0
	}
	in := []*ir.Value{n.in(0), n.in(1), n.in(2)}
	for i := 3; i < 8 && i < len(n.p.GetInput()); i++ {
		in = append(in, n.opt(i))
	}
	if attrs["hidden_size"] == 0 && n.err == nil && len(in[2].Type.Shape) == 3 {
		attrs["hidden_size"] = in[2].Type.Shape[2]
	}
	var out []item
	for _, v := range n.emitAll(op, attrs, in...) {
		out = append(out, item{v: v})
	}
	return out, n.err
}
