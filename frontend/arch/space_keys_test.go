package arch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A space that no network of can be built is refused as a file is, by the line:
// what a block lacks, and each value to choose from that it does not take.
func TestSpaceKeys(t *testing.T) {
	const input = "input = [8, 8, 3]\n"
	for _, c := range []struct{ text, want string }{
		{input + "[[stage]]\nblock = \"conv\"\nkernel = { choose = [1, 3] }", `x.toml:2: block "conv" without channels; wanted channels = a number, or { choose = [...] }`},
		{input + "[[stage]]\nblock = \"conv\"\nchannels = { choose = [8, 0] }", "x.toml:4: channels = 0; wanted 1 or more"},
		{input + "[[stage]]\nblock = \"conv\"\nchannels = { choose = [8, \"wide\"] }", "x.toml:4: channels = wide; wanted a whole number"},
		{input + "[[stage]]\nblock = \"conv\"\nchannels = [8, 16]", "x.toml:4: channels = [8]; wanted a whole number"},
		{input + "[[stage]]\nblock = \"conv\"\nchannels = 8\nact = { choose = [\"relu\", \"rely\"], each = true }", `x.toml:5: act = "rely"; wanted none, relu`},
		{input + "[[stage]]\nblock = \"conv\"\nchannels = 8\nkernel = { choose = [1, -3], each = true }", "x.toml:5: kernel = -3; wanted a number from 0"},
		{input + "[[stage]]\nchoose = [[], [{ block = \"basic\" }]]", `x.toml:2: block "basic" without channels`},
		{input + "[[stage]]\nblock = { choose = [\"conv\", \"dense_layer\"] }\nchannels = 8", `x.toml:2: block "dense_layer" without growth`},
		{input + "[[stage]]\nblock = { choose = [\"conv\", \"cnov\"] }\nchannels = 8", `x.toml:3: block "cnov"; wanted one of`},
		{input + "[[stage]]\nblock = \"cell\"", `x.toml:2: block "cell" without edges; wanted edges = a list`},
		{input + "[[stage]]\nblock = \"cell\"\nedges = [{ choose = [\"skip\", \"skp\"] }]", `x.toml:4: "skp" among edges`},
		{input + "[choices]\nw = [8, -8]\n[[stage]]\nblock = \"conv\"\nchannels = { choose = \"w\" }", "x.toml:6: channels = -8"},
		{"[[stage]]\nblock = \"pool\"", "x.toml: no input; wanted input = [height, width, channels] or [tokens]"},
		{"input = [8, 8]\n[[stage]]\nblock = \"pool\"", "x.toml:1: input = [8, 8]; wanted [height"},
		{"input = { choose = [[8, 8, 3], [0, 8, 3]] }\n[[stage]]\nblock = \"pool\"", "x.toml:1: 0 in input; wanted numbers from 1"},
		{"input = [16]\n[[stage]]\nblock = \"embedding\"\nwidth = 8", "x.toml: input of tokens without a vocabulary"},
	} {
		_, err := ParseSpace("x.toml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n%v; wanted %s", c.text, err, c.want)
		}
	}
}

// What a space is refused for, no network can have; and what a block lacks, a
// space is refused for.
func TestSpaceKeysAreTheBlocks(t *testing.T) {
	odd := []string{"0", "1", "2", "-1", "1.5", "-0.5", "2000000000", "nan", "true", `"x"`, `"same"`, `"relu"`, `"pre"`, "[]", "[1]", `["skip"]`, `["x"]`, "{ a = 1 }"}
	inputs := []string{"input = [8, 8, 3]\n", "input = [4]\nvocabulary = 9\n"}
	patches := "[[stage]]\nblock = \"patches\"\nsize = 4\nwidth = 8\n"
	for _, b := range blocks {
		var stage strings.Builder
		fmt.Fprintf(&stage, "[[stage]]\nblock = %q\n", b.name)
		for _, k := range required[b.name] {
			if !slices.Contains(b.keys, k) {
				t.Errorf("%s reads no key %s", b.name, k)
			}
			v := "4"
			if k == "edges" {
				v = `["skip"]`
			}
			fmt.Fprintf(&stage, "%s = %s\n", k, v)
		}
		// The input that the block takes, and whether it does with required alone.
		before := ""
		for _, in := range append(inputs, inputs[0]+patches) {
			if _, _, err := Parse("x.toml", []byte(in+stage.String()), nil); err == nil {
				before = in
				break
			}
		}
		if before == "" {
			t.Errorf("%s: no network of its required keys alone", b.name)
			continue
		}
		if _, err := ParseSpace("x.toml", []byte(before+stage.String())); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
		for _, k := range required[b.name] {
			var less []string
			for line := range strings.Lines(stage.String()) {
				if !strings.HasPrefix(line, k+" ") {
					less = append(less, line)
				}
			}
			if _, _, err := Parse("x.toml", []byte(before+strings.Join(less, "")), nil); err == nil {
				t.Errorf("%s: a network without %s", b.name, k)
			}
		}
		for _, k := range b.keys {
			if reads[k] == nil {
				t.Errorf("%s: nothing says how %s is read", b.name, k)
			}
			var rest []string
			for line := range strings.Lines(stage.String()) {
				if !strings.HasPrefix(line, k+" ") {
					rest = append(rest, line)
				}
			}
			for _, v := range odd {
				text := before + strings.Join(rest, "") + k + " = " + v + "\n"
				_, refused := ParseSpace("x.toml", []byte(text))
				_, _, err := Parse("x.toml", []byte(text), nil)
				if refused != nil && err == nil {
					t.Errorf("%s: %s = %s: %v, and yet a network", b.name, k, v, refused)
				}
				if refused == nil && err != nil && !strings.ContainsAny(v, "12") { // which shapes may refuse
					t.Errorf("%s: %s = %s is in a space, and in no network: %v", b.name, k, v, err)
				}
			}
		}
	}
}

// Stages that never fit each other make a space of no network.
func TestBuildable(t *testing.T) {
	const text = "input = [8, 8, 3]\n[[stage]]\nblock = \"pool\"\n[[stage]]\nblock = { choose = [\"basic\", \"conv\"] }\nchannels = 8\n"
	s, err := ParseSpace("x.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Buildable(); err == nil || !strings.Contains(err.Error(), `x.toml: no network can be built: block "`) || !strings.Contains(err.Error(), "wanted a picture") {
		t.Error(err)
	}
	if s, err = ParseSpace("x.toml", []byte(smallSpace)); err != nil {
		t.Fatal(err)
	}
	if err := s.Buildable(); err != nil {
		t.Error(err)
	}
}
