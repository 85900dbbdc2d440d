package nasc

import (
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/passes"
)

// nestedSpaces use what the language of spaces has: alternatives in
// alternatives, repetitions that choose for themselves, optional parts, and
// values that vary outside of stages.
var nestedSpaces = map[string]string{
	"alternatives": `input = [8, 8, 1]
[[stage]]
name = "a"
choose = [
  [],
  [{ block = "conv", name = "a", channels = { choose = [4, 6] } }],
  [{ block = "conv", name = "b", channels = 4 }, { name = "c", choose = [
    [{ block = "max_pool", name = "pool" }],
    [{ block = "inverted", name = "deep", channels = 4, expand = { choose = [2, 3] }, stride = 2 }],
  ] }],
]
[[stage]]
block = "pool"
[[stage]]
block = "dense"
out = 3
`,
	"repetitions": `input = [8, 8, 3]
[[stage]]
block = "basic"
name = "a"
repeat = { choose = [0, 1, 3] }
channels = { choose = [4, 8] }
kernel = { choose = [1, 3], each = true }
[[stage]]
block = "conv"
name = "b"
channels = 4
repeat = { choose = [1, 2] }
act = { choose = ["relu", "hard_swish"], each = true }
[[stage]]
block = "flatten"
[[stage]]
block = "dense"
out = { choose = [2, 5] }
`,
	"roots": `input = { choose = [[6, 6, 1], [8, 4, 3], [12, 12, 1]] }
seed = { choose = [1, 2] }
[[stage]]
block = { choose = ["max_pool", "average_pool"] }
name = "down"
[[stage]]
name = "maybe"
choose = [[], [{ block = "bottleneck", name = "maybe", channels = 2, expansion = { choose = [2, 4] }, repeat = { choose = [1, 2] } }]]
[[stage]]
block = "pool"
[[stage]]
block = "dense"
out = 2
`,
	"shared": `input = [8, 8, 3]
[choices]
edge0-1 = ["none", "skip", "conv1x1"]
edge0-2 = ["none", "avg_pool3x3"]
edge1-2 = ["skip", "conv3x3"]
depth = [1, 2]
[[stage]]
block = "cell"
name = "a"
repeat = { choose = "depth" }
edges = [{ choose = "edge0-1" }, { choose = "edge0-2" }, { choose = "edge1-2" }]
[[stage]]
block = "reduction"
name = "half"
channels = 8
stride = 2
[[stage]]
block = "cell"
name = "b"
repeat = { choose = "depth" }
edges = [{ choose = "edge0-1" }, { choose = "edge0-2" }, { choose = "edge1-2" }]
[[stage]]
block = "pool"
[[stage]]
block = "dense"
out = 2
`,
}

// A space counts as many networks as there are different ones among all
// combinations of its choices, and each compiles and runs in int8.
func TestSpacesCountAndCompile(t *testing.T) {
	for name, text := range nestedSpaces {
		t.Run(name, func(t *testing.T) {
			s, err := arch.ParseSpace(name, []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			networks := map[string]arch.Genotype{} // by text, without the line that names the genotype
			g := make(arch.Genotype, len(s.Genes))
			for {
				c := s.Canonical(g)
				text, err := s.Instance(c)
				if err != nil {
					t.Fatal(err)
				}
				_, body, _ := strings.Cut(text[strings.Index(text, "\n")+1:], "\n")
				networks[body] = c
				i := 0
				for ; i < len(g); i++ {
					if g[i]++; g[i] < len(s.Genes[i].Options) {
						break
					}
					g[i] = 0
				}
				if i == len(g) {
					break
				}
			}
			if n := s.Count(); !n.IsInt64() || n.Int64() != int64(len(networks)) {
				t.Errorf("counts %v, has %d different networks", n, len(networks))
			}
			for _, g := range networks {
				runs(t, s, g)
			}
		})
	}
}

// Networks drawn from the spaces of the zoo compile and run.
func TestSampledNetworksCompile(t *testing.T) {
	for name, n := range map[string]int{"m2k-cnn": 24, "m2k-resnet": 16, "plain-cnn": 6, "densenet": 1, "resnet": 1, "mobilenetv3": 1, "vit": 1, "nasbench201": 3} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && n <= 3 {
				t.Skip("large networks")
			}
			s, err := arch.LoadSpace("zoo/spaces/" + name + ".toml")
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range s.Samples(n, 11) {
				runs(t, s, g)
			}
		})
	}
}

func runs(t *testing.T, s *arch.Space, genotype arch.Genotype) {
	t.Helper()
	text, err := s.Instance(genotype)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Synthetic(t.Context(), s.Name, text, "cpu-int8", 1)
	if err != nil {
		t.Fatalf("%v: %v", genotype, err)
	}
	e, static, err := Start(g, "cpu-int8", 1, 1)
	if err != nil {
		t.Fatalf("%v: %v", genotype, err)
	}
	defer e.Close()
	out := backends.NewOutputs(static)
	if err := e.Run(t.Context(), passes.RandomInputs(static, 3), out); err != nil {
		t.Fatalf("%v: %v", genotype, err)
	}
	for i := range out[0].Len() {
		if v := out[0].At(i); !finite(v) {
			t.Fatalf("%v gives %v", genotype, v)
		}
	}
}
