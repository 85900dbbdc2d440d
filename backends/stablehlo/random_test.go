package stablehlo

import (
	"fmt"
	"testing"

	"github.com/nasc-dev/nasc/backends/backendtest"
	"github.com/nasc-dev/nasc/internal/graphgen"
)

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
