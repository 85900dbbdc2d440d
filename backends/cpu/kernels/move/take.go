package move

import (
	"fmt"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// TakeSpec gives, for each of Outer blocks of X of Extent rows of Row bytes,
// the rows that Index lists: edges repeated, reflections.
type TakeSpec struct {
	Outer, Extent, Row int
	Index              []int
}

// Take prepares it.
func Take(s TakeSpec, _ isa.Level) (Kernel, error) {
	if s.Outer < 1 || s.Row < 1 || len(s.Index) < 1 {
		return nil, fmt.Errorf("kernel take: %d blocks of %d rows of %d bytes; wanted 1 or more", s.Outer, len(s.Index), s.Row)
	}
	for _, i := range s.Index {
		if i < 0 || i >= s.Extent {
			return nil, fmt.Errorf("kernel take: row %d of %d", i, s.Extent)
		}
	}
	return &take{TakeSpec: s, per: max(1, 16<<10/s.Row)}, nil
}

type take struct {
	TakeSpec
	per int // rows a unit
}

func (k *take) Name() string      { return "take_rows" }
func (k *take) Tiles() int        { return (k.Outer*len(k.Index) + k.per - 1) / k.per }
func (k *take) ScratchBytes() int { return 0 }

func (k *take) Run(lo, hi int, a *Args) {
	n := len(k.Index)
	for t := lo * k.per; t < min(hi*k.per, k.Outer*n); t++ {
		src := (t/n*k.Extent + k.Index[t%n]) * k.Row
		copy(a.Y[t*k.Row:(t+1)*k.Row], a.X[src:src+k.Row])
	}
}
