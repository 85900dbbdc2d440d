package int8

import (
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// Pixels are cut for more than two threads only where a unit still takes some
// microseconds; a product with many weights is cut between channels.
func TestUnitsOfProducts(t *testing.T) {
	for _, l := range isa.Available() {
		for _, d := range []struct{ m, k, n int }{{128, 384, 384}, {197, 192, 192}, {197, 768, 192}, {784, 64, 256}, {3136, 64, 64}, {256, 384, 384}, {16, 384, 1536}, {1, 1280, 1000}} {
			k, err := Dot(DotSpec{M: d.m, K: d.k, N: d.n, Weights: make([]int8, d.k*d.n), Mult: make([]float32, d.n)}, l)
			if err != nil {
				t.Fatal(err)
			}
			o := k.(*op)
			c, ok := o.weights.(*conv)
			if !ok {
				continue // a kernel of its own
			}
			if bands := len(c.bands); bands > 2 && o.cost < unitNS/3 {
				t.Errorf("%v on %s: %d bands, units of %.0f ns", d, c.k.name, bands, o.cost)
			}
			if c.k.level == isa.AMX && d.m == 128 && len(c.bands) != 1 {
				t.Errorf("%v on %s: %d bands though the weights are more than the pixels", d, c.k.name, len(c.bands))
			}
			if n := k.Tiles(); d.m > 1 && n%2 != 0 && n < 8 {
				t.Errorf("%v on %s: %d units are no halves", d, c.k.name, n)
			}
		}
	}
}
