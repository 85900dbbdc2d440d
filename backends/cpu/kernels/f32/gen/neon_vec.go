package main

import (
	"maps"
	"math"
	"slices"

	. "github.com/nasc-dev/nasc/backends/cpu/kernels/a64"
)

// Byte offsets of f32.vectorArgs.
const vecY, vecA, vecB, vecP, vecN, vecC, vecD = 0, 8, 16, 24, 32, 40, 44

// Registers of the kernels with a vectorArgs.
const (
	neonY, neonA, neonB, neonP, neonN, neonConst X = 1, 2, 3, 4, 5, 6
)

// neonEmitter writes float32 operations on vectors without names of registers:
// like emitter, each method is one IEEE operation or a sequence that package
// fmath defines. flush finds the registers.
type neonEmitter struct {
	w      *Writer
	consts []uint32
	vecs   nvec
	pinned map[nvec]V // for the whole function; from v31 down
	ops    []neonOp
}

// nvec is a vector, numbered in the order that they are made in.
type nvec int

const none nvec = -1

// neonOp is one instruction: it makes dst, if any, from its sources, of which
// tied, if any, is the register it changes.
type neonOp struct {
	dst, tied nvec
	src       []nvec
	make      func(d V, s []V) Inst
}

func (e *neonEmitter) op(make func(d V, s []V) Inst, src ...nvec) nvec {
	e.vecs++
	e.ops = append(e.ops, neonOp{dst: e.vecs, tied: none, src: src, make: make})
	return e.vecs
}

// change is an operation that changes its first source.
func (e *neonEmitter) change(make func(d V, s []V) Inst, src ...nvec) nvec {
	d := e.op(make, src...)
	e.ops[len(e.ops)-1].tied = src[0]
	return d
}

// pin keeps a register for a vector in the whole function.
func (e *neonEmitter) pin() (nvec, V) {
	e.vecs++
	v := V(31 - len(e.pinned))
	e.pinned[e.vecs] = v
	return e.vecs, v
}

// to moves x into a pinned vector.
func (e *neonEmitter) to(pinned, x nvec) {
	e.ops = append(e.ops, neonOp{dst: pinned, tied: none, src: []nvec{x}, make: func(d V, s []V) Inst { return Mov(d, s[0]) }})
}

// effect is an instruction without result.
func (e *neonEmitter) effect(make func(s []V) Inst, src ...nvec) {
	e.ops = append(e.ops, neonOp{dst: none, tied: none, src: src, make: func(_ V, s []V) Inst { return make(s) }})
}

// flush gives vectors registers, each until its last use, and writes the
// instructions.
func (e *neonEmitter) flush() {
	last := map[nvec]int{}
	for i, o := range e.ops {
		for _, s := range o.src {
			last[s] = i
		}
	}
	var free []V
	for v := range V(32 - len(e.pinned)) {
		free = append(free, v)
	}
	regs := maps.Clone(e.pinned)
	take := func() V {
		if len(free) == 0 {
			panic("BUG: more vectors live than there are registers")
		}
		v := free[0]
		free = free[1:]
		return v
	}
	for i, o := range e.ops {
		var src []V
		var dying []nvec
		for _, n := range o.src {
			v, ok := regs[n]
			if !ok {
				panic("BUG: a vector of another flush")
			}
			src = append(src, v)
			if _, pinned := e.pinned[n]; !pinned && last[n] == i && !slices.Contains(dying, n) {
				dying = append(dying, n)
			}
		}
		release := func(but nvec) {
			for _, n := range dying {
				if n != but {
					free = slices.Insert(free, 0, regs[n])
				}
			}
		}
		_, pinned := e.pinned[o.dst]
		switch {
		case o.dst == none || pinned:
			release(none)
		case o.tied == none: // the sources are read before the result is written
			release(none)
			regs[o.dst] = take()
		case slices.Contains(dying, o.tied) && !slices.Contains(o.src[1:], o.tied):
			regs[o.dst] = regs[o.tied]
			release(o.tied)
		default:
			regs[o.dst] = take()
			e.w.Put(Mov(regs[o.dst], regs[o.tied]))
			release(none)
		}
		e.w.Put(o.make(regs[o.dst], src))
	}
	e.ops = nil
}

func three(op string, a Arr) func(d V, s []V) Inst {
	return func(d V, s []V) Inst { return Three(op, a, d, s[0], s[1]) }
}

func two(op string) func(d V, s []V) Inst {
	return func(d V, s []V) Inst { return Two(op, S4, d, s[0]) }
}

