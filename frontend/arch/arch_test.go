package arch

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/internal/safetensors"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
	"github.com/nasc-dev/nasc/zoo"
	"github.com/nasc-dev/nasc/zoo/digits"
)

// trained counts the trained values, as papers do: without the running moments
// of batch norm and without constants.
func trained(g *ir.Graph) int {
	n := 0
	for _, c := range g.Constants() {
		switch c.Name[strings.LastIndex(c.Name, ".")+1:] {
		case "mean", "variance", "one", "zero", "far", "least":
			continue
		}
		n += c.Type.Shape.Elems()
	}
	return n
}

// TestZoo holds the networks to the published figures.
func TestZoo(t *testing.T) {
	for _, c := range []struct {
		file         string
		params, macs float64
		source       string
	}{
		{"digits-cnn", 19178, 235520, "counted by hand"},
		{"resnet20", 272474, 41.0e6, "0.27 M, 41 M: He et al. 2015; projections add 2752"},
		{"resnet18", 11689512, 1.814e9, "torchvision"},
		{"resnet50", 25557032, 4.089e9, "torchvision"},
		{"mobilenetv2", 3504872, 300.8e6, "torchvision"},
		{"mobilenetv3-small", 2542856, 56.5e6, "torchvision"},
		{"efficientnet-lite0", 4652008, 385e6, "timm; 407 M: TensorFlow's page, counting more than products"},
		{"densenet-small", 769162, 288e6, "0.8 M: Huang et al. 2017"},
		{"vit-tiny", 5717416, 1.25e9, "timm 5.72 M, 1.26 G"},
		{"vit-small", 22050664, 4.60e9, "timm 22.05 M, 4.61 G"},
		{"mixer-small", 18528264, 3.78e9, "timm 18.53 M, 3.78 G"},
		{"minilm", 22565376, 1.434e9, "22.7 M with the pooler of 0.15 M"},
	} {
		t.Run(c.file, func(t *testing.T) {
			g, info, err := LoadFS(zoo.FS, c.file+".toml", "zoo/"+c.file+".toml")
			if err != nil {
				t.Fatal(err)
			}
			s, err := ir.Specialize(g, 1)
			if err != nil {
				t.Fatal(err)
			}
			p, m := float64(trained(g)), float64(s.MACs())
			t.Logf("%.0f parameters, %.4g MACs, %d nodes", p, m, len(g.Nodes))
			if math.Abs(p/c.params-1) > 0.002 {
				t.Errorf("%.0f parameters, want %.0f (%s)", p, c.params, c.source)
			}
			if math.Abs(m/c.macs-1) > 0.02 {
				t.Errorf("%.4g MACs, want %.4g (%s)", m, c.macs, c.source)
			}
			if known := c.file == "digits-cnn"; known == (len(info.Notes) > 0) {
				t.Errorf("notes are %q", info.Notes)
			}
		})
	}
}

// The trained network is right on the digits it has not seen.
func TestDigits(t *testing.T) {
	g, info, err := LoadFS(zoo.FS, "digits-cnn.toml", "digits-cnn.toml")
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Labels) != 10 {
		t.Errorf("labels are %q", info.Labels)
	}
	d, err := digits.Load()
	if err != nil {
		t.Fatal(err)
	}
	n := d.Test.Len()
	s, err := ir.Specialize(g, n)
	if err != nil {
		t.Fatal(err)
	}
	res, err := eval.Run(context.Background(), s, []*ir.Tensor{ir.From(d.Test.Images, n, 8, 8, 1)}, eval.Options{})
	if err != nil {
		t.Fatal(err)
	}
	right, y := 0, res.Outputs[0].F32()
	for i, l := range d.Test.Labels {
		best := 0
		for c := range 10 {
			if y[i*10+c] > y[i*10+best] {
				best = c
			}
		}
		if best == l {
			right++
		}
	}
	if right != 590 {
		t.Errorf("%d of %d right, want 590", right, n)
	}
}

