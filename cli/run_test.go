package cli

import (
	"strings"
	"testing"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/ir"
)

// A model of constants alone has nothing to be given.
func TestRunWithoutInputs(t *testing.T) {
	m := &nasc.Model{Path: "m.onnx", Module: &ir.Module{Graphs: []*ir.Graph{{}}}}
	if _, err := readInputs([]string{"x.npy"}, m, nil); err == nil || !strings.Contains(err.Error(), "m.onnx: a model without inputs") {
		t.Error(err)
	}
}

// Names of tensors may hold signs of equality, and so may paths.
func TestCutName(t *testing.T) {
	known := []string{"x", "a=b", "a"}
	for _, c := range []struct {
		arg, name, path string
		ok              bool
	}{
		{"x=x.npy", "x", "x.npy", true},
		{"a=b=c.npy", "a=b", "c.npy", true},
		{"a=c=d.npy", "a", "c=d.npy", true},
		{"y=x.npy", "y", "x.npy", true}, // an unknown name is told by the caller
		{"x.npy", "x.npy", "", false},
	} {
		if name, path, ok := cutName(c.arg, known); name != c.name || path != c.path || ok != c.ok {
			t.Errorf("%s: %q, %q, %v", c.arg, name, path, ok)
		}
	}
}
