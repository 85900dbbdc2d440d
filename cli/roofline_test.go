package cli

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
)

// Steps of known size under known roofs: what bounds them and how near they come.
func TestPlace(t *testing.T) {
	r := roofs{Level: "vnni", Int8: 1000, F32: 250, L2: 100, Memory: 10, vector: 1000, cache: 1 << 20}
	f := func(shape ...int) ir.Type { return ir.T(ir.F32, shape...) }
	for _, c := range []struct {
		name       string
		step       backends.Step
		ms         float64
		weightsFit bool
		bound      string
		intensity  float64
		ofBound    float64
	}{
		// 4000 bytes in and out at 100 GB/s: 80 ns.
		{"small add", backends.Step{Bytes: 8000, In: []ir.Type{f(1000)}, Out: []ir.Type{f(1000)}}, 0.00016, false, "L2", 1.0 / 8, 0.5},
		// More than the cache: from memory, 8 MB at 10 GB/s.
		{"large add", backends.Step{Bytes: 8e6, In: []ir.Type{f(1e6)}, Out: []ir.Type{f(1e6)}}, 0.8, false, "memory", 1.0 / 8, 1},
		// 500 M products at 250 GOPS: 4 ms; the bytes take less.
		{"product", backends.Step{MACs: 5e8, Bytes: 4e6 + 8000, In: []ir.Type{f(1000)}, Out: []ir.Type{f(1000)}}, 8, false, "compute", 1e9 / 4.008e6, 0.5},
		// A single row: weights once, from memory or from the cache.
		{"row", backends.Step{MACs: 1e5, Bytes: 400000 + 8000, In: []ir.Type{f(1000)}, Out: []ir.Type{f(1000)}}, 0.04008, false, "memory", 2e5 / 408000.0, 1},
		{"row, cached", backends.Step{MACs: 1e5, Bytes: 400000 + 8000, In: []ir.Type{f(1000)}, Out: []ir.Type{f(1000)}}, 0.00408, true, "L2", 2e5 / 408000.0, 1},
	} {
		p, _ := r.put(c.step, c.ms, c.weightsFit)
		if p.Bound != c.bound || math.Abs(p.Intensity/c.intensity-1) > 1e-6 || math.Abs(p.OfBound/c.ofBound-1) > 0.01 {
			t.Errorf("%s: %+v; wanted %s, %g ops a byte, %g of it", c.name, p, c.bound, c.intensity, c.ofBound)
		}
	}
}

// The picture is well-formed whatever the names, with a dot for each step that
// takes time.
func TestWriteRoofline(t *testing.T) {
	r := roofs{Level: "vnni", Int8: 1000, F32: 250, L2: 100, Memory: 10}
	rows := []stepTime{
		{Label: `a<b&"c"`, Op: "q_convolution", Kernel: "k", MS: 1, GOPS: 300, place: place{Ops: 1e6, Intensity: 50, Bound: "compute", Roof: 0.3, OfBound: 0.3, Kind: "int8"}},
		{Label: "x", Op: "add", MS: 0.1, GOPS: 1e-4, place: place{Ops: 10, Intensity: 0.002, Bound: "L2", Roof: 0.01, OfBound: 0.1, Kind: "f32"}},
		{Label: "free", Op: "copy"},
	}
	var b strings.Builder
	if err := writeRoofline(&b, "a & b", r, rows); err != nil {
		t.Fatal(err)
	}
	dots := 0
	for d := xml.NewDecoder(strings.NewReader(b.String())); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "circle" {
			dots++
		}
	}
	if dots != 2 {
		t.Errorf("%d dots for 2 steps that take time", dots)
	}
	if i, j := strings.Index(b.String(), "30 % of its compute bound"), strings.Index(b.String(), "10 % of its L2 bound"); i < 0 || j < i {
		t.Errorf("the step that loses the most does not come first: %d, %d", i, j)
	}
}
