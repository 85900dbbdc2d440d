package ir_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/nasc-dev/nasc/internal/difftest"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// TestTable walks the op table: no empty column, and a file of worked examples
// for each op.
func TestTable(t *testing.T) {
	for _, name := range ir.OpNames() {
		o := ir.LookupOp(name)
		if o.Doc == "" || o.Class == 0 || o.Infer == nil || o.MACs == nil || o.Eval == nil || o.Grad == 0 {
			t.Errorf("op %s has an empty column: %+v", name, o)
		}
		for i, p := range o.In {
			if p.Name == "" || p.Variadic && i != len(o.In)-1 {
				t.Errorf("op %s: operand %d has no name, or repeats before the last", name, i)
			}
		}
		for _, a := range o.Attrs {
			if a.Name == "" || a.Default == nil && a.Kind == ir.BoolA {
				t.Errorf("op %s: attribute %+v has no name, or is a flag without a default", name, a)
			}
		}
		if _, err := os.Stat(filepath.Join("testdata", "ops", name+".txt")); err != nil {
			t.Errorf("op %s has no worked examples: %v", name, err)
		}
	}
}

// TestOps evaluates the examples of testdata/ops (their form: testdata/README.md) in f32,
// prints the results, and holds the f64 mode against them.
func TestOps(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "ops"), func(t *testing.T, path string) {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		if ir.LookupOp(name) == nil {
			t.Fatalf("%s: no op of this name", path)
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			g, err := ir.ParseGraph(path, d.Input, nil)
			if err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			if g.OpCounts()[name] == 0 {
				t.Fatalf("%s: the example does not use %s", d.Pos, name)
			}
			one, err := eval.Run(context.Background(), g, nil, eval.Options{})
			if err != nil {
				return "error: " + err.Error() + "\n"
			}
			two, err := eval.Run(context.Background(), g, nil, eval.Options{Double: true})
			if err != nil {
				t.Fatalf("%s: f64: %v", d.Pos, err)
			}
			var b strings.Builder
			for i, y := range one.Outputs {
				if want := g.Outputs[i].Type; y.DType != want.DType || !y.Shape.Equal(want.Shape) {
					t.Errorf("%s: result %d is %v, its type says %v", d.Pos, i, y.Type(), want)
				}
				z := two.Outputs[i]
				if z.DType == ir.F64 {
					z = z.Converted(ir.F32)
				}
				if err := difftest.Close(y, z, 2e-6, 1e-7); err != nil {
					t.Errorf("%s: f32 against f64: %v", d.Pos, err)
				}
				fmt.Fprintf(&b, "%v = [%s]\n", g.Outputs[i].Type, elements(y))
			}
			return b.String()
		})
	})
}

// elements prints a tensor's data so that each float32 reads back to its bits.
func elements(t *ir.Tensor) string {
	s := make([]string, t.Len())
	for i := range s {
		switch v := t.At(i); {
		case t.DType == ir.Bool:
			s[i] = strconv.FormatBool(v != 0)
		case t.DType == ir.F32:
			s[i] = strconv.FormatFloat(v, 'g', -1, 32)
		default:
			s[i] = strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return strings.Join(s, ",")
}
