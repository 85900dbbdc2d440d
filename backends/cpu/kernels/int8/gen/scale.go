package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// scaleRow takes a row's sums times factors, rounded.
func scaleRow(q []reg.VecPhysical, mult func(v int) Op) {
	for v, z := range q {
		VCVTDQ2PS(z, z)
		VMULPS(mult(v), z, z)
	}
	for _, z := range q {
		VCVTPS2DQ(z, z)
	}
}

// scaleEach is scaleRow, a step of all after the other.
func scaleEach[V Op](q []V, mult func(v int) Op) {
	multiplyEach(q, mult)
	for _, z := range q {
		VCVTPS2DQ(z, z)
	}
}

// multiplyEach takes sums times factors, as float32.
func multiplyEach[V Op](q []V, mult func(v int) Op) {
	for _, z := range q {
		VCVTDQ2PS(z, z)
	}
	for v, z := range q {
		VMULPS(mult(v), z, z)
	}
}

// scaleClamped takes sums times factors, clamps and rounds them.
func scaleClamped(q, mult, lo, hi Op) {
	VCVTDQ2PS(q, q)
	VMULPS(mult, q, q)
	VMAXPS(lo, q, q)
	VMINPS(hi, q, q)
	VCVTPS2DQ(q, q)
}
