package main

import . "github.com/nasc-dev/nasc/backends/cpu/kernels/a64"

var neonBinaries = []struct {
	name, ir string
	f        func(e *neonEmitter, a, b nvec) nvec
}{
	{"add", "add", (*neonEmitter).add},
	{"sub", "subtract", (*neonEmitter).sub},
	{"mul", "multiply", (*neonEmitter).mul},
	{"div", "divide", (*neonEmitter).div},
	{"max", "maximum", func(e *neonEmitter, a, b nvec) nvec { return e.extreme(a, b, false) }},
	{"min", "minimum", func(e *neonEmitter, a, b nvec) nvec { return e.extreme(a, b, true) }},
}

// rowsNEON writes the functions of two vectors and the kernels of rows.
func rowsNEON(w *Writer) {
	e := &neonEmitter{w: w}
	for _, b := range neonBinaries {
		for _, form := range binaryForms {
			e.begin(b.name+form.suffix+"NEON", "writes "+b.ir+" of n values to y, which may be an operand of n values.")
			operand := func(at X, one bool) func(s Size) nvec {
				if one {
					v := e.value(at)
					return func(Size) nvec { return v }
				}
				return func(s Size) nvec { return e.read(s, at) }
			}
			x, x2 := operand(neonA, form.aone), operand(neonB, form.bone)
			e.elements(func(s Size) {
				a := x(s)
				e.write(s, neonY, b.f(e, a, x2(s)))
			})
		}
	}
	fold := func(name, doc string, field bool, step func(acc, x, c nvec) nvec) {
		e.begin(name, doc)
		c := none
		if field {
			c = e.field(vecC)
		}
		e.partials(func(acc nvec) { e.to(acc, step(acc, e.read(Q, neonA), c)) })
	}
	fold("sum16NEON", "adds n values of a, a multiple of 16, to the sixteen sums at p.", false, func(acc, x, _ nvec) nvec { return e.add(acc, x) })
	fold("sumSq16NEON", "adds the squares of n values of a less c, a multiple of 16, to the sixteen sums at p.", true, func(acc, x, c nvec) nvec {
		d := e.sub(x, c)
		return e.add(acc, e.mul(d, d))
	})
	fold("max16NEON", "folds n values of a, a multiple of 16, into the sixteen results at p, as fmath.Max16 does.", false, func(acc, x, _ nvec) nvec { return e.extreme(acc, x, false) })
	fold("min16NEON", "folds n values of a, a multiple of 16, into the sixteen results at p, as fmath.Min16 does.", false, func(acc, x, _ nvec) nvec { return e.extreme(acc, x, true) })
	fold("expSumNEON", "writes fmath.SoftExp(a-c) to y, which may be a, for n values, a multiple of 16, and adds them to the sixteen sums at p.", true, func(acc, x, c nvec) nvec {
		v := e.softExp(e.sub(x, c))
		e.write(Q, neonY, v)
		return e.add(acc, v)
	})
	for _, f := range []struct {
		name        string
		scale, bias bool
	}{{"norm", false, false}, {"normScale", true, false}, {"normScaleBias", true, true}} {
		e.begin(f.name+"NEON", "writes (a-c)*d of n values to y, which may be a, in turn times those at b and plus those at p as the name says.")
		mean, rstd := e.field(vecC), e.field(vecD)
		e.elements(func(s Size) {
			v := e.mul(e.sub(e.read(s, neonA), mean), rstd)
			if f.scale {
				v = e.mul(v, e.read(s, neonB))
			}
			if f.bias {
				v = e.add(v, e.read(s, neonP))
			}
			e.write(s, neonY, v)
		})
	}
	w.Data("consts", e.consts)
	w.Declare("// vectorBinaries lists the functions with a vector form, by the operation's name: whole operands, one value right, one value left.\nvar vectorBinaries = []struct { name string; run [3]func(a *vectorArgs) }{\n")
	for _, b := range neonBinaries {
		w.Declare("{%q, [3]func(a *vectorArgs){%sNEON, %sRightNEON, %sLeftNEON}},\n", b.ir, b.name, b.name, b.name)
	}
	w.Declare("}\n")
}

// partials writes body for each of the sixteen partial results at p, in four
// registers, and ends the kernel.
func (e *neonEmitter) partials(body func(acc nvec)) {
	var acc [4]nvec
	for i := range acc {
		n, v := e.pin()
		acc[i] = n
		e.w.Put(Load(Q, v, neonP, uint32(16*i)))
	}
	e.w.LoopBy("blocks", neonN, 16, func() {
		for _, a := range acc {
			body(a)
		}
		e.flush()
	})
	for i, n := range acc {
		e.w.Put(Store(Q, e.pinned[n], neonP, uint32(16*i)))
	}
	e.w.Op("RET")
}
