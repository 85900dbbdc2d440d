package quant

import "testing"

// A value that is zero in the first batch and large in the next.
func TestObserverZeroFirst(t *testing.T) {
	for _, top := range []float32{1, 1e-30, 3e38} {
		var o Observer
		o.Add([]float32{0, 0})
		o.Add([]float32{0, top, -top / 2})
		if o.Count != 5 || o.Max != float64(top) || o.Min != float64(-top/2) {
			t.Errorf("top %g: %d counted, range %g to %g", top, o.Count, o.Min, o.Max)
		}
	}
}
