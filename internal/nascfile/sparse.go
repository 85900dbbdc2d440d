package nascfile

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// A constant of many zeros is stored as three tensors: its shape, a bit for
// each element (the lowest of the first byte is the first element's) that says
// whether it is there, and the elements that are. An element is left out where
// all its bits are 0. Files with such constants are of format 2.
const (
	shapeSuffix  = "#shape"
	maskSuffix   = "#mask"
	valuesSuffix = "#values"
)

const (
	sparseLeast = 1024 // elements below which nothing is to be gained
	sparseShare = 0.9  // of the dense bytes that must suffice
)

// packed replaces constants that get smaller by it, and says whether there were
// any.
func packed(tensors []ir.NamedTensor) ([]ir.NamedTensor, bool) {
	names := map[string]bool{}
	for _, t := range tensors {
		names[t.Name] = true
	}
	var out []ir.NamedTensor
	for _, t := range tensors {
		s := pack(t)
		if s == nil || slices.ContainsFunc(s, func(x ir.NamedTensor) bool { return names[x.Name] }) {
			out = append(out, t)
			continue
		}
		out = append(out, s...)
	}
	return out, len(out) > len(tensors)
}

// pack gives the three tensors of a constant, or nil where they are not
// smaller.
func pack(t ir.NamedTensor) []ir.NamedTensor {
	n, size := t.Tensor.Len(), t.Tensor.DType.Size()
	if n < sparseLeast || t.Tensor.DType == ir.Bool {
		return nil
	}
	raw := t.Tensor.RawBytes()
	there := func(i int) bool {
		for _, b := range raw[i*size : (i+1)*size] {
			if b != 0 {
				return true
			}
		}
		return false
	}
	count := 0
	for i := range n {
		if there(i) {
			count++
		}
	}
	if float64((n+7)/8+count*size) > sparseShare*float64(n*size) {
		return nil
	}
	mask, shape := ir.NewTensor(ir.U8, (n+7)/8), ir.NewTensor(ir.I64, len(t.Tensor.Shape))
	for i, d := range t.Tensor.Shape {
		shape.Set(i, float64(d))
	}
	m := mask.U8()
	for i := range n {
		if there(i) {
			m[i/8] |= 1 << (i % 8)
		}
	}
	values := ir.NewTensor(t.Tensor.DType, count)
	move(t.Tensor, values, m, n, false)
	return []ir.NamedTensor{{Name: t.Name + shapeSuffix, Tensor: shape}, {Name: t.Name + maskSuffix, Tensor: mask}, {Name: t.Name + valuesSuffix, Tensor: values}}
}

// unpack adds the constants that packed replaced.
func unpack(tensors map[string]*ir.Tensor) error {
	found := map[string]*ir.Tensor{}
	for name, mask := range tensors {
		of, ok := strings.CutSuffix(name, maskSuffix)
		shape, values := tensors[of+shapeSuffix], tensors[of+valuesSuffix]
		if !ok || shape == nil || values == nil || tensors[of] != nil {
			continue
		}
		bad := func(found, wanted string) error {
			return &diag.Error{Place: of, Found: found, Wanted: wanted, Fix: "the file is damaged: copy or compile it again"}
		}
		if mask.DType != ir.U8 || shape.DType != ir.I64 || len(shape.Shape) != 1 || len(values.Shape) != 1 || shape.Len() > 16 {
			return bad("a sparse constant in a form of its own", "mask, shape and values as nasc writes them")
		}
		s, n := ir.Shape{}, 1
		for i := range shape.Len() {
			d := shape.Int(i)
			if d < 0 || d > 0 && n > maxPart/d {
				return bad(fmt.Sprintf("an extent of %d", d), "one that fits into memory")
			}
			s, n = append(s, d), n*d
		}
		m := mask.U8()
		count := 0
		for _, b := range m {
			count += bits.OnesCount8(b)
		}
		if len(m) != (n+7)/8 || count != values.Len() || n%8 != 0 && len(m) > 0 && m[len(m)-1]>>(n%8) != 0 {
			return bad(fmt.Sprintf("%d values and a mask of %d bytes with %d of them for %v", values.Len(), len(m), count, s), "as many as the mask has")
		}
		t := ir.NewTensor(values.DType, s...)
		move(t, values, m, n, true)
		found[of] = t
	}
	for name, t := range found {
		tensors[name] = t
	}
	return nil
}

// move copies the n elements that the mask has between a whole tensor and the
// list of those elements.
func move(whole, list *ir.Tensor, mask []byte, n int, back bool) {
	switch w := whole.Data.(type) {
	case []float32:
		moved(w, list.Data.([]float32), mask, n, back)
	case []float64:
		moved(w, list.Data.([]float64), mask, n, back)
	case []uint16:
		moved(w, list.Data.([]uint16), mask, n, back)
	case []int64:
		moved(w, list.Data.([]int64), mask, n, back)
	case []int32:
		moved(w, list.Data.([]int32), mask, n, back)
	case []int8:
		moved(w, list.Data.([]int8), mask, n, back)
	case []uint8:
		moved(w, list.Data.([]uint8), mask, n, back)
	case []bool:
		moved(w, list.Data.([]bool), mask, n, back)
	default:
		panic(fmt.Sprintf("BUG: a constant of %T", whole.Data))
	}
}

func moved[E any](whole, list []E, mask []byte, n int, back bool) {
	k := 0
	for i := range n {
		if mask[i/8]>>(i%8)&1 == 0 {
			continue
		}
		if back {
			whole[i] = list[k]
		} else {
			list[k] = whole[i]
		}
		k++
	}
}
