package f32

import (
	"fmt"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// ColumnSpec is a matrix [Rows,Cols] whose columns are summed by several threads:
// ColumnPartials gives the sixteen partial sums of each, [16,Cols], whose sum over
// the first axis by Reduce has the bits of one Reduce of the whole.
type ColumnSpec struct{ Rows, Cols int }

const (
	// columnUnits is how many units make the partial sums: each has some of the
	// sixteen, and so rows that follow each other.
	columnUnits = 4
	// columnLeast is how many values are worth two steps; of more columns than
	// columnMost a unit's partial sums would leave the first level cache.
	columnLeast, columnMost = 1 << 18, 1536
)

// Columns says whether a sum over axes is one of columns that threads should share.
func (s ReduceSpec) Columns() (ColumnSpec, bool) {
	sp := spans(s.Shape, s.Axes)
	if s.Op != "sum" || len(sp) != 2 || !sp[0].reduced {
		return ColumnSpec{}, false
	}
	c := ColumnSpec{sp[0].n, sp[1].n}
	return c, c.Rows >= 4*fmath.Partials && c.Rows*c.Cols >= columnLeast && c.Cols <= columnMost
}

// ColumnPartials prepares the first step.
func ColumnPartials(s ColumnSpec, l isa.Level) (Kernel, error) {
	if s.Rows < 1 || s.Cols < 1 {
		return nil, specError("column sums", fmt.Sprintf("%dx%d", s.Rows, s.Cols), "1 or more everywhere")
	}
	add, err := binaryFunc("add", l)
	if err != nil {
		return nil, err
	}
	const per = fmath.Partials / columnUnits
	return &op{name: fmt.Sprintf("column_sums_f32_%dx%d_%s", s.Rows, s.Cols, l), tiles: columnUnits, run: func(lo, hi int, a *Args) {
		for u := lo; u < hi; u++ {
			y := floats(a.Y)[u*per*s.Cols : (u+1)*per*s.Cols]
			clear(y)
			for i := u * per; i < s.Rows; i += fmath.Partials {
				x := floats(a.X)[i*s.Cols : min(i+per, s.Rows)*s.Cols]
				add(y[:len(x)], y[:len(x)], x, false, false)
			}
		}
	}}, nil
}
