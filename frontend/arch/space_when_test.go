package arch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Spaces with conditions: on a choice, on a stage, on alternatives, on a
// repetition, within what may be absent itself.
var conditional = map[string]struct {
	text string
	want int64
}{
	"choice": {`input = [8, 8, 1]
[[stage]]
block = "conv"
name = "a"
channels = { choose = [4, 8, 16] }
kernel = { choose = [1, 3, 5], when = { "a.channels" = [8, 16] } }
`, 1 + 3 + 3},
	"stage": {`input = [8, 8, 1]
[[stage]]
block = "conv"
name = "a"
channels = { choose = [4, 8] }
[[stage]]
block = "conv"
name = "b"
when = { "a.channels" = 8 }
channels = { choose = [4, 8, 12] }
repeat = { choose = [1, 2] }
kernel = { choose = [1, 3], each = true }
`, 1 + 3*(2+4)},
	"alternatives": {`input = { choose = [[8, 8, 1], [12, 12, 1]] }
[[stage]]
name = "a"
choose = [[], [{ block = "conv", name = "in", channels = { choose = [4, 8] } }]]
[[stage]]
name = "b"
when = { "in.channels" = [8], input = [[12, 12, 1]] }
choose = [[{ block = "conv", channels = 4 }], [{ block = "conv", channels = { choose = [6, 8] } }]]
[[stage]]
block = "pool"
`, 3 + 2 + 3}, // in.channels is 4 where a is empty; b only with 8 and 12×12
	"deep": {`input = [8, 8, 1]
[[stage]]
block = "conv"
name = "a"
channels = 4
repeat = { choose = [0, 1, 2] }
kernel = { choose = [1, 3], each = true }
[[stage]]
block = "conv"
name = "b"
channels = { choose = [4, { choose = [8] }], when = { "a.1.kernel" = 3 } }
repeat = { choose = [1, 2], when = { "a.repeat" = [0, 2] } }
`, 1*2 + 2*1 + 2*1*2 + 2*2*2},
	"chain": {`input = [8, 8, 1]
[[stage]]
block = "conv"
name = "a"
channels = { choose = [4, 8] }
[[stage]]
block = "conv"
name = "b"
channels = { choose = [4, 8], when = { "a.channels" = 8 } }
[[stage]]
block = "conv"
name = "c"
channels = { choose = [4, 8], when = { "b.channels" = 8 } }
`, 1 + 1 + 2},
}

// A space with conditions counts as many networks as it enumerates, each once
// and with a text of its own, and each is an architecture.
func TestConditionsCountWhatTheyEnumerate(t *testing.T) {
	for name, c := range conditional {
		t.Run(name, func(t *testing.T) {
			s, err := ParseSpace(name+".toml", []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for g := range s.All() {
				text, err := s.Instance(g)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := Trace("net.toml", []byte(text)); err != nil {
					t.Fatalf("%v: %v\n%s", g, err, text)
				}
				if strings.Contains(text, "when") {
					t.Errorf("a condition in a network:\n%s", text)
				}
				if !slices.Equal(s.Canonical(g), g) {
					t.Errorf("%v is not canonical", g)
				}
				seen[g.String()] = true
			}
			// Every list of numbers, made canonical, is one of them: nothing is missed.
			every := map[string]bool{}
			var fill func(g Genotype, i int)
			fill = func(g Genotype, i int) {
				if i == len(g) {
					k := s.Canonical(g)
					every[k.String()] = true
					if err := s.Check(k); err != nil {
						t.Error(err)
					}
					return
				}
				for v := range s.Genes[i].Options {
					g[i] = v
					fill(g, i+1)
				}
			}
			fill(make(Genotype, len(s.Genes)), 0)
			if n := s.Count().Int64(); n != c.want || int64(len(seen)) != n || int64(len(every)) != n {
				t.Errorf("%d counted, %d enumerated, %d made canonical, %d by hand", n, len(seen), len(every), c.want)
			}
			for _, p := range s.Samples(5, 1) {
				if len(s.Present(p)) > len(s.Slots()) {
					t.Errorf("%v has more stages than there are slots", p)
				}
			}
		})
	}
}

func TestConditionsRefused(t *testing.T) {
	const stage = "input = [8, 8, 1]\n[[stage]]\nblock = \"conv\"\nname = \"a\"\nchannels = { choose = [4, 8] }\n"
	for in, want := range map[string]string{
		"kernel = { choose = [1, 3], when = 5 }\n":                           "space.toml:6: when = 5; wanted when = {",
		"kernel = { choose = [1, 3], when = { \"b.channels\" = 4 } }\n":      "space.toml:6: when \"b.channels\"; wanted an earlier choice: a.channels",
		"kernel = { choose = [1, 3], when = { \"a.channels\" = [4, 5] } }\n": "space.toml:6: when \"a.channels\" = 5; wanted one of 4, 8",
		"when = { \"a.channels\" = 4 }\n":                                    "space.toml:6: when \"a.channels\"; wanted an earlier choice",
	} {
		_, err := ParseSpace("space.toml", []byte(stage+in))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", in, err)
		}
	}
	text := "input = [8, 8, 1]\n"
	when := []string{}
	for i := range 7 {
		text += fmt.Sprintf("[[stage]]\nblock = \"conv\"\nname = \"s%d\"\nchannels = { choose = [4, 8, 12, 16] }\n", i)
		when = append(when, fmt.Sprintf("\"s%d.channels\" = 4", i))
	}
	_, err := ParseSpace("space.toml", []byte(text+"kernel = { choose = [1, 3], when = { "+strings.Join(when, ", ")+" } }\n"))
	if err == nil || !strings.Contains(err.Error(), "combinations; wanted at most 4096") {
		t.Error(err)
	}
}
