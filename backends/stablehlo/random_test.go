package stablehlo

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends/backendtest"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// A dense layer with a scale for each row is near the interpreter's: XLA may
// give an element the next level.
func TestDynamicDot(t *testing.T) {
	needXLA(t)
	const text = `const @w: s8[40,30]<axis=1> zero=[0] = randint(3,-127,127)
const @b: f32[30] = normal(2,0.5)
graph @main(%x: f32[2,9,40]) {
  %y = dynamic_dot %x @w @b
  %z = dynamic_dot %x @w
  return %y, %z
}`
	scales := make([]string, 30)
	for i := range scales {
		scales[i] = fmt.Sprint(0.001 * float64(1+i))
	}
	g, err := ir.ParseGraph("dynamic.ir", strings.Replace(text, "zero=", "scale=["+strings.Join(scales, ",")+"] zero=", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	backendtest.Compare(t, Target{}, backendtest.Config{Rel: 2e-3}, g, graphgen.Inputs(g, 5))
}

// The integer part of random quantized graphs, on XLA and by the interpreter:
// the same bits.
func TestRandomIntegerGraphs(t *testing.T) {
	needXLA(t)
	covered, n := map[string]bool{}, 0
	for seed := range uint64(60) {
		part, _, _ := IntegerPart(graphgen.New(graphgen.Config{Seed: seed, Nodes: 6, Quantized: true}))
		if part == nil {
			continue
		}
		n++
		for _, node := range part.Nodes {
			covered[node.Op.Name] = true
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			backendtest.Compare(t, Target{}, backendtest.Config{}, part, graphgen.Inputs(part, seed))
		})
	}
	if n < 40 || len(covered) < 15 {
		t.Errorf("only %d graphs with %d kinds of ops: %v", n, len(covered), covered)
	}
}
