package latency

import "testing"

// What is no network of the space is not predicted: a list that is too short
// fell, and an option that is not there cost what another network costs.
func TestChainRefuses(t *testing.T) {
	options := []int{2, 3}
	one := func(g int) Choice { return NewChoice([]int{g}, func(g int) int { return options[g] }) }
	c := &Chain{Base: 1, Root: one(0), First: []int32{0, 0}, Slots: []Slot{{Choice: one(1), Cost: []float64{1, 2, 3}, Next: []int32{0, 0, -1}}}}
	if ms, ok := c.Predict([]int{1, 1}); !ok || ms != 3 {
		t.Errorf("found %v, %v", ms, ok)
	}
	for _, g := range [][]int{nil, {1}, {2, 0}, {-1, 0}, {0, 3}, {0, -1}, {0, 2}} {
		if ms, ok := c.Predict(g); ok {
			t.Errorf("%v takes %v ms", g, ms)
		}
	}
}
