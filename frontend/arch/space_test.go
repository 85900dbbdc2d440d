package arch

import (
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/zoo"
)

const smallSpace = `input = { choose = [[8, 8, 1], [12, 12, 1]] }
seed = 3
[[stage]]
block = "conv"
name = "a"
channels = { choose = [4, 8] }
repeat = { choose = [0, 1, 2] }
kernel = { choose = [1, 3], each = true }
stride = 2
[[stage]]
name = "b"
choose = [
  [],
  [{ block = "conv", name = "b1", channels = { choose = [4, 6, 8] } }, { block = "max_pool" }],
  { block = "inverted", channels = 4, expand = { choose = [2, 3] }, repeat = 2 },
]
[[stage]]
block = "pool"
`

// A space counts as many networks as it enumerates, each once, and each is an
// architecture.
func TestSpaceCountsWhatItEnumerates(t *testing.T) {
	s, err := ParseSpace("small.toml", []byte(smallSpace))
	if err != nil {
		t.Fatal(err)
	}
	// input 2 × (left out 1 + once 2·2 + twice 2·2·2) × (1 + 3 + 2)
	if want := big.NewInt(2 * 13 * 6); s.Count().Cmp(want) != 0 {
		t.Errorf("%v networks, wanted %v", s.Count(), want)
	}
	seen, texts := map[string]bool{}, map[string]bool{}
	for g := range s.All() {
		text, err := s.Instance(g)
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.DecodeGenotype(g.String())
		if err != nil || !slices.Equal(again, g) {
			t.Fatalf("%v is read back as %v, %v", g, again, err)
		}
		net, _, err := Parse("instance.toml", []byte(text), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if err := net.Verify(); err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(text[strings.Index(text, "\n")+1:], "\n")
		seen[g.String()], texts[body] = true, true
	}
	if n := int(s.Count().Int64()); len(seen) != n || len(texts) != n {
		t.Errorf("%d genotypes and %d different texts of %d networks", len(seen), len(texts), n)
	}
	if got := s.Samples(1000, 1); len(got) != len(seen) {
		t.Errorf("%d samples of %d networks", len(got), len(seen))
	}
}

// The first repetition alone has the stride, and names count the repetitions.
func TestInstance(t *testing.T) {
	s, err := ParseSpace("small.toml", []byte(smallSpace))
	if err != nil {
		t.Fatal(err)
	}
	var g Genotype
	for g = range s.All() { // the last: all genes at their ends
	}
	text, err := s.Instance(g)
	if err != nil {
		t.Fatal(err)
	}
	want := `
[[stage]]
block = "conv"
name = "a.0"
channels = 8
kernel = 3
stride = 2

[[stage]]
block = "conv"
name = "a.1"
channels = 8
kernel = 3

[[stage]]
block = "inverted"
name = "b.2.0"
repeat = 2
channels = 4
expand = 3

[[stage]]
block = "pool"
name = "stage3"
`
	if !strings.HasSuffix(text, want) || !strings.Contains(text, "input = [12, 12, 1]\nseed = 3\n") {
		t.Errorf("found\n%s", text)
	}
}

// A trained architecture is a space of one network, without its weights: profile
// and validate draw from it.
func TestSpaceOfOneNetworkHasNoWeights(t *testing.T) {
	s, err := LoadSpaceFS(zoo.FS, "digits-cnn.toml", "digits-cnn.toml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Instance(s.Sample(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, info, err := Parse("sample.toml", []byte(text), nil); err != nil || !info.Random {
		t.Errorf("%v in\n%s", err, text)
	}
}

func TestSamplesRepeat(t *testing.T) {
	for _, name := range []string{"mobilenetv3", "resnet", "vit", "plain-cnn", "densenet"} {
		s, err := LoadSpaceFS(zoo.FS, "spaces/"+name+".toml", name)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v networks, %d genes", name, s.Count(), len(s.Genes))
		if a, b := s.Sample(7), s.Sample(7); !slices.Equal(a, b) || slices.Equal(a, s.Sample(8)) {
			t.Errorf("%s: seed 7 gives %v and %v", name, a, b)
		}
		first := s.Samples(20, 1)
		seen := map[string]bool{}
		for i, g := range first {
			if seen[g.String()] || !slices.Equal(g, s.Samples(20, 1)[i]) {
				t.Errorf("%s: sample %d is %v", name, i, g)
			}
			seen[g.String()] = true
			if err := s.Check(g); err != nil {
				t.Error(err)
			}
		}
		for _, g := range first[:3] {
			text, err := s.Instance(g)
			if err != nil {
				t.Fatal(err)
			}
			net, _, err := Parse(name+".toml", []byte(text), nil)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, text)
			}
			if _, err := ir.Specialize(net, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The Once-for-all part of the space has (Σ_{d=2..4} 9^d)^5 networks a width.
func TestCountOfMobileNetV3(t *testing.T) {
	s, err := LoadSpaceFS(zoo.FS, "spaces/mobilenetv3.toml", "mobilenetv3")
	if err != nil {
		t.Fatal(err)
	}
	want := new(big.Int).Exp(big.NewInt(2*(81+729+6561)), big.NewInt(5), nil)
	if s.Count().Cmp(want) != 0 {
		t.Errorf("%v networks, wanted %v", s.Count(), want)
	}
}

func TestSpaceErrors(t *testing.T) {
	stage := "input = [8, 8, 1]\n[[stage]]\nblock = \"conv\"\n"
	for _, c := range []struct{ text, want string }{
		{"input = ", "bad.toml:1"},
		{"input = [8, 8, 1]\n", "no stages"},
		{stage + "channels = { choose = [] }\n", "bad.toml:4: channels = { choose = [] }; wanted one value or more"},
		{stage + "channels = { choose = 4 }\n", "bad.toml:4: channels = { choose = 4 }; wanted choose = a list"},
		{stage + "channels = { choose = [4, 8, 4] }\n", "bad.toml:4: channels has 4 twice to choose from"},
		{stage + "channels = { choose = [4], chose = 5 }\n", "bad.toml:4: channels = { choose = …, chose = … }"},
		{stage + "channels = 4\nkernal = { choose = [3, 5] }\n", "bad.toml:5: unknown key kernal; wanted one of block"},
		{stage + "channels = { each = true }\n", "bad.toml:4: channels = { each = true }; wanted { choose"},
		{stage + "channels = { choose = [{ choose = [1, 2], each = true }] }\n", "bad.toml:4: each = true within channels"},
		{stage + "channels = 4\nrepeat = { choose = [1, -1] }\n", "bad.toml:5: repeat = "},
		{stage + "channels = 4\nrepeat = 0\n", "bad.toml:5: repeat = 0; wanted whole numbers from 1"},
		{stage + "channels = 4\nname = { choose = [\"a\"] }\n", "a stage's name does not vary"},
		{"input = [8, 8, 1]\n[[stage]]\nblock = \"cnv\"\n", "bad.toml:3: block \"cnv\"; wanted one of [conv"},
		{"input = [8, 8, 1]\n[[stage]]\nchannels = 3\n", "a stage without a block"},
		{"input = [8, 8, 1]\n[[stage]]\nchoose = [3]\n", "bad.toml:3: 3 among stages"},
		{"input = [8, 8, 1]\n[[stage]]\nblock = \"pool\"\nchoose = [[]]\n", "bad.toml:3: key block beside the choose"},
		{"inputs = [8, 8, 1]\n[[stage]]\nblock = \"pool\"\n", "bad.toml:1: unknown key inputs"},
		{stage + "channels = 1979-05-27\n", "bad.toml:4: channels ="},
	} {
		_, err := ParseSpace("bad.toml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\nfound  %v\nwanted %s", c.text, err, c.want)
		}
	}
	s, err := ParseSpace("small.toml", []byte(smallSpace))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"1.2", "2 numbers; wanted"},
		{"a", `"a" at 0`},
		{"", "0 numbers"},
		{"9" + strings.Repeat(".0", len(s.Genes)-1), "wanted 0 to 1"},
		{strings.Repeat("0.", len(s.Genes)-1) + "1", "it decides nothing here"},
	} {
		if _, err := s.DecodeGenotype(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("genotype %q: %v; wanted %s", c.text, err, c.want)
		}
	}
}

