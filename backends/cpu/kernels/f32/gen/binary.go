package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// binaryFuncs are the elementwise functions of two vectors; extreme is
// fmath.Max or fmath.Min.
var binaryFuncs = []struct {
	name, ir string
	f        func(e emitter, a, b vec) vec
}{
	{"add", "add", func(e emitter, a, b vec) vec { return e.add(a, b) }},
	{"sub", "subtract", func(e emitter, a, b vec) vec { return e.sub(a, b) }},
	{"mul", "multiply", func(e emitter, a, b vec) vec { return e.mul(a, b) }},
	{"div", "divide", func(e emitter, a, b vec) vec { return e.div(a, b) }},
	{"max", "maximum", func(e emitter, a, b vec) vec { return e.extreme(a, b, VMAXPS) }},
	{"min", "minimum", func(e emitter, a, b vec) vec { return e.extreme(a, b, VMINPS) }},
}

// extreme: the instruction gives a where it is beyond b, else b; a wins too
// where it is NaN.
func (e emitter) extreme(a, b vec, op func(...Op)) vec {
	r := e.reg()
	op(b, a, r)
	return e.where(a, isNaN, a, a, r)
}

// The operands of a binary kernel: whole vectors, or one value for all.
var binaryForms = []struct {
	suffix     string
	aone, bone bool
}{{"", false, false}, {"Right", false, true}, {"Left", true, false}}

func binary() {
	for _, v := range []vecISA{avx512, avx2} {
		for _, b := range binaryFuncs {
			for _, form := range binaryForms {
				name := b.name + form.suffix + v.name
				text(name, "(y, a, b *float32, n int)", fmt.Sprintf("writes %s of n values to y, which may be an operand of n values.", b.ir))
				e := emitter{v}
				y, a, c, n := Load(Param("y"), GP64()), Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("n"), GP64())
				one := func(p reg.Register) vec {
					r := e.reg()
					VBROADCASTSS(Mem{Base: p}, r)
					return r
				}
				var ra, rb vec
				if form.aone {
					ra = one(a)
				}
				if form.bone {
					rb = one(c)
				}
				elementLoop(e, n, func(mask reg.Register) {
					va, vb := ra, rb
					if va == nil {
						va = e.maskedLoad(Mem{Base: a}, mask)
						ADDQ(Imm(uint64(v.bytes)), a)
					}
					if vb == nil {
						vb = e.maskedLoad(Mem{Base: c}, mask)
						ADDQ(Imm(uint64(v.bytes)), c)
					}
					e.maskedStore(b.f(e, va, vb), Mem{Base: y}, mask)
					ADDQ(Imm(uint64(v.bytes)), y)
				})
				VZEROUPPER()
				RET()
			}
		}
	}
	fmt.Fprintln(&stubs, "// vectorBinaries lists the functions with a vector form, by the operation's name: whole operands, one value right, one value left.\nvar vectorBinaries = []struct { name string; avx512, avx2 [3]func(y, a, b *float32, n int) }{")
	for _, b := range binaryFuncs {
		fmt.Fprintf(&stubs, "{%q", b.ir)
		for _, v := range []vecISA{avx512, avx2} {
			fmt.Fprint(&stubs, ", [3]func(y, a, b *float32, n int){")
			for _, form := range binaryForms {
				fmt.Fprintf(&stubs, "%s%s%s,", b.name, form.suffix, v.name)
			}
			fmt.Fprint(&stubs, "}")
		}
		fmt.Fprintln(&stubs, "},")
	}
	fmt.Fprintln(&stubs, "}")
}
