package peak

import (
	"slices"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// Every loop runs: an instruction encoded wrongly would fault.
func TestLoops(t *testing.T) {
	for _, l := range Loops() {
		r := l.GOPS(1, 2*time.Millisecond)
		t.Logf("%-8s %-20s %.0f GOPS", l.Level, l.Name, r)
		if r <= 0 {
			t.Errorf("%s counts %.1f GOPS", l.Name, r)
		}
	}
}

func TestFor(t *testing.T) {
	for _, l := range isa.Available() {
		for _, k := range []Kind{Int8, F32} {
			got := For(k, l.String())
			if got.Kind != k || slices.Index(levels, got.Level) < slices.Index(levels, l.String()) {
				t.Errorf("For(%s, %v) is %s of %s", k, l, got.Name, got.Level)
			}
		}
	}
	if got := For(F32, isa.AVXVNNI.String()).Level; slices.Contains(isa.Available(), isa.AVX2) && got != isa.AVX2.String() {
		t.Errorf("floats at avxvnni run %s", got)
	}
}

func TestBandwidth(t *testing.T) {
	l2, memory := Bandwidth(1, 20*time.Millisecond)
	t.Logf("L2 %d KiB: %.0f GB/s, memory %.0f GB/s", L2Bytes()>>10, l2, memory)
	if l2 <= 0 || memory <= 0 {
		t.Errorf("bandwidths %v, %v", l2, memory)
	}
}