func FuzzParseSpace(f *testing.F) {
	f.Add([]byte(smallSpace), uint64(1))
	f.Add([]byte(sharedSpace), uint64(1))
	for _, name := range []string{"mobilenetv3", "vit", "plain-cnn"} {
		b, err := zoo.FS.ReadFile("spaces/" + name + ".toml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint64(2))
	}
	old := maxValues
	maxValues = 1 << 19
	f.Cleanup(func() { maxValues = old })
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		if len(b) > 4096 {
			return
		}
		s, err := ParseSpace("fuzz.toml", b)
		if err != nil {
			return
		}
		if s.Count().Sign() <= 0 {
			t.Fatalf("%v networks", s.Count())
		}
		g := s.Sample(seed)
		text, err := s.Instance(g)
		if err != nil {
			t.Fatalf("a sample is refused: %v", err)
		}
		again, err := ParseSpace("again.toml", []byte(text))
		if err != nil { // whole, of one network, unless stages' own checks refuse it
			if _, _, perr := Parse("again.toml", []byte(text), nil); perr == nil {
				t.Fatalf("an instance is no space of one: %v\n%s", err, text)
			}
			return
		}
		if again.Count().Cmp(big.NewInt(1)) != 0 {
			t.Fatalf("an instance has %v networks:\n%s", again.Count(), text)
		}
	})
}
