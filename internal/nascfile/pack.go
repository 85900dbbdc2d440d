package nascfile

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// A constant that gets smaller by it is stored as several tensors: its shape;
// where it is sparse (many zeros) a bit for each element, the lowest of the first
// byte for the first, that says whether it is there; and the elements that are
// there, as values of its type or, where all of an s8 constant are -8 to 7
// (weights of 4 bits), two to a byte as nibbles, the first in the low half. An
// element is left out where all its bits are 0. Files with masks are of format 2,
// with nibbles of format 3.
const (
	shapeSuffix   = "#shape"
	maskSuffix    = "#mask"
	valuesSuffix  = "#values"
	nibblesSuffix = "#nibbles"
)

const (
	packLeast = 1024 // elements below which nothing is to be gained
	packShare = 0.9  // of the plain bytes that must suffice
)

// packed replaces constants that get smaller by it, and gives the format of the
// file that has them.
func packed(tensors []ir.NamedTensor) ([]ir.NamedTensor, int) {
	names := map[string]bool{}
	for _, t := range tensors {
		names[t.Name] = true
	}
	format := 1
	var out []ir.NamedTensor
	for _, t := range tensors {
		s := pack(t)
		if s == nil || slices.ContainsFunc(s, func(x ir.NamedTensor) bool { return names[x.Name] }) {
			out = append(out, t)
			continue
		}
		out = append(out, s...)
		format = max(format, 2)
		if strings.HasSuffix(s[len(s)-1].Name, nibblesSuffix) {
			format = 3
		}
	}
	return out, format
}

// pack gives the tensors that a constant is stored as, or nil where it stays as
// it is.
func pack(t ir.NamedTensor) []ir.NamedTensor {
	n, size := t.Tensor.Len(), t.Tensor.DType.Size()
	if n < packLeast || t.Tensor.DType == ir.Bool {
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
	half := t.Tensor.DType == ir.S8 && !slices.ContainsFunc(t.Tensor.S8(), func(v int8) bool { return v < -8 || v > 7 })
	bytes := func(values int) int {
		if half {
			return (values + 1) / 2
		}
		return values * size
	}
	whole, sparse := bytes(n), (n+7)/8+bytes(count)
	if float64(min(whole, sparse)) > packShare*float64(n*size) {
		return nil
	}
	shape, values := ir.NewTensor(ir.I64, len(t.Tensor.Shape)), t.Tensor
	for i, d := range t.Tensor.Shape {
		shape.Set(i, float64(d))
	}
	out := []ir.NamedTensor{{Name: t.Name + shapeSuffix, Tensor: shape}}
	if sparse < whole {
		mask := ir.NewTensor(ir.U8, (n+7)/8)
		m := mask.U8()
		for i := range n {
			if there(i) {
				m[i/8] |= 1 << (i % 8)
			}
		}
		values = ir.NewTensor(t.Tensor.DType, count)
		move(t.Tensor, values, m, n, false)
		out = append(out, ir.NamedTensor{Name: t.Name + maskSuffix, Tensor: mask})
	}
	if !half {
		return append(out, ir.NamedTensor{Name: t.Name + valuesSuffix, Tensor: values})
	}
	nibbles := ir.NewTensor(ir.U8, (values.Len()+1)/2)
	for i, v := range values.S8() {
		nibbles.U8()[i/2] |= uint8(v) & 15 << (i % 2 * 4)
	}
	return append(out, ir.NamedTensor{Name: t.Name + nibblesSuffix, Tensor: nibbles})
}

// unpack adds the constants that packed replaced.
func unpack(tensors map[string]*ir.Tensor) error {
	found := map[string]*ir.Tensor{}
	for name, shape := range tensors {
		of, ok := strings.CutSuffix(name, shapeSuffix)
		mask, values, nibbles := tensors[of+maskSuffix], tensors[of+valuesSuffix], tensors[of+nibblesSuffix]
		if !ok || (values == nil) == (nibbles == nil) || tensors[of] != nil {
			continue
		}
		t, err := unpackOne(shape, mask, values, nibbles)
		if err != nil {
			return diag.At(of, err)
		}
		found[of] = t
	}
	for name, t := range found {
		tensors[name] = t
	}
	return nil
}

// unpackOne puts a constant together; mask may be nil, and one of values and
// nibbles is.
func unpackOne(shape, mask, values, nibbles *ir.Tensor) (*ir.Tensor, error) {
	bad := func(found, wanted string) error {
		return &diag.Error{Found: found, Wanted: wanted, Fix: "the file is damaged: copy or compile it again"}
	}
	list := cmp.Or(values, nibbles)
	if mask != nil && mask.DType != ir.U8 || nibbles != nil && nibbles.DType != ir.U8 || shape.DType != ir.I64 ||
		len(shape.Shape) != 1 || len(list.Shape) != 1 || shape.Len() > 16 {
		return nil, bad("a packed constant in a form of its own", "shape, mask and values or nibbles as nasc writes them")
	}
	s, n := ir.Shape{}, 1
	for i := range shape.Len() {
		d := shape.Int(i)
		if d < 0 || d > 0 && n > maxPart/d {
			return nil, bad(fmt.Sprintf("an extent of %d", d), "one that fits into memory")
		}
		s, n = append(s, d), n*d
	}
	count := n
	if mask != nil {
		m := mask.U8()
		count = 0
		for _, b := range m {
			count += bits.OnesCount8(b)
		}
		if len(m) != (n+7)/8 || n%8 != 0 && len(m) > 0 && m[len(m)-1]>>(n%8) != 0 {
			return nil, bad(fmt.Sprintf("a mask of %d bytes with %d elements for %v", len(m), count, s), "as many as the shape has")
		}
	}
	if want := (count + 1) / 2; nibbles != nil && (nibbles.Len() != want || count%2 == 1 && nibbles.U8()[want-1]>>4 != 0) {
		return nil, bad(fmt.Sprintf("%d bytes of nibbles for %d elements of %v", nibbles.Len(), count, s), "two elements to a byte")
	} else if values != nil && values.Len() != count {
		return nil, bad(fmt.Sprintf("%d values for %d elements of %v", values.Len(), count, s), "as many")
	}
	if nibbles != nil {
		values = ir.NewTensor(ir.S8, count)
		for i := range values.S8() {
			values.S8()[i] = int8(nibbles.U8()[i/2]>>(i%2*4)<<4) >> 4
		}
	}
	if mask == nil {
		return values.Reshaped(s...), nil
	}
	t := ir.NewTensor(values.DType, s...)
	move(t, values, mask.U8(), n, true)
	return t, nil
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
