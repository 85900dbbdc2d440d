// Package difftest compares the tensors that two implementations give for one
// graph, and says where they differ first. It may import ir only.
package difftest

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// Bits says how got differs from want in any bit, or nil. All NaNs are equal:
// their payloads are defined nowhere.
func Bits(got, want *ir.Tensor) error {
	if err := form(got, want); err != nil {
		return err
	}
	bad, first := 0, -1
	for i, n := 0, want.Len(); i < n; i++ {
		if !sameBits(got, want, i) {
			if first < 0 {
				first = i
			}
			bad++
		}
	}
	if bad == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d elements differ; the first is %d (index %v): %v, wanted %v", bad, want.Len(), first, Index(want.Shape, first), got.At(first), want.At(first))
}

func sameBits(a, b *ir.Tensor, i int) bool {
	switch x := a.Data.(type) {
	case []float32:
		y := b.F32()
		return math.Float32bits(x[i]) == math.Float32bits(y[i]) || x[i] != x[i] && y[i] != y[i]
	case []int64:
		return x[i] == b.I64()[i]
	case []uint16:
		return x[i] == ir.Of[uint16](b)[i]
	}
	u, v := a.At(i), b.At(i)
	return math.Float64bits(u) == math.Float64bits(v) || u != u && v != v
}

func form(got, want *ir.Tensor) error {
	switch {
	case got == nil || want == nil:
		return fmt.Errorf("a tensor is missing: %v, wanted %v", got, want)
	case got.DType != want.DType || !got.Shape.Equal(want.Shape):
		return fmt.Errorf("found %v%v; wanted %v%v", got.DType, got.Shape, want.DType, want.Shape)
	}
	return nil
}

// Close says how got differs from want by more than rel of want's largest
// magnitude (and not less than abs), or nil.
func Close(got, want *ir.Tensor, rel, abs float64) error {
	if err := form(got, want); err != nil {
		return err
	}
	top := 0.0
	for i, n := 0, want.Len(); i < n; i++ {
		if v := math.Abs(want.At(i)); v > top && !math.IsInf(v, 0) {
			top = v
		}
	}
	limit := max(rel*top, abs)
	for i, n := 0, want.Len(); i < n; i++ {
		g, w := got.At(i), want.At(i)
		if g == w || g != g && w != w {
			continue
		}
		if !(math.Abs(g-w) <= limit) {
			return fmt.Errorf("element %d (index %v) is %v, wanted %v within %g", i, Index(want.Shape, i), g, w, limit)
		}
	}
	return nil
}

// Index gives the position of flat element i of a shape.
func Index(s ir.Shape, i int) []int {
	at := make([]int, len(s))
	for a := len(s) - 1; a >= 0; a-- {
		at[a] = i % max(s[a], 1)
		i /= max(s[a], 1)
	}
	return at
}
