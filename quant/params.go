package quant

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// U8 and S8 are the two storage types of activations.
const (
	U8 = ir.U8
	S8 = ir.S8
)

// MinScale is the least scale: products of two stay normal float32 numbers.
const MinScale = 0x1p-100

// Params quantize a tensor as a whole: real = (q − Zero)·Scale.
type Params struct {
	DType ir.DType
	Scale float32
	Zero  int32
}

// Affine gives the parameters whose 256 levels cover [lo, hi], widened to
// contain 0, which one level represents exactly.
func Affine(lo, hi float64, d ir.DType) Params {
	lo, hi = min(lo, 0), max(hi, 0)
	qlo, qhi := d.Range()
	p := Params{DType: d, Scale: float32((hi - lo) / 255)}
	if lo == hi { // nothing but zeros was seen: any scale does
		p.Scale = 1.0 / 255
	}
	p.Scale = max(p.Scale, MinScale)
	// Of the two levels next to −lo/s the nearest; the far end then lies at
	// most half a level outside.
	z := math.RoundToEven(-lo/float64(p.Scale)) + float64(qlo)
	p.Zero = int32(min(max(z, float64(qlo)), float64(qhi)))
	return p
}

// As gives the same levels in the other 8-bit type.
func (p Params) As(d ir.DType) Params {
	from, _ := p.DType.Range()
	to, _ := d.Range()
	p.DType, p.Zero = d, p.Zero-from+to
	return p
}

// Quantize rounds one real number to its level.
func (p Params) Quantize(x float64) int32 {
	lo, hi := p.DType.Range()
	v := math.RoundToEven(x/float64(p.Scale)) + float64(p.Zero)
	if v != v {
		return p.Zero
	}
	return int32(min(max(v, float64(lo)), float64(hi)))
}

// Real gives the number that a level stands for.
func (p Params) Real(q int32) float64 { return float64(q-p.Zero) * float64(p.Scale) }

// Lo and Hi are the ends of what the levels cover.
func (p Params) Lo() float64 { lo, _ := p.DType.Range(); return p.Real(lo) }

// Hi is the greatest number that a level stands for.
func (p Params) Hi() float64 { _, hi := p.DType.Range(); return p.Real(hi) }

// Quant gives the form that types carry.
func (p Params) Quant() *ir.Quant { return ir.PerTensor(p.Scale, p.Zero) }

// Of reads the parameters of a per-tensor quantized type.
func Of(t ir.Type) Params {
	return Params{DType: t.DType, Scale: t.Quant.Scale[0], Zero: t.Quant.Zero[0]}
}

// Out gives the attributes of a q_ op with this result; min and max clamp the
// real numbers (±Inf for none).
func (p Params) Out(min, max float64) ir.Out {
	lo, hi := p.DType.Range()
	o := ir.Out{DType: p.DType, Scale: p.Scale, Zero: p.Zero, QMin: lo, QMax: hi}
	if !math.IsInf(min, 0) {
		o.QMin = p.Quantize(min)
	}
	if !math.IsInf(max, 0) {
		o.QMax = p.Quantize(max)
	}
	if o.QMin >= o.QMax { // a clamp to one level cannot be said; keep two
		if o.QMax < hi {
			o.QMax = o.QMin + 1
		} else {
			o.QMin = o.QMax - 1
		}
	}
	return o
}

// Func is a real function, applied to many numbers at once.
type Func func(x []float64) []float64

// levels gives the real numbers of all 256 levels.
func (p Params) levels() []float64 {
	lo, _ := p.DType.Range()
	x := make([]float64, 256)
	for i := range x {
		x[i] = p.Real(int32(i) + lo)
	}
	return x
}

// Table builds the 256 entries of q_lookup in float64: entry i is f of the
// number that input level i stands for, in out's levels.
func Table(in, out Params, f Func) *ir.Tensor {
	t := ir.NewTensor(out.DType, 256)
	for i, y := range f(in.levels()) {
		t.Set(i, float64(out.Quantize(y)))
	}
	return t
}

// TableF32 is Table with float32 results.
func TableF32(in Params, f Func) *ir.Tensor {
	t := ir.NewTensor(ir.F32, 256)
	for i, y := range f(in.levels()) {
		t.Set(i, y)
	}
	return t
}

// Identity is the function of tables that only change the scale.
func Identity(x []float64) []float64 { return x }
