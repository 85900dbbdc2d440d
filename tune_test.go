package nasc

import (
	"slices"
	"testing"
)

func TestChooseLayers(t *testing.T) {
	int8 := map[string]float64{"a": 1.00, "b": 2.00, "c": 0.50, "only-int8": 9, "d": 1.04}
	f32 := map[string]float64{"a": 2.00, "b": 1.00, "c": 0.49, "d": 1.00, "only-f32": 9}
	if got, want := chooseLayers(int8, f32), []string{"b"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v: slower beyond 5 %% only, and measured in both", got, want)
	}
}
