package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// strides are a distance in bytes and its multiples, those that are needed.
type strides struct{ s1, s3, s5, s7 reg.Register }

// multiply makes the multiples that have a register.
func (s strides) multiply() {
	if s.s3 != nil {
		LEAQ(Mem{Base: s.s1, Index: s.s1, Scale: 2}, s.s3)
	}
	if s.s5 != nil {
		LEAQ(Mem{Base: s.s1, Index: s.s1, Scale: 4}, s.s5)
	}
	if s.s7 != nil {
		LEAQ(Mem{Base: s.s3, Index: s.s1, Scale: 4}, s.s7)
	}
}

// from addresses what lies i times the distance from base, i from 0 to 7.
func (s strides) from(base reg.Register, i int) Mem {
	m := Mem{Base: base}
	switch i {
	case 1, 2, 4:
		m.Index, m.Scale = s.s1, uint8(i)
	case 3, 6:
		m.Index, m.Scale = s.s3, uint8(i/3)
	case 5:
		m.Index, m.Scale = s.s5, 1
	case 7:
		m.Index, m.Scale = s.s7, 1
	}
	return m
}
