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

func TestChooseKernels(t *testing.T) {
	choices := map[string][]string{"a": {"wide", "narrow"}, "b": {"wide", "middle", "narrow"}, "c": {"wide", "narrow"}}
	times := map[string]map[string]float64{
		"a": {"wide": 1, "narrow": 0.98},
		"b": {"wide": 1, "middle": 0.9, "narrow": 0.8},
		"c": {"wide": 1, "narrow": 1.2},
	}
	want := []TunedKernel{{Layer: "b", Kernel: "narrow", MS: 0.8, OwnMS: 1}}
	if got := chooseKernels(choices, times); !slices.Equal(got, want) {
		t.Errorf("found %v, want %v: clearly faster only", got, want)
	}
}
