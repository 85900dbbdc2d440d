package arch

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/zoo"
)

const sharedSpace = `input = { choose = "size" }
[choices]
width = [4, 8]
size = [[8, 8, 1], [12, 12, 1]]
depth = [0, 1, 3]
[[stage]]
block = "conv"
name = "a"
channels = { choose = "width" }
kernel = { choose = [1, 3] }
[[stage]]
block = "conv"
name = "b"
channels = { choose = "width" }
repeat = { choose = "depth" }
kernel = { choose = [1, 3], each = true }
[[stage]]
block = "conv"
name = "c"
when = { width = 8 }
channels = { choose = [4, 12] }
repeat = { choose = "depth" }
`

// Shared choices are made once: what is counted is what is enumerated, and all
// places agree.
func TestSharedChoices(t *testing.T) {
	s, err := ParseSpace("shared.toml", []byte(sharedSpace))
	if err != nil {
		t.Fatal(err)
	}
	// size 2 × a.kernel 2 × the sum over depths of b, and over widths of c
	if n := s.Count().Int64(); n != 2*2*(1*(1+1)+2*(1+2)+8*(1+2)) {
		t.Errorf("%d networks", n)
	}
	if names := []string{s.Genes[0].Name, s.Genes[1].Name, s.Genes[2].Name}; !slices.Equal(names, []string{"width", "size", "depth"}) {
		t.Errorf("%v come first; wanted the order of the file", names)
	}
	seen, texts := map[string]bool{}, map[string]bool{}
	for g := range s.All() {
		text, err := s.Instance(g)
		if err != nil {
			t.Fatal(err)
		}
		_, info, err := Trace("net.toml", []byte(text))
		if err != nil {
			t.Fatalf("%v: %v\n%s", g, err, text)
		}
		deep := []int{0, 1, 3}[g[2]]
		want := 1 + deep
		if g[0] == 1 {
			want += deep
		}
		if len(info.Stages) != want || len(s.Present(g)) != want {
			t.Errorf("%v has %d stages, %d slots; wanted %d", g, len(info.Stages), len(s.Present(g)), want)
		}
		if !slices.Equal(s.Canonical(g), g) {
			t.Errorf("%v is not canonical", g)
		}
		_, body, _ := strings.Cut(text[strings.Index(text, "\n")+1:], "\n")
		seen[g.String()], texts[body] = true, true
	}
	if n := int(s.Count().Int64()); len(seen) != n || len(texts) != n {
		t.Errorf("%d genotypes and %d texts of %d networks", len(seen), len(texts), n)
	}
	for _, g := range s.Samples(20, 1) {
		if err := s.Check(g); err != nil {
			t.Error(err)
		}
	}
}

func TestSharedChoicesRefused(t *testing.T) {
	const stage = "[[stage]]\nblock = \"conv\"\nname = \"a\"\n"
	for _, c := range []struct{ choices, keys, want string }{
		{"w = [4, 8]", "channels = { choose = \"v\" }", "s.toml:7: channels = { choose = \"v\" }; wanted choose = a list of values, or the name of one of [choices]: w"},
		{"w = [4, 8]", "channels = { choose = \"w\", each = true }", "s.toml:7: channels = { choose = \"w\", each = … }; wanted choose alone"},
		{"w = [4, 8]", "channels = { choose = \"w\", when = { w = 4 } }", "s.toml:7: channels = { choose = \"w\", when = … }"},
		{"w = [4, 4]", "channels = { choose = \"w\" }", "s.toml:3: w has 4 twice"},
		{"w = 4", "channels = { choose = \"w\" }", "s.toml:3: w = 4; wanted a list"},
		{"w = []", "channels = { choose = \"w\" }", "s.toml:3: w = "},
		{"w = [4, { choose = [5, 6] }]", "channels = { choose = \"w\" }", "s.toml:3: a choice within w"},
		{"w = [4, 8]", "channels = 4", "s.toml:3: a shared choice w that not every network reads"},
		{"w = [4, 8]", "channels = { choose = \"w\" }\nrepeat = { choose = [0, 1] }", "s.toml:3: a shared choice w that not every"},
		{"w = [4, 8]", "channels = { choose = [4, { choose = \"w\" }] }", "s.toml:3: a shared choice w that not every"},
		{"w = [1, -1]", "channels = 4\nrepeat = { choose = \"w\" }", "s.toml:8: repeat = "},
	} {
		_, err := ParseSpace("s.toml", []byte("input = [8, 8, 1]\n[choices]\n"+c.choices+"\n"+stage+c.keys+"\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %s:\nfound  %v\nwanted %s", c.choices, c.keys, err, c.want)
		}
	}
	if _, _, err := Parse("s.toml", []byte(sharedSpace), nil); err == nil || !strings.Contains(err.Error(), "s.toml:2: [choices]: the file is a search space") {
		t.Error(err)
	}
}

// The space of NAS-Bench-201 has its networks: 15,625, and the sizes that the
// paper's code tells of the largest.
func TestNASBench201(t *testing.T) {
	s, err := LoadSpaceFS(zoo.FS, "spaces/nasbench201.toml", "nasbench201")
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Count().Int64(); n != 15625 {
		t.Errorf("%d networks", n)
	}
	trace := func(genotype string) *ir.Graph {
		g, err := s.DecodeGenotype(genotype)
		if err != nil {
			t.Fatal(err)
		}
		text, err := s.Instance(g)
		if err != nil {
			t.Fatal(err)
		}
		net, _, err := Trace("net", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if net, err = ir.Specialize(net, 1); err != nil {
			t.Fatal(err)
		}
		return net
	}
	// 1.531546 M parameters and 220.12 M MACs: six times nor_conv_3x3.
	all := trace("3.3.3.3.3.3")
	t.Logf("%d parameters, %d MACs", trained(all), all.MACs())
	if trained(all) != 1531546 || math.Abs(float64(all.MACs())/220.12e6-1) > 1e-4 {
		t.Errorf("the largest has %d parameters and %d MACs", trained(all), all.MACs())
	}
	// Edges that lead nowhere have no weights.
	if a, b := trained(trace("3.3.0.3.0.0")), trained(trace("0.0.0.3.0.0")); a != b {
		t.Errorf("%d parameters with dead edges, %d without", a, b)
	}
	if n := trained(trace("0.0.0.0.0.0")); n > trained(trace("1.1.1.1.1.1")) {
		t.Errorf("cells of nothing have weights: %d", n)
	}
}

func TestCellRefused(t *testing.T) {
	for keys, want := range map[string]string{
		"edges = [\"skip\", \"skip\"]":     "2 edges; wanted 1, 3, 6, 10",
		"edges = [\"conv5x5\"]":            "\"conv5x5\" among edges; wanted one of [none skip",
		"edges = []":                       "0 edges",
		"edges = [\"none\"]\nchannels = 4": "unknown key channels",
	} {
		_, _, err := Parse("c.toml", []byte("input = [8, 8, 4]\n[[stage]]\nblock = \"cell\"\n"+keys+"\n"), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; wanted %s", keys, err, want)
		}
	}
}
