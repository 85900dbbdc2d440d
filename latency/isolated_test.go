package latency

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// What blocks take in networks is learned from whole networks: one family takes
// less than alone, one more, each block a little otherwise.
func TestInNetworks(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	table := &Table{Facts: []Fact{{"target", ByBlocks[0]}}}
	var truth []float64
	for i := range 60 {
		op, factor := "convolution", 0.8
		if i%3 == 0 {
			op, factor = "dot", 1.15
		}
		us := 50 + 400*r.Float64()
		truth = append(truth, us*factor*(1+0.05*r.NormFloat64()))
		key := fmt.Sprintf("%s | f32[1,%d] -> f32[1,%d] | x", op, 8+i, 8+i)
		if err := table.add(Row{Key: key, Median: us, P10: us, P90: us, Runs: 20, Time: time.Unix(1, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	draw := func() ([]Use, float64) {
		var uses []Use
		sum := 200.0
		for range 20 {
			u := Use{Row: r.IntN(60), N: 1}
			uses, sum = append(uses, u), sum+truth[u.Row]
		}
		return uses, sum
	}
	for i := range 50 {
		uses, us := draw()
		us *= 1 + 0.01*r.NormFloat64()
		if err := table.add(Row{Key: netKey(fmt.Sprint("n", i), uses), Median: us, P10: us, P90: us, Runs: 20, Anchor: 16}); err != nil {
			t.Fatal(err)
		}
	}
	within, covered, rows, net := 0, 0, table.learned().rows, table.learned().net
	for range 200 {
		uses, want := draw()
		got := net.a + net.c*float64(len(uses))
		for _, u := range uses {
			got += net.b * rows[u.Row].t
		}
		e := math.Abs(math.Log(got / want))
		if e < 0.04 {
			within++
		}
		if e <= net.off {
			covered++
		}
	}
	t.Logf("within 4 %%: %d of 200, in the interval of ±%.1f %%: %d", within, 100*net.off, covered)
	if within < 180 || covered < 165 {
		t.Error("worse than that")
	}
}