// Small networks of every block run and give finite numbers.
func TestBlocksRun(t *testing.T) {
	for _, name := range []string{"resnet20", "vit", "mixer", "text"} {
		text := map[string]string{
			"vit":   "input = [16, 16, 3]\n[[stage]]\nblock = \"patches\"\nsize = 4\nwidth = 12\nclass = true\npositions = true\n[[stage]]\nblock = \"encoder\"\nheads = 3\nhidden = 24\nrepeat = 2\n[[stage]]\nblock = \"first_token\"\n",
			"mixer": "input = [16, 16, 3]\n[[stage]]\nblock = \"patches\"\nsize = 4\nwidth = 12\n[[stage]]\nblock = \"mixer\"\ntokens = 8\nhidden = 20\n[[stage]]\nblock = \"pool\"\n",
			"text":  "input = [9]\nvocabulary = 50\nmask = true\n[[stage]]\nblock = \"embedding\"\nwidth = 8\npositions = 12\ntypes = 2\n[[stage]]\nblock = \"encoder\"\nheads = 2\nhidden = 16\nnorm = \"post\"\n[[stage]]\nblock = \"pool\"\n",
		}[name]
		var g *ir.Graph
		var err error
		if text == "" {
			g, _, err = LoadFS(zoo.FS, name+".toml", name)
		} else {
			g, _, err = Parse(name, []byte(text), nil)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if g, err = ir.Specialize(g, 2); err != nil {
			t.Fatal(err)
		}
		var in []*ir.Tensor
		for _, v := range g.Inputs {
			x := ir.NewTensor(v.Type.DType, v.Type.Shape...)
			for i := range x.Len() {
				if v.Type.DType == ir.F32 {
					x.Set(i, math.Sin(float64(i)))
				} else if v.Name == "attention_mask" {
					x.Set(i, 1)
				} else {
					x.Set(i, float64(i%50))
				}
			}
			in = append(in, x)
		}
		res, err := eval.Run(context.Background(), g, in, eval.Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, v := range res.Outputs[0].F32() {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				t.Fatalf("%s: output %d is %g", name, i, v)
			}
		}
	}
}

// TestErrorsInOrder: several faults are told in the order of the file's lines,
// wherever they were found first.
func TestErrorsInOrder(t *testing.T) {
	text := "input = [8, 8, 1]\nlabel = [\"a\"]\n[[stage]]\nblock = \"conv\"\nchannels = 4\nkernal = 5\n[[stage]]\nblock = \"pool\"\nkind = \"sum\"\n"
	_, _, err := Parse("bad.toml", []byte(text), func(string) ([]byte, error) { return nil, os.ErrNotExist })
	if err == nil {
		t.Fatal("no error")
	}
	var places []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		places = append(places, strings.Join(strings.SplitN(line, ":", 3)[:2], ":"))
	}
	if want := []string{"bad.toml:2", "bad.toml:6", "bad.toml:9"}; !slices.Equal(places, want) {
		t.Errorf("places %v, wanted %v in\n%v", places, want, err)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"name = ", "bad.toml:1"},
		{"input = [8, 8, 1]\n", "no stages"},
		{"input = [8, 8]\n[[stage]]\nblock = \"pool\"\n", "bad.toml:1: input = [8 8]; wanted [height, width, channels] or [tokens]"},
		{"input = [8, 8, 1]\n\n[[stage]]\nblock = \"convolution\"\n", `bad.toml:4: block "convolution"; wanted one of [conv`},
		{"input = [8, 8, 1]\n[[stage]]\nblock = \"conv\"\nchannels = 4\nkernal = 5\n", "bad.toml:5: unknown key kernal; wanted one of block, name, repeat, channels"},
		{"input = [8, 8, 1]\n[[stage]]\nblock = \"conv\"\n", "bad.toml:2: no channels; wanted channels = a number"},
		{"input = [8, 8, 1]\n[[stage]]\nblock = \"conv\"\nchannels = { choose = [4, 8] }\n", "bad.toml:4: channels = { choose = [4 8] }: the file is a search space; wanted one network"},
		{"input = [8, 8, 1]\n[[stage]]\nname = \"end\"\nchoose = [[], [{ block = \"pool\" }]]\n", "bad.toml:4: a stage to choose: the file is a search space; wanted one network"},
		{"input = [8, 8, 1]\n[[stage]]\nblock = \"conv\"\nchannels = \"four\"\n", "bad.toml:4: channels = four; wanted a whole number"},
		{"input = [8, 8, 1]\n[[stage]]\nblock = \"conv\"\nchannels = -4\n", "bad.toml:4: channels = -4"},
		{"input = [8, 8, 3]\n[[stage]]\nblock = \"conv\"\nchannels = 4\ngroups = 2\n", "bad.toml:5: 3 to 4 channels in 2 groups"},
		{"input = [8, 8, 3]\n[[stage]]\nblock = \"conv\"\nchannels = 4\nact = \"swish\"\n", `bad.toml:5: act = "swish"; wanted none, relu`},
		{"input = [8, 8, 3]\n[[stage]]\nblock = \"pool\"\n[[stage]]\nblock = \"conv\"\nchannels = 4\n", `bad.toml:5: block "conv" after`},
		{"input = [4, 4, 3]\n[[stage]]\nblock = \"max_pool\"\nkernel = 9\n", "bad.toml:3: block max_pool"},
		{"input = [8]\n[[stage]]\nblock = \"pool\"\n", "vocabulary"},
		{"inputs = [8, 8, 3]\n[[stage]]\nblock = \"pool\"\n", "bad.toml:1: unknown key inputs"},
		{"input = [8, 8, 3]\nweights = \"no.safetensors\"\n[[stage]]\nblock = \"pool\"\n", "bad.toml:2: weights no.safetensors"},
		{"input = [8, 8, 3]\n[[stage]]\nblock = \"inverted\"\nchannels = 8\nexpand = 1e30\n", "bad.toml:5: expand = 1e+30; wanted a number from 0 to 1024"},
		{"input = [8, 8, 3]\n[[stage]]\nblock = \"inverted\"\nchannels = 8\nse = nan\n", "bad.toml:5: se = NaN; wanted a number from 0 to 1"},
		{"input = [8, 8, 3]\n[[stage]]\nblock = \"transition\"\nshare = 1e18\n", "bad.toml:4: share = 1e+18"},
		{"input = [8, 8, 3]\n[[stage]]\nblock = \"conv\"\nchannels = 4\nepsilon = -1\n", "bad.toml:5: epsilon = -1"},
		{"input = [8, 8, 3]\n[[stage]]\nblock = \"conv\"\nchannels = 4\nkernel = 1048576\n", "values in all weights"},
		{"input = [8, 8, 3]\n[[stage]]\nblock = \"conv\"\nname = \"a\"\nchannels = 4\n[[stage]]\nblock = \"conv\"\nname = \"a\"\nchannels = 4\n", "bad.toml:6: a second weight a.weight; wanted one of each name; give the stages different names"},
		{"input = [8, 8, 3]\n[[stage]]\nblock = \"conv\"\nchannels = { choose = [] }\n", "bad.toml:4: channels = { choose = [] }; wanted one value or more"},
		{"input = [8, 8, 3]\nstage = 3\n", "bad.toml:2: stage = 3; wanted tables, each under [[stage]]"},
		{"input = [8, 8, 3]\nlabels = [\"a\"]\n[[stage]]\nblock = \"pool\"\n", "bad.toml:2: 1 labels for 3 outputs"},
		{"input = [8, 8, 3]\n[preprocess]\nstd = [1, 0, 1]\n[[stage]]\nblock = \"pool\"\n", "bad.toml:3: std = [1 0 1]; wanted no zeros"},
		{"input = [8, 8, 3]\n[preprocess]\nmean = [nan]\n[[stage]]\nblock = \"pool\"\n", "bad.toml:3: mean = [NaN]; wanted finite numbers"},
		{"input = [8, 8, 3]\n[preprocess]\nmean = [1, 2]\n[[stage]]\nblock = \"pool\"\n", "bad.toml:3: mean of 2 numbers; wanted 3"},
		{"input = [8, 8, 3]\n[preprocess]\nheight = 9\n[[stage]]\nblock = \"pool\"\n", "bad.toml:3: pictures of 9×8; wanted the input's 8×8"},
		{"input = [9]\ninput_name = \"attention_mask\"\nvocabulary = 9\nmask = true\n[[stage]]\nblock = \"embedding\"\nwidth = 4\n", "bad.toml:2: input_name"},
		{"input = [9]\nvocabulary = 9\n[[stage]]\nblock = \"flatten\"\n", "bad.toml:4: block \"flatten\" after i64[N,9]"},
		{"input = [1024, 1024, 1024]\n[[stage]]\nblock = \"flatten\"\n[[stage]]\nblock = \"dense\"\nout = 1000000\n", "at most"},
	} {
		_, _, err := Parse("bad.toml", []byte(c.text), func(string) ([]byte, error) { return nil, os.ErrNotExist })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q gives %v, wanted %q", c.text, err, c.want)
		}
	}
}