func (e *neonEmitter) add(x, y nvec) nvec { return e.op(three("fadd", S4), x, y) }
func (e *neonEmitter) sub(x, y nvec) nvec { return e.op(three("fsub", S4), x, y) }
func (e *neonEmitter) mul(x, y nvec) nvec { return e.op(three("fmul", S4), x, y) }
func (e *neonEmitter) div(x, y nvec) nvec { return e.op(three("fdiv", S4), x, y) }
func (e *neonEmitter) sqrt(x nvec) nvec   { return e.op(two("fsqrt"), x) }
func (e *neonEmitter) abs(x nvec) nvec    { return e.op(two("fabs"), x) }
func (e *neonEmitter) neg(x nvec) nvec    { return e.op(two("fneg"), x) }
func (e *neonEmitter) addI(x, y nvec) nvec {
	return e.op(three("add", S4), x, y)
}

func (e *neonEmitter) subI(x, y nvec) nvec {
	return e.op(three("sub", S4), x, y)
}

func (e *neonEmitter) shift(op string, x nvec, by uint32) nvec {
	return e.op(func(d V, s []V) Inst { return Shift(op, d, s[0], by) }, x)
}

// fma gives p*x + c, fms c - p*x.
func (e *neonEmitter) fma(p, x, c nvec) nvec {
	return e.change(func(d V, s []V) Inst { return Three("fmla", S4, d, s[1], s[2]) }, c, p, x)
}

func (e *neonEmitter) fms(p, x, c nvec) nvec {
	return e.change(func(d V, s []V) Inst { return Three("fmls", S4, d, s[1], s[2]) }, c, p, x)
}

// bits is a constant in all lanes.
func (e *neonEmitter) bits(u uint32) nvec {
	i := slices.Index(e.consts, u)
	if i < 0 {
		i = len(e.consts)
		e.consts = append(e.consts, u)
	}
	return e.op(func(d V, _ []V) Inst { return Load(Q, d, neonConst, uint32(16*i)) })
}

func (e *neonEmitter) c(x float32) nvec { return e.bits(math.Float32bits(x)) }

// greater and equal are masks of lanes; NaN is neither.
func (e *neonEmitter) greater(x, y nvec) nvec { return e.op(three("fcmgt", S4), x, y) }
func (e *neonEmitter) equal(x, y nvec) nvec   { return e.op(three("fcmeq", S4), x, y) }

// where gives a in the lanes of a mask, else b.
func (e *neonEmitter) where(mask, a, b nvec) nvec {
	return e.change(func(d V, s []V) Inst { return Three("bsl", B16, d, s[1], s[2]) }, mask, a, b)
}

// lo gives x where it is not below c, else c; NaN and -0 stay. hi is its mirror.
func (e *neonEmitter) lo(x, c nvec) nvec { return e.where(e.greater(c, x), c, x) }
func (e *neonEmitter) hi(x, c nvec) nvec { return e.where(e.greater(x, c), c, x) }

// withSign gives |v| with the sign of s.
func (e *neonEmitter) withSign(v, s nvec) nvec { return e.where(e.bits(1<<31), s, v) }

// extreme is fmath.Max or, with its comparison turned round, fmath.Min: a where
// it is beyond b or NaN, else b.
func (e *neonEmitter) extreme(a, b nvec, minimum bool) nvec {
	beyond := e.greater(a, b)
	if minimum {
		beyond = e.greater(b, a)
	}
	return e.where(e.equal(a, a), e.where(beyond, a, b), a)
}

// begin begins a kernel.
func (e *neonEmitter) begin(name, doc string) {
	e.pinned = map[nvec]V{}
	e.w.Func(name, "vectorArgs", doc)
	e.w.Fields(map[int]X{vecY: neonY, vecA: neonA, vecB: neonB, vecP: neonP, vecN: neonN})
	e.w.Op("MOVD $consts<>(SB), R%d", neonConst)
}

// field gives a float32 field in all lanes.
func (e *neonEmitter) field(offset int) nvec {
	n, v := e.pin()
	dupField(e.w, offset, v)
	return n
}

// value gives the value at an address in all lanes.
func (e *neonEmitter) value(at X) nvec {
	n, v := e.pin()
	e.w.Put(LoadDup(S4, v, at))
	return n
}

// read and write move on in memory by a vector or, with S, one value.
func (e *neonEmitter) read(s Size, at X) nvec {
	return e.op(func(d V, _ []V) Inst { return LoadPost(s, d, at, sizeBytes(s)) })
}

func (e *neonEmitter) write(s Size, at X, x nvec) {
	e.effect(func(r []V) Inst { return StorePost(s, r[0], at, sizeBytes(s)) }, x)
}

func sizeBytes(s Size) int {
	if s == Q {
		return 16
	}
	return 4
}

// elements writes body for whole vectors and then for single values, and ends
// the kernel.
func (e *neonEmitter) elements(body func(s Size)) {
	e.w.LoopBy("vectors", neonN, 4, func() { body(Q); e.flush() })
	e.w.Loop("values", neonN, func() { body(S); e.flush() })
	e.w.Op("RET")
}
