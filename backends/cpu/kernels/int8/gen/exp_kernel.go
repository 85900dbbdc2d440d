package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/nasc-dev/nasc/internal/fmath"
)

// expKernel holds the constants of fmath.Exp.
type expKernel struct {
	log2e, magic, hi, lo, one, least reg.VecVirtual
	poly                             [len(fmath.ExpPoly)]reg.VecVirtual
}

func newExpKernel() *expKernel {
	e := &expKernel{
		log2e: constant(fmath.Log2E), magic: constant(fmath.RoundMagic), hi: constant(fmath.Ln2Hi), lo: constant(fmath.Ln2Lo),
		one: constant(1), least: constant(fmath.SoftExpLo),
	}
	for i, c := range fmath.ExpPoly {
		e.poly[i] = constant(c)
	}
	return e
}

// of replaces values that are never above 0 (or no numbers) with their fmath.SoftExp, a
// step of all after the other: so they wait less for each other's. Lanes outside of
// K1 become 0 where it is masked.
func (e *expKernel) of(x []reg.VecVirtual, masked bool) {
	n, r, p, k := zmmsOf(len(x)), zmmsOf(len(x)), zmmsOf(len(x)), make([]reg.OpmaskVirtual, len(x))
	each := func(f func(i int)) {
		for i := range x {
			f(i)
		}
	}
	each(func(i int) { VMOVAPS(e.log2e, n[i]) })
	each(func(i int) { VFMADD213PS(e.magic, x[i], n[i]) })
	each(func(i int) { VSUBPS(e.magic, n[i], n[i]) })
	each(func(i int) {
		k[i] = K()
		if masked {
			VCMPPS(Imm(0x16), e.least, x[i], reg.K1, k[i]) // above, or unordered
		} else {
			VCMPPS(Imm(0x16), e.least, x[i], k[i])
		}
	})
	copy(r, x)
	each(func(i int) { VFNMADD231PS(e.hi, n[i], r[i]) })
	each(func(i int) { VFNMADD231PS(e.lo, n[i], r[i]) })
	top := len(e.poly) - 1
	each(func(i int) { VMOVAPS(e.poly[top], p[i]) })
	for c := top - 1; c >= 0; c-- {
		each(func(i int) { VFMADD213PS(e.poly[c], r[i], p[i]) })
	}
	each(func(i int) {
		r2 := ZMM()
		VMULPS(r[i], r[i], r2)
		VFMADD213PS(r[i], r2, p[i])
	})
	each(func(i int) { VADDPS(e.one, p[i], p[i]) })
	each(func(i int) { VSCALEFPS_Z(n[i], p[i], k[i], x[i]) })
}
