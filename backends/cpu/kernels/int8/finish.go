package int8

import (
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// finishArgs is the argument block of the kernels that turn rows of int32 sums
// into results. gen/ knows this layout; TestLayouts compares.
type finishArgs struct {
	sums    unsafe.Pointer // int32
	sumStep uintptr        // bytes from row to row
	y       unsafe.Pointer
	yStep   uintptr
	rows    int
	cols    int
	mult    unsafe.Pointer // a float32 for each column
	rowAdd  unsafe.Pointer // an int32 for each row, added to its sums; nil: none
	lo, hi  float32
	zero    int32
	yFlip   uint32 // turns u8 results into stored bytes; zero, or zero2, is of the u8

	// The residual.
	x2     unsafe.Pointer
	x2Step uintptr
	flip   uint32 // turns stored bytes of x2 into u8
	zeroX2 int32  // of x2 read as u8
	pair   uint32 // A and, in the high half, B
	mult2  float32
	lo2    float32
	hi2    float32
	zero2  int32

	// The clamps as integers: of the stored result as u8, and of the first
	// result less its zero point where a residual follows.
	least, most   uint32
	leastQ, mostQ int32
}

// finisher is what a contraction does with its sums, prepared: the factors,
// the residual and the table.
type finisher struct {
	args  finishArgs // everything but the memory
	mult  []float32
	out   DType // of y
	run   func(*finishArgs)
	name  string
	table *lookupTable
	pack  *packing // of bounded 8-bit results
	plain uint64   // 1 where these, and the residual, are u8 of all values, with zero point 0
	// looked is table behind the clamps, for kernels with byte permutes; nil where there
	// are none.
	looked *[256]uint8
}

// newFinisher prepares what follows the sums; bound is at least |acc·mult| of any
// sum, which decides whether clamps may wait until after the conversion to int32.
func newFinisher(o Out, mult []float32, bound float64, r *Residual, table *[256]uint8, l isa.Level) finisher {
	o = o.full()
	f := finisher{out: o.DType}
	f.mult = aligned[float32](max(1, len(mult)) + 64)
	copy(f.mult, mult)
	f.args.lo, f.args.hi = o.bounds()
	f.args.zero, f.args.yFlip = o.Zero+offset(o.DType == S8), uint32(xored(o.DType == S8))
	last := o
	kind := finishBytes
	switch {
	case o.DType == F32:
		kind = finishFloats
	case o.DType == I32:
		kind = finishSums
	case r != nil:
		kind = finishResidual
		ro := r.Out.full()
		f.out, last = ro.DType, ro
		bound = max(bound, float64(r.Mult)*255*(1<<15))
		f.args.flip = uint32(xored(r.Signed))
		f.args.zeroX2 = r.Zero + offset(r.Signed)
		f.args.pair = uint32(r.A) | uint32(r.B)<<16
		f.args.mult2, f.args.zero2 = r.Mult, ro.Zero+offset(ro.DType == S8)
		f.args.yFlip = uint32(xored(ro.DType == S8))
		f.args.lo2, f.args.hi2 = ro.bounds()
	}
	f.args.least, f.args.most = uint32(last.QMin+offset(last.DType == S8)), uint32(last.QMax+offset(last.DType == S8))
	f.args.leastQ, f.args.mostQ = o.QMin-o.Zero, o.QMax-o.Zero
	if !(bound < 1<<30) {
		switch kind {
		case finishBytes:
			kind = finishBytesAny
		case finishResidual:
			kind = finishResidualAny
		}
	}
	k := pick(finishKernels[kind], l)
	f.run, f.name = k.run, k.name
	if kind == finishBytes || kind == finishResidual {
		f.pack = newPacking(&f.args, kind == finishResidual)
		if last.DType == U8 && last.Zero == 0 && last.QMin == 0 && last.QMax == 255 && f.args.flip == 0 {
			f.plain = 1
		}
	}
	if table != nil {
		f.table = newLookupTable(table, f.out == S8, l)
		if l.Has(isa.VNNI) && isa.HasVBMI() && f.pack != nil {
			f.looked = new([256]uint8)
			for i := range f.looked {
				f.looked[i] = f.table.table[uint8(min(max(uint32(i), f.args.least), f.args.most))^uint8(f.args.yFlip)]
			}
		}
	}
	return f
}

// apply finishes rows of cols sums each, from column c on. Rows of y, and of
// the residual x2, lie step elements apart.
func (f *finisher) apply(a *finishArgs, sums unsafe.Pointer, sumStep uintptr, rows, cols, c int, y, x2 unsafe.Pointer, step int) {
	rowAdd := a.rowAdd
	*a = f.args
	a.rowAdd = rowAdd
	a.sums, a.sumStep = sums, sumStep
	a.rows, a.cols = rows, cols
	a.y, a.yStep = y, uintptr(step*f.out.bytes())
	a.mult = unsafe.Pointer(&f.mult[c])
	a.x2, a.x2Step = x2, uintptr(step)
	t := f.table
	if t != nil && t.short(cols, step) && rows*cols <= togetherBytes {
		buf := togetherPool.Get().(*[togetherBytes]byte)
		a.y, a.yStep = unsafe.Pointer(buf), uintptr(cols)
		f.run(a)
		t.whole(buf, rows*cols)
		scatter(y, step, rows, cols, buf)
		togetherPool.Put(buf)
		return
	}
	f.run(a)
	if t != nil {
		t.rows(y, step, rows, cols)
	}
}

func finishBytesPortable(a *finishArgs) {
	mult := view[float32](a.mult, a.cols)
	for r := range a.rows {
		sums := view[int32](unsafe.Add(a.sums, uintptr(r)*a.sumStep), a.cols)
		y := view[uint8](unsafe.Add(a.y, uintptr(r)*a.yStep), a.cols)
		add := a.add(r)
		for c, s := range sums {
			y[c] = uint8(requant(float32(float32(s+add)*mult[c]), a.lo, a.hi, a.zero)) ^ uint8(a.yFlip)
		}
	}
}

func finishResidualPortable(a *finishArgs) {
	mult := view[float32](a.mult, a.cols)
	fa, fb := int32(a.pair&0xffff), int32(a.pair>>16)
	for r := range a.rows {
		sums := view[int32](unsafe.Add(a.sums, uintptr(r)*a.sumStep), a.cols)
		y := view[uint8](unsafe.Add(a.y, uintptr(r)*a.yStep), a.cols)
		x2 := view[uint8](unsafe.Add(a.x2, uintptr(r)*a.x2Step), a.cols)
		add := a.add(r)
		for c, s := range sums {
			q := requant(float32(float32(s+add)*mult[c]), a.lo, a.hi, 0)
			acc := q*fa + (int32(x2[c]^uint8(a.flip))-a.zeroX2)*fb
			y[c] = uint8(requant(float32(float32(acc)*a.mult2), a.lo2, a.hi2, a.zero2)) ^ uint8(a.yFlip)
		}
	}
}

func finishFloatsPortable(a *finishArgs) {
	mult := view[float32](a.mult, a.cols)
	for r := range a.rows {
		sums := view[int32](unsafe.Add(a.sums, uintptr(r)*a.sumStep), a.cols)
		y := view[float32](unsafe.Add(a.y, uintptr(r)*a.yStep), a.cols)
		add := a.add(r)
		for c, s := range sums {
			y[c] = float32(s+add) * mult[c]
		}
	}
}

func finishSumsPortable(a *finishArgs) {
	for r := range a.rows {
		sums := view[int32](unsafe.Add(a.sums, uintptr(r)*a.sumStep), a.cols)
		y := view[int32](unsafe.Add(a.y, uintptr(r)*a.yStep), a.cols)
		add := a.add(r)
		for c, s := range sums {
			y[c] = s + add
		}
	}
}

// add is what row r adds to its sums.
func (a *finishArgs) add(r int) int32 {
	if a.rowAdd == nil {
		return 0
	}
	return *(*int32)(unsafe.Add(a.rowAdd, 4*r))
}
