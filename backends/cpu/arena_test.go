package cpu

import (
	"math/rand/v2"
	"testing"
)

// Buffers alive at one time never overlap, lie aligned, and fit.
func TestPlaceBuffers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 200 {
		bufs := make([]*buffer, 1+r.IntN(40))
		most := 0
		for i := range bufs {
			first := r.IntN(30)
			bufs[i] = &buffer{size: r.IntN(1000), first: first, last: first + r.IntN(10)}
		}
		total := placeBuffers(bufs, 1+i%2)
		for step := range 40 {
			live := 0
			for _, b := range bufs {
				if b.first <= step && step <= b.last {
					live += align(b.size)
				}
			}
			most = max(most, live)
		}
		if total > 3*most+alignment {
			t.Errorf("the arena has %d bytes where %d are alive at once", total, most)
		}
		for i, a := range bufs {
			if a.offset%alignment != 0 || a.offset+a.size > total {
				t.Fatalf("buffer at %d+%d of %d", a.offset, a.size, total)
			}
			for _, b := range bufs[:i] {
				apart := a.offset+a.size <= b.offset || b.offset+b.size <= a.offset
				if !apart && a.size > 0 && b.size > 0 && a.first <= b.last && b.first <= a.last {
					t.Fatalf("%+v and %+v overlap", *a, *b)
				}
			}
		}
	}
}
