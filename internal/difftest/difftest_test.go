package difftest

import (
	"math"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

func TestBits(t *testing.T) {
	nan := float32(math.NaN())
	a := ir.From([]float32{1, 0, nan}, 3)
	if err := Bits(a, ir.From([]float32{1, 0, nan}, 3)); err != nil {
		t.Error(err)
	}
	if Bits(a, ir.From([]float32{1, float32(math.Copysign(0, -1)), nan}, 3)) == nil {
		t.Error("−0 and +0 are different bits")
	}
	if Bits(a, ir.From([]float32{1, 0, nan}, 1, 3)) == nil {
		t.Error("the shapes differ")
	}
}

func TestClose(t *testing.T) {
	a, b := ir.From([]float32{100, 1}, 2), ir.From([]float32{100, 1.005}, 2)
	if err := Close(a, b, 1e-4, 0); err != nil {
		t.Error(err)
	}
	if Close(a, b, 1e-5, 0) == nil {
		t.Error("0.005 of 100 is more than 1e-5")
	}
}
