package arch

import (
	"os"
	"strings"
	"testing"
)

func TestAdapted(t *testing.T) {
	for _, name := range []string{"plain-cnn", "densenet"} {
		b, err := os.ReadFile("../../zoo/spaces/" + name + ".toml")
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseSpace(name, b)
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.Adapted([]int{14, 14, 1}, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range a.Samples(5, 1) {
			text, err := a.Instance(g)
			if err != nil {
				t.Fatal(err)
			}
			net, _, err := Trace(name, []byte(text))
			if err != nil {
				t.Fatalf("%v: %v", g, err)
			}
			if in, out := net.Inputs[0].Type.String(), net.Outputs[0].Type.String(); in != "f32[N,14,14,1]" || out != "f32[N,7]" {
				t.Errorf("%v: from %s to %s", g, in, out)
			}
			old, err := s.Instance(g)
			if err != nil || !strings.Contains(old, "input = [32, 32, 3]") || !strings.Contains(old, "out = 10") {
				t.Errorf("the space itself changed: %v\n%s", err, old)
			}
		}
	}
}

func TestAdaptedRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"input = { choose = [[8, 8, 1], [16, 16, 1]] }\n[[stage]]\nblock = \"flatten\"\n[[stage]]\nblock = \"dense\"\nout = 10\n", "an input that varies"},
		{"input = [8, 8, 1]\n[[stage]]\nblock = \"flatten\"\n", "no dense layer"},
		{"input = [8, 8, 1]\n[[stage]]\nblock = \"flatten\"\n[[stage]]\nblock = \"dense\"\nout = { choose = [4, 5] }\n", "no dense layer"},
	} {
		s, err := ParseSpace("x.toml", []byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Adapted([]int{4, 4, 1}, 10); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
}
