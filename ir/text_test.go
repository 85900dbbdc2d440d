package ir_test

import (
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

const small = `const @w: f32[3,3,1,4] = normal(1,0.5)
const @b: f32[4] = [0,1,2,-3.5]
const @qw: s8[4,2]<axis=1> scale=[0.5,0.25] zero=[0] = [1,2,3,4,5,6,7,8]
const @m: f32[2] = [0.001,0.002]

graph @main(%x: f32[N,8,8,1]) {
  %c = convolution %x @w @b padding=[1,1,1,1] activation="relu" !"conv1" : f32[N,8,8,4]
  %p = reduce_mean %c axes=[1,2] keep_dims=false : f32[N,4]
  %q = uniform_quantize %p out_scale=0.02 out_zero=3 : u8[N,4]<0.02:3>
  %y = q_dot %q @qw _ @m out_dtype="f32" : f32[N,2]
  return %y
}
`

func parse(t *testing.T, text string) *ir.Module {
	t.Helper()
	m, err := ir.Parse("test.ir", text, nil)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return m
}

// weights keeps the data that text leaves out.
func weights(m *ir.Module) ir.Weights {
	byName := map[string]*ir.Tensor{}
	for _, t := range m.Tensors() {
		byName[t.Name] = t.Tensor
	}
	return ir.WeightMap(byName)
}

func TestTextRoundTrip(t *testing.T) {
	m := parse(t, small)
	if err := m.Verify(); err != nil {
		t.Fatal(err)
	}
	one := m.String()
	m2, err := ir.Parse("test.ir", one, weights(m))
	if err != nil {
		t.Fatal(err)
	}
	if two := m2.String(); one != two {
		t.Errorf("printed:\n%s\nread back and printed:\n%s", one, two)
	}
	if !strings.Contains(one, `!"conv1"`) || !strings.Contains(one, `activation="relu"`) {
		t.Errorf("the text lost an attribute or a name:\n%s", one)
	}
	g := m2.Graphs[0]
	if got, want := g.MACs(), int64(8*8*4*9+4*2); got != want {
		t.Errorf("MACs = %d, want %d", got, want)
	}
}

func TestSpecialize(t *testing.T) {
	g := parse(t, small).Graphs[0]
	s, err := ir.Specialize(g, 3)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Outputs[0].Type.String(); got != "f32[3,2]" {
		t.Errorf("output is %s, want f32[3,2]", got)
	}
	if !s.Static() || g.Static() {
		t.Error("Specialize must leave the original symbolic and give a static copy")
	}
}

// A batch whose tensors no machine holds is refused before their sizes overflow.
func TestSpecializeRefusesTooMuch(t *testing.T) {
	g := parse(t, small).Graphs[0]
	for _, n := range []int{1 << 34, 1 << 61} {
		if _, err := ir.Specialize(g, n); err == nil || !strings.Contains(err.Error(), "wanted at most 17179869184 elements") {
			t.Errorf("a batch of %d: %v", n, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(small)
	f.Add("graph @main(%x: f32[N]) {\n return %x\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ir.Parse("fuzz", text, nil)
		if err != nil || m.Verify() != nil {
			return
		}
		one := m.String()
		m2, err := ir.Parse("fuzz", one, weights(m))
		if err != nil {
			t.Fatalf("its own text does not parse: %v\n%s", err, one)
		}
		if two := m2.String(); one != two {
			t.Fatalf("not a fixed point:\n%s\n%s", one, two)
		}
	})
}
