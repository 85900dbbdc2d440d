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
func TestWithin(t *testing.T) {
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
	m := table.learned()
	within, covered, rows, net := 0, 0, m.rows, m.net
	widest := 0.0
	for range 200 {
		uses, want := draw()
		got := net.a + net.c*float64(len(uses))
		var list []blockUse
		for _, u := range uses {
			got += net.b * rows[u.Row].t
			list = append(list, blockUse{row: u.Row, family: KeyFamily(table.Rows[u.Row].Key), n: u.N})
		}
		e := math.Abs(math.Log(got / want))
		if e < 0.04 {
			within++
		}
		off := m.within.off(got, list, 0)
		widest = max(widest, off)
		if e <= off {
			covered++
		}
	}
	t.Logf("within 4 %%: %d of 200, in their intervals of at most ±%.1f %%: %d", within, 100*widest, covered)
	if within < 180 || covered < 165 || widest > 0.1 {
		t.Error("worse than that")
	}
}

// A network of blocks of which the table's networks tell nothing has a wider
// interval than one like theirs, and one with blocks without rows a wider one
// still.
func TestWithinIsHonest(t *testing.T) {
	table := &Table{Facts: []Fact{{"target", ByBlocks[0]}}}
	for i := range 20 {
		op := "convolution"
		if i >= 10 {
			op = "dot"
		}
		if err := table.add(Row{Key: fmt.Sprintf("%s | f32[1,%d] -> f32[1,%d] | x", op, 8+i, 8+i), Median: 1000, P10: 1000, P90: 1000, Runs: 20}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 12 {
		uses := []Use{{Row: i % 10, N: 1}, {Row: (i + 3) % 10, N: 2}, {Row: (i + 5) % 10, N: 1}}
		us := 4000 * (1 + 0.01*float64(i%3))
		if err := table.add(Row{Key: netKey(fmt.Sprint("n", i), uses), Median: us, P10: us, P90: us, Runs: 20, Anchor: 16}); err != nil {
			t.Fatal(err)
		}
	}
	w := table.learned().within
	off := func(family string, first int, unknown float64) float64 {
		return w.off(4000, []blockUse{{row: first, family: family + " f32", n: 1}, {row: first + 3, family: family + " f32", n: 3}}, unknown)
	}
	like, other, unknown := off("convolution", 0, 0), off("dot", 10, 0), off("convolution", 0, 0.04)
	if !(like < 0.1 && other > 1.5*like && unknown > 1.5*like) {
		t.Errorf("half intervals: %v of a network like the table's, %v of another family, %v with blocks without rows", like, other, unknown)
	}
}

// Of a network whose blocks are each there once the covariance is what it says.
func TestBlockNetCov(t *testing.T) {
	x := newBlockNet(1000, []blockUse{{3, "a", 400, 1}, {1, "b", 100, 2}, {-1, "b", 50, 1}})
	y := newBlockNet(500, []blockUse{{1, "b", 100, 1}, {2, "c", 300, 1}})
	want := blockFixed*blockFixed/(1000*500) + blockEach*blockEach*4*2/(1000*500) + blockAll*blockAll*0.65*0.8 + blockFamily*blockFamily*0.25*0.2 + blockOwn*blockOwn*0.2*0.2
	if got := x.cov(&y); math.Abs(got-want) > 1e-12 || got != y.cov(&x) {
		t.Errorf("%v, wanted %v", got, want)
	}
}
