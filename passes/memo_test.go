package passes

import (
	"context"
	"testing"

	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// What is remembered is what the interpreter gives, of the same network and of
// one that was changed.
func TestMemoIsTheInterpreter(t *testing.T) {
	for seed := range uint64(40) {
		g, _ := graphgen.Network(seed)
		s, err := ir.Specialize(g, 2)
		if err != nil {
			t.Fatal(err)
		}
		in := RandomInputs(s, seed)
		m := memo{map[string][]remembered{}}
		if _, err := m.run(context.Background(), s, in, true); err != nil {
			t.Fatal(err)
		}
		if grown, err := widen(g, Args{"factor": "1.5"}); err != nil || len(grown.Places) == 0 && seed == 0 {
			t.Fatal(err, grown)
		}
		g.RemoveDead()
		changed, err := ir.Specialize(g, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []*ir.Graph{s, changed} {
			want, err := eval.Run(context.Background(), x, in, eval.Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.run(context.Background(), x, in, false)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if !ir.SameData(got[i], want.Outputs[i]) {
					t.Errorf("seed %d: output %d differs", seed, i)
				}
			}
		}
	}
}
