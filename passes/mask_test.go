package passes

import (
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

func TestMask(t *testing.T) {
	read := func() *ir.Graph {
		g, err := ir.ParseGraph("t.ir", `const @w: f32[6,2] = [1,-9,9,1,-2,2,8,3,5,0,6,7]
graph @main(%x: f32[N,6]) {
  %y = dot %x @w
  return %y
}`, nil)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	for spec, want := range map[string][]float32{
		"mask(pattern=2:4)":         {0, -9, 9, 0, 0, 0, 8, 3, 5, 0, 6, 7}, // of rows 0 to 3, then of 4 and 5
		"mask(pattern=1:4)":         {0, -9, 9, 0, 0, 0, 0, 0, 0, 0, 6, 7},
		"mask(share=0.5)":           {0, -9, 9, 0, 0, 0, 8, 0, 5, 0, 6, 7},
		"mask(share=0.5,node=none)": nil,
	} {
		g := read()
		list, err := Parse(spec)
		if err != nil {
			t.Fatal(err)
		}
		before := g.Nodes[0].Inputs[1].Const
		kept := slices.Clone(before.F32())
		_, err = Run(t.Context(), g, list, Options{})
		if want == nil {
			if err == nil {
				t.Errorf("%s: no error", spec)
			}
			continue
		}
		if got := g.Nodes[0].Inputs[1].Const.F32(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v %v, wanted %v", spec, got, err, want)
		}
		if !slices.Equal(before.F32(), kept) {
			t.Errorf("%s changed a constant that others may hold", spec)
		}
	}
	for spec, want := range map[string]string{
		"mask": "0 of pattern=", "mask(pattern=4:2)": "N:M", "mask(pattern=x)": "N:M", "mask(share=1)": "less than 1", "mask(share=0.5,pattern=2:4)": "2 of pattern=",
	} {
		list, err := Parse(spec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), read(), list, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; wanted %q", spec, err, want)
		}
	}
}
