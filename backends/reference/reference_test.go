package reference

import (
	"context"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
)

func TestRun(t *testing.T) {
	b := ir.NewBuilder("double")
	x := b.Input("x", ir.T(ir.F32, 3))
	g, err := b.Graph(b.Op("add", nil, x, x))
	if err != nil {
		t.Fatal(err)
	}
	e, err := Target().Compile(g, backends.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	out := backends.NewOutputs(g)
	if err := e.Run(context.Background(), []*ir.Tensor{ir.From([]float32{1, -2, 3}, 3)}, out); err != nil {
		t.Fatal(err)
	}
	if y := out[0].F32(); y[0] != 2 || y[1] != -4 || y[2] != 6 {
		t.Errorf("x + x is %v", y)
	}
}
