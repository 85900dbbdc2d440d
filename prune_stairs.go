package nasc

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// stairWindow is over how many widths the stairs of a layer are looked for.
const stairWindow = 32

// stairsOf gives the step in which the width of a group's layers costs less on
// the target: the greatest of its layers'. It comes from the table where there
// is one (rows that it lacks are measured and stay in it), else from timing.
func (c *costs) stairsOf(ctx context.Context, producers []*ir.Node) (int, error) {
	step := 1
	for _, n := range producers {
		k, err := c.stairsOfLayer(ctx, n)
		if err != nil {
			return 0, err
		}
		step = max(step, k)
	}
	return step, nil
}

// stairsOfLayer looks at a layer's like of other widths, up to its own.
func (c *costs) stairsOfLayer(ctx context.Context, n *ir.Node) (int, error) {
	w := n.In(1)
	if w == nil || n.Op.Name != "convolution" && n.Op.Name != "dot" {
		return 1, nil
	}
	if n.Op.Name == "convolution" && n.Int("groups") != 1 { // its width is that of what it reads
		return 1, nil
	}
	x := n.Inputs[0].Type.Shape.With(1)
	width := w.Type.Shape[len(w.Type.Shape)-1]
	from := (width - 1) / stairWindow * stairWindow
	key := fmt.Sprint(n.Op.Name, x, w.Type.Shape[:len(w.Type.Shape)-1], n.Attrs["strides"], from)
	if k, ok := c.stairs[key]; ok {
		return k, nil
	}
	graphs := make([]*ir.Graph, 0, stairWindow)
	for k := from + 1; k <= from+stairWindow; k++ {
		g, err := like(n, x, k)
		if err != nil {
			return 0, err
		}
		graphs = append(graphs, g)
	}
	var times []float64
	var err error
	if c.table != "" {
		times, err = c.predicted(ctx, graphs...)
	} else {
		times, err = c.timed(ctx, graphs)
	}
	if err != nil {
		return 0, err
	}
	byWidth := map[int]float64{}
	for i, t := range times {
		byWidth[from+1+i] = t
	}
	if c.stairs == nil {
		c.stairs = map[string]int{}
	}
	c.stairs[key] = stairs(byWidth, from, from+stairWindow)
	return c.stairs[key], nil
}

// like is a network of one layer like n, of another width.
func like(n *ir.Node, in ir.Shape, width int) (*ir.Graph, error) {
	b := ir.NewBuilder("stair")
	x := b.Input("x", ir.T(ir.F32, in...))
	s := n.In(1).Type.Shape.Clone()
	s[len(s)-1] = width
	k := ir.NewTensor(ir.F32, s...)
	for i := range k.F32() {
		k.F32()[i] = float32(i%7-3) / 64
	}
	return b.Graph(b.Op(n.Op.Name, n.Attrs.Clone(), x, b.Const("w", k)))
}

// timed gives the least of several tenth percentiles in ms, the graphs in turns.
func (c *costs) timed(ctx context.Context, gs []*ir.Graph) ([]float64, error) {
	threads := max(1, c.o.Threads)
	type one struct {
		e backends.Executable
		s *ir.Graph
	}
	runs := make([]one, len(gs))
	for i, g := range gs {
		r, err := c.runnable(g)
		if err != nil {
			return nil, err
		}
		e, s, err := Start(r, c.o.Target, 1, threads)
		if err != nil {
			return nil, err
		}
		defer e.Close()
		runs[i] = one{e, s}
	}
	least := make([]float64, len(gs))
	for round := range 5 {
		for i, r := range runs {
			t, err := Bench(ctx, r.e, r.s, passes.RandomInputs(r.s, 1), 20, time.Millisecond)
			if err != nil {
				return nil, err
			}
			if round == 0 || t.P10 < least[i] {
				least[i] = t.P10
			}
		}
	}
	return least, nil
}

// stairs finds the step of times by width: the greatest power of two within
// whose stairs the times vary little beside what a stair costs.
func stairs(times map[int]float64, from, to int) int {
	for step := 32; step > 1; step /= 2 {
		var inside, tops []float64
		for lo := from; lo < to; lo += step {
			least, most := times[lo+1], times[lo+1]
			for w := lo + 1; w <= lo+step; w++ {
				least, most = min(least, times[w]), max(most, times[w])
			}
			inside = append(inside, most-least)
			tops = append(tops, times[lo+step])
		}
		slices.Sort(inside)
		// What a stair costs on average, were time proportional to width.
		climb := tops[len(tops)-1] * float64(step) / float64(to)
		if inside[len(inside)/2] <= 0.25*climb {
			return step
		}
	}
	return 1
}
