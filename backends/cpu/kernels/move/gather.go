package move

import (
	"fmt"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// GatherSpec copies, for each of Outer blocks of X of Extent rows, the rows
// that the Count indices in X2 name: i64 where Wide, else i32; negative ones
// count from the end. Row is a row's size in bytes.
type GatherSpec struct {
	Outer, Extent, Count, Row int
	Wide                      bool
}

// Gather prepares a gather. It implements Checker: run Check first.
func Gather(s GatherSpec, _ isa.Level) (Kernel, error) {
	if s.Outer < 1 || s.Extent < 1 || s.Count < 1 || s.Row < 1 {
		return nil, fmt.Errorf("kernel gather: %+v; wanted 1 or more everywhere", s)
	}
	return &gather{GatherSpec: s, per: max(1, 16<<10/s.Row)}, nil
}

type gather struct {
	GatherSpec
	per int // rows a unit
}

func (g *gather) Name() string      { return "gather_rows" }
func (g *gather) Tiles() int        { return (g.Outer*g.Count + g.per - 1) / g.per }
func (g *gather) ScratchBytes() int { return 0 }

func (g *gather) index(a *Args, i int) int {
	k := 0
	if g.Wide {
		k = int(elems[int64](a.X2)[i])
	} else {
		k = int(elems[int32](a.X2)[i])
	}
	if k < 0 {
		k += g.Extent
	}
	return k
}

// Check refuses indices outside the axis.
func (g *gather) Check(a *Args) error {
	for i := range g.Count {
		if k := g.index(a, i); k < 0 || k >= g.Extent {
			return fmt.Errorf("index %d is %d; wanted −%d to %d", i, k, g.Extent, g.Extent-1)
		}
	}
	return nil
}

func (g *gather) Run(lo, hi int, a *Args) {
	for t := lo * g.per; t < min(hi*g.per, g.Outer*g.Count); t++ {
		o, i := t/g.Count, t%g.Count
		src := (o*g.Extent + g.index(a, i)) * g.Row
		copy(a.Y[t*g.Row:(t+1)*g.Row], a.X[src:src+g.Row])
	}
}
