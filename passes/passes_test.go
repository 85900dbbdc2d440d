package passes

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/nasc-dev/nasc/ir"
)

// TestText runs testdata: a pass (or several, or canonicalize) on text IR, the
// result printed, its promise checked by running both graphs.
//
//	run pass=fold-bn expect=changed
//	graph @main(…) { … }
//	----
//	graph @main(…) { … }
func TestText(t *testing.T) {
	if err := checkOrder(List); err != nil {
		t.Fatal(err)
	}
	seen := map[string]map[string]bool{}
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var name, expect string
			d.ScanArgs(t, "pass", &name)
			d.ScanArgs(t, "expect", &expect)
			g, err := ir.ParseGraph(path, d.Input, nil)
			if err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			list := Default()
			if name != "canonicalize" {
				if list, err = Parse(name); err != nil {
					t.Fatal(err)
				}
			}
			o := Options{VerifyEach: true}
			if d.HasArg("samples") { // random ones, for passes that measure
				var n int
				d.ScanArgs(t, "samples", &n)
				s, err := ir.Specialize(g, 1)
				if err != nil {
					t.Fatal(err)
				}
				for i := range n {
					o.Inputs = append(o.Inputs, RandomInputs(s, uint64(i)))
				}
			}
			steps, err := Run(context.Background(), g, list, o)
			if err != nil {
				return "error: " + err.Error() + "\n"
			}
			changed := "unchanged"
			for _, s := range steps {
				if s.Changed {
					changed = "changed"
				}
			}
			if changed != expect {
				t.Errorf("%s: %s is %s, expected %s", d.Pos, name, changed, expect)
			}
			short, _, _ := strings.Cut(name, "(") // with arguments or not
			if seen[short] == nil {
				seen[short] = map[string]bool{}
			}
			seen[short][expect] = true
			return withoutTypes(g.Body())
		})
	})
	for _, p := range List {
		for _, e := range []string{"changed", "unchanged"} {
			if !seen[p.Name][e] {
				t.Errorf("testdata has no case pass=%s expect=%s", p.Name, e)
			}
		}
	}
}

// withoutTypes shortens nodes to what a reader compares.
func withoutTypes(body string) string {
	var b strings.Builder
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "  %") {
			if i := strings.LastIndex(line, " : "); i > 0 {
				line = line[:i] + "\n"
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

func TestParseRefuses(t *testing.T) {
	for spec, want := range map[string]string{
		"fold-bm":                      "fold-bm",
		"cse(node=x)":                  "takes none",
		"fold-bn(node=a),cse":          "",
		" fold-bn (node=a) , cse ":     "",
		"fold-bn(nod=a)":               "wanted node=…",
		"fold-bn()":                    "wanted node=…",
		"fold-bn(node=a,node=b)":       "given twice",
		"fold-bn(node=a":               "an open parenthesis",
		"fold-bn(node=a))":             "an unexpected parenthesis",
		"fold-bn(node=a)cse":           "text after",
		"widen(node=conv2,factor=1.5)": "",
		"widden":                       `"widden"`,
		"cse,,remove-dead":             "",
	} {
		_, err := Parse(spec)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Parse(%q) = %v, want %q", spec, err, want)
		}
	}
}

// A chain of every pass on a network as an importer writes it: transposes
// around each convolution, batch norms, hard swish written out, a gate.
func TestImportedBlock(t *testing.T) {
	const text = `const @w: f32[3,3,3,8] = normal(1,0.3)
const @s: f32[8] = [1,1.1,0.9,1.2,1,1,0.5,1]
const @b: f32[8] = [0,0.1,0.2,-0.1,0,0,0.3,0]
const @m: f32[8] = [0.1,0,0,0.2,0,-0.2,0,0]
const @v: f32[8] = [1,2,0.5,1,1,1,3,1]
const @g: f32[1,1,8,8] = normal(3,0.5)
const @d: f32[128,10] = normal(4,0.2)
graph @main(%x: f32[N,3,8,8]) {
  %t = transpose %x permutation=[0,2,3,1]
  %p = pad %t low=[0,1,1,0] high=[0,1,1,0]
  %c = convolution %p @w strides=[2,2]
  %n = batch_norm_inference %c @s @b @m @v
  %u = transpose %n permutation=[0,3,1,2]
  %a3 = add %u 3.0
  %k = clamp %a3 min=0.0 max=6.0
  %h6 = multiply %u %k
  %h = divide %h6 6.0
  %q = reduce_mean %h axes=[2,3]
  %qt = transpose %q permutation=[0,2,3,1]
  %gc = convolution %qt @g
  %gt = transpose %gc permutation=[0,3,1,2]
  %gr = relu %gt
  %gg = logistic %gr
  %y = multiply %h %gg
  %f = reshape %y shape=[N,128]
  %z = dot %f @d
  return %z
}`
	src := strings.NewReplacer(" 3.0\n", " @three\n", " 6.0\n", " @six\n").Replace(text)
	src = "const @three: f32[] = [3]\nconst @six: f32[] = [6]\n" + strings.ReplaceAll(src, "max=@six", "max=6.0")
	g, err := ir.ParseGraph("block.ir", src, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := g.Clone()
	if _, err := Canonicalize(context.Background(), g, Options{VerifyEach: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := validate(context.Background(), before, g, Close, nil); err != nil {
		t.Error(err)
	}
	got := fmt.Sprint(g.OpCounts())
	want := "map[convolution:2 dot:1 hard_swish:1 logistic:1 multiply:1 reduce_mean:1 reshape:1 transpose:1]"
	if got != want {
		t.Errorf("ops %s\nwant %s\n%s", got, want, g.Body())
	}
}