// A block left open, or that is no name, is one mistake and one line.
func TestBlockIsNoName(t *testing.T) {
	for block, want := range map[string]string{
		`{ choose = ["conv", "bottleneck"] }`: `bad.toml:3: block = { choose = [conv bottleneck] }: the file is a search space; wanted one network; write one of the values, or draw networks with nasc space sample`,
		"3":                                   "bad.toml:3: block = 3; wanted a string",
	} {
		text := "input = [8, 8, 1]\n[[stage]]\nblock = " + block + "\nchannels = 4\n"
		if _, _, err := Parse("bad.toml", []byte(text), nil); err == nil || err.Error() != want {
			t.Errorf("block = %s gives %v, wanted %s", block, err, want)
		}
	}
}

// Weights that do not fit are refused with their names.
func TestWeights(t *testing.T) {
	dir := t.TempDir()
	text := "input = [8, 8, 1]\nweights = \"w.safetensors\"\n[[stage]]\nblock = \"conv\"\nname = \"conv1\"\nchannels = 8\nnorm = false\n"
	for name, b := range map[string][]byte{"net.toml": []byte(text), "w.safetensors": digits.WeightsFile()} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := Load(filepath.Join(dir, "net.toml"))
	if err == nil || !strings.Contains(err.Error(), "conv1.weight is f32[3,3,1,16] in the weights file; wanted f32[3,3,1,8]") {
		t.Errorf("weights of another shape: %v", err)
	}
	text = strings.Replace(text, "channels = 8", "channels = 16", 1)
	if err := os.WriteFile(filepath.Join(dir, "net.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err = Load(filepath.Join(dir, "net.toml")); err == nil || !strings.Contains(err.Error(), "no stage reads: conv2.bias") {
		t.Errorf("weights that are left over: %v", err)
	}
}

// Nodes are named after their stages, no two alike: policies and passes name them.
func TestNames(t *testing.T) {
	g, _, err := LoadFS(zoo.FS, "resnet20.toml", "resnet20.toml")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range g.Nodes {
		if seen[n.Name] {
			t.Errorf("two nodes %q", n.Name)
		}
		seen[n.Name] = true
	}
	for _, want := range []string{"stem", "stem.bn", "stem.relu", "layer1.0.conv1", "layer2.0.shortcut", "layer3.2.add", "fc"} {
		if !seen[want] {
			t.Errorf("no node %q", want)
		}
	}
}

// A weight that is no number is refused where it is.
func TestNaNWeights(t *testing.T) {
	var b bytes.Buffer
	w := []float32{1, float32(math.NaN()), 3}
	if err := safetensors.Write(&b, []ir.NamedTensor{{Name: "fc.weight", Tensor: ir.From(w, 3, 1)}, {Name: "fc.bias", Tensor: ir.From(w[:1], 1)}}); err != nil {
		t.Fatal(err)
	}
	text := "input = [1, 1, 3]\nweights = \"w.safetensors\"\n[[stage]]\nblock = \"flatten\"\n[[stage]]\nblock = \"dense\"\nname = \"fc\"\nout = 1\n"
	_, _, err := Parse("net.toml", []byte(text), func(string) ([]byte, error) { return b.Bytes(), nil })
	if err == nil || !strings.Contains(err.Error(), "fc.weight[1] is NaN in the weights file; wanted finite weights") {
		t.Errorf("NaN weights: %v", err)
	}
}

// The same file gives the same weights; another seed others.
func TestSeed(t *testing.T) {
	text := "input = [8, 8, 1]\nseed = 7\n[[stage]]\nblock = \"conv\"\nchannels = 8\n"
	read := func(text string) string {
		g, _, err := Parse("net.toml", []byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(g.Constants()[0].Const.RawBytes())
	}
	first, again := read(text), read(text)
	if first != again || first == read(strings.Replace(text, "7", "8", 1)) {
		t.Error("weights do not follow the seed")
	}
}

func FuzzParse(f *testing.F) {
	entries, err := zoo.FS.ReadDir(".")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		// The small ones: a fuzzer's step should be short.
		if n := e.Name(); n == "digits-cnn.toml" || n == "resnet20.toml" {
			b, err := zoo.FS.ReadFile(n)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Add([]byte("input = [9]\nvocabulary = 50\n[[stage]]\nblock = \"embedding\"\nwidth = 8\n[[stage]]\nblock = \"encoder\"\nheads = 2\nhidden = 16\n"))
	old := maxValues
	maxValues = 1 << 19
	f.Cleanup(func() { maxValues = old })
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		g, _, err := Parse("fuzz.toml", b, func(string) ([]byte, error) { return nil, os.ErrNotExist })
		if err == nil && g.Verify() != nil {
			t.Errorf("a graph that does not verify: %v", g.Verify())
		}
	})
}
