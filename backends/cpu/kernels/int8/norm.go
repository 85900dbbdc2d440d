package int8

import (
	"fmt"
	"math"
	"sync"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// NormSpec is fmath.LayerNorm of each of Rows rows of N values with what stands
// around it, each step rounded:
//
//	s = X, or X+X2, or float32(X−XZero)·XScale
//	y = fmath.LayerNorm(s)
//	q = 8 bits of y·Factor, as QuantizeSpec has it
//
// Scale, Bias and Factor have N values or are nil.
type NormSpec struct {
	Rows, N             int
	Add                 bool // X2
	Bytes               bool // X has 8 bits
	XSigned             bool
	XZero               int32
	XScale              float32
	Scale, Bias, Factor []float32
	Eps                 float32
	Quantize            bool
	Inv                 float32
	Out                 Out
}

// NormArgs is the memory of a norm. Sum, Y and Q are the results s, y and q: nil
// where nobody reads them. Sum or Y, not both, may be X or X2 of float32.
type NormArgs struct {
	X, X2, Sum, Y, Q []byte
	Scratch          []byte
}

// NormKernel is Kernel for norms, which have more results.
type NormKernel struct {
	NormSpec
	name   string
	units  int
	args   normArgs
	kernel normKernel
}

// normArgs is the argument block of the norm kernels, which go on where one
// stopped: the offsets ...At are moved, and rows counts down to what is left.
// Without a sum of its own, sum is x. gen/ knows this layout; TestNormLayout
// compares.
type normArgs struct {
	x, x2, sum, y, q     unsafe.Pointer // y and q may be nil
	scale, bias, factor  *float32       // factor may be nil
	n, rows              int
	xRow, sumRow         int // bytes from row to row; 0 for sums that nobody reads
	xAt, sumAt, yAt, qAt int // x2 lies like y
	form                 uint32
	inv, eps             float32
	qInv, lo, hi         float32
	zero                 int32
	yFlip                uint32 // turns u8 results into stored bytes
	flip                 uint32 // turns stored bytes into u8
	xZero                int32  // of the u8
	xScale               float32
	least                uint32 // the least u8 result
	zeroAll              int32  // zero of the u8 result
	wild                 uint32 // not 0 where a row of finite numbers may give a NaN
}

// The forms of what is normalized; gen/ has the same numbers.
const (
	formPlain = iota
	formSum
	formBytes
)

type normKernel struct {
	kernel
	four, one func(*normArgs) // four rows at a time; one
}

var (
	normKernels = append(vectorNorm(), normKernel{kernel: kernel{"", isa.Portable}})
	normPool    = sync.Pool{New: func() any { return new(normArgs) }}
)

const (
	// normUnit is how many elements a unit of work has.
	normUnit = 8 << 10
	normRows = 4
)

// Norm prepares a norm; nil where an instruction set has no kernel for it.
func Norm(s NormSpec, l isa.Level) (*NormKernel, error) {
	const name = "norm"
	if err := positive(name, s.Rows, s.N); err != nil {
		return nil, err
	}
	for _, v := range [][]float32{s.Scale, s.Bias, s.Factor} {
		if v != nil && len(v) != s.N {
			return nil, specError(name, fmt.Sprintf("%d scales, %d biases, %d factors", len(s.Scale), len(s.Bias), len(s.Factor)), "%d or none", s.N)
		}
	}
	if s.Add && s.Bytes || s.Factor != nil && !s.Quantize {
		return nil, specError(name, "bytes and a sum, or a factor of nothing", "one form")
	}
	k := &NormKernel{NormSpec: s, kernel: pick(normKernels, l)}
	if k.kernel.four == nil {
		return nil, nil
	}
	a := &k.args
	*a = normArgs{n: s.N, xRow: 4 * s.N, sumRow: 4 * s.N, inv: fmath.InvCount(s.N), eps: s.Eps}
	// What is missing leaves values as they are: x·1, x+(−0).
	a.scale, a.bias, a.factor = orAll(s.Scale, s.N, 1), orAll(s.Bias, s.N, negativeZero), unsafe.SliceData(s.Factor)
	switch {
	case s.Add:
		a.form = formSum
	case s.Bytes:
		a.form, a.xRow = formBytes, s.N
		a.flip, a.xZero, a.xScale = uint32(xored(s.XSigned)), s.XZero+offset(s.XSigned), s.XScale
	}
	if s.Quantize {
		if err := s.Out.check(name); err != nil {
			return nil, err
		}
		o := s.Out.full()
		if o.DType > S8 {
			return nil, specError(name, fmt.Sprintf("%v", o.DType), "u8 or s8")
		}
		if o.QMin > o.Zero { // NaN, which gives Zero, would be clamped
			return nil, nil
		}
		signed := o.DType == S8
		a.qInv, a.zero = s.Inv, o.Zero
		a.lo, a.hi = o.bounds()
		a.wild = s.wild()
		a.yFlip, a.least, a.zeroAll = uint32(xored(signed)), uint32(o.QMin+offset(signed)), o.Zero+offset(signed)
	}
	k.units = evened(ceilDiv(s.Rows*s.N, normUnit))
	k.units = min(k.units, ceilDiv(s.Rows, normRows))
	k.name = fmt.Sprintf("norm_%dx%d_%s", s.Rows, s.N, k.kernel.name)
	return k, nil
}

// wild says that results may be NaN even though a row's moments are finite: then
// the values before Scale are below √N, with a margin for rounding 2√N.
func (s *NormSpec) wild() uint32 {
	greatest := func(x []float32, otherwise float64) float64 {
		if x == nil {
			return otherwise
		}
		m := 0.0
		for _, v := range x {
			m = max(m, math.Abs(float64(v))) // NaN if one is
		}
		return m
	}
	y := 2*math.Sqrt(float64(s.N))*greatest(s.Scale, 1) + greatest(s.Bias, 0)
	if y <= math.MaxFloat32 && y*greatest(s.Factor, 1) <= math.MaxFloat32 && s.Inv <= math.MaxFloat32 {
		return 0
	}
	return 1
}

var negativeZero = float32(math.Copysign(0, -1))

// orAll gives x, or n times v where it is nil.
func orAll(x []float32, n int, v float32) *float32 {
	if x == nil {
		x = make([]float32, n)
		for i := range x {
			x[i] = v
		}
	}
	return &x[0]
}

// Name, Tiles, ScratchBytes and TileCost are those of Kernel.
func (k *NormKernel) Name() string { return k.name }

// Tiles is how many units of rows there are.
func (k *NormKernel) Tiles() int { return k.units }

// ScratchBytes is room for sums that nobody reads.
func (k *NormKernel) ScratchBytes() int {
	if k.args.form == formPlain {
		return 0
	}
	return align64(normRows * 4 * k.N)
}

// TileCost guesses a unit's time in ns.
func (k *NormKernel) TileCost() float64 { return 0.2 * float64(k.Rows*k.N) / float64(k.units) }

// row gives the first row of a unit: whole steps of the kernels but for the last.
func (k *NormKernel) row(u int) int {
	if u == k.units {
		return k.Rows
	}
	return k.Rows * u / k.units &^ (normRows - 1)
}

// Run computes units [lo, hi).
func (k *NormKernel) Run(lo, hi int, a *NormArgs) {
	p := normPool.Get().(*normArgs)
	for u := lo; u < hi; u++ {
		r0, r1 := k.row(u), k.row(u+1)
		if r0 == r1 {
			continue
		}
		*p = k.args
		p.rows = r1 - r0
		p.xAt, p.yAt, p.qAt = r0*p.xRow, r0*4*k.N, r0*k.N
		p.sumAt = p.yAt
		p.x, p.x2, p.y, p.q = base(a.X), base(a.X2), base(a.Y), base(a.Q)
		if p.form != formSum {
			p.x2 = p.x // what is fetched ahead
		}
		switch {
		case p.form == formPlain:
			p.sum = p.x
		case a.Sum != nil:
			p.sum = base(a.Sum)
		default:
			p.sum, p.sumAt, p.sumRow = base(a.Scratch), 0, 0
		}
		if p.rows >= normRows {
			k.kernel.four(p)
		}
		if p.rows > 0 {
			k.kernel.one(p)
		}
	}
	*p = normArgs{}
	normPool.Put(p)
}
