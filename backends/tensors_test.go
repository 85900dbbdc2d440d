package backends

import (
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

func TestCheckTensors(t *testing.T) {
	want := []*ir.Value{{Name: "x", Type: ir.T(ir.F32, 2, 3)}}
	good := ir.NewTensor(ir.F32, 2, 3)
	if err := CheckTensors("input", want, []*ir.Tensor{good}); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		have []*ir.Tensor
		text string
	}{
		{nil, "found 0 tensors; wanted 1"},
		{[]*ir.Tensor{nil}, "input 0 (x): found no tensor"},
		{[]*ir.Tensor{ir.NewTensor(ir.F32, 3, 2)}, "found f32[3,2]; wanted f32[2,3]"},
		{[]*ir.Tensor{ir.NewTensor(ir.S8, 2, 3)}, "found s8[2,3]"},
		{[]*ir.Tensor{{DType: ir.F32, Shape: ir.Shape{2, 3}, Data: []float32{1}}}, "data has 1 elements"},
		{[]*ir.Tensor{{DType: ir.F32, Shape: ir.Shape{2, 3}, Data: []int8{1}}}, "data has -1 elements"},
	} {
		if err := CheckTensors("input", want, c.have); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v; wanted an error with %q", err, c.text)
		}
	}
}

func TestSplitName(t *testing.T) {
	for in, want := range map[string][2]string{"cpu-int8@avx2": {"cpu-int8", "avx2"}, "reference": {"reference", ""}} {
		if name, isa := SplitName(in); name != want[0] || isa != want[1] {
			t.Errorf("%s is split into %q and %q", in, name, isa)
		}
	}
}

func TestNewOutputs(t *testing.T) {
	b := ir.NewBuilder("g")
	x := b.Input("x", ir.T(ir.F32, 2, 3))
	g, err := b.Graph(b.Op("relu", nil, x), b.Op("is_nan", nil, x))
	if err != nil {
		t.Fatal(err)
	}
	out := NewOutputs(g)
	if err := CheckTensors("output", g.Outputs, out); err != nil {
		t.Error(err)
	}
}
