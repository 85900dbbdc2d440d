// Package safetensors reads and writes Hugging Face's safetensors form: eight
// bytes of header length, a JSON header, the tensors' bytes. Tensors are read
// as views of the memory given. It may import ir and internal/diag.
package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// alignment of tensors in a written file, counted from its beginning.
const alignment = 64

// padPrefix names the fillers between tensors: the form allows no holes.
const padPrefix = "__pad"

var dtypeNames = map[ir.DType]string{
	ir.F32: "F32", ir.F64: "F64", ir.F16: "F16", ir.BF16: "BF16", ir.I64: "I64", ir.I32: "I32", ir.U8: "U8", ir.S8: "I8", ir.Bool: "BOOL",
}

type entry struct {
	DType   string    `json:"dtype"`
	Shape   []int     `json:"shape"`
	Offsets [2]uint64 `json:"data_offsets"`
}

// Write stores tensors, sorted by name, each at a multiple of 64 bytes. The
// same tensors always give the same bytes.
func Write(w io.Writer, tensors []ir.NamedTensor) error {
	tensors = slices.Clone(tensors)
	slices.SortFunc(tensors, func(a, b ir.NamedTensor) int { return cmp.Compare(a.Name, b.Name) })
	var head bytes.Buffer
	head.WriteByte('{')
	at, pads := uint64(0), 0
	put := func(name string, e entry) error {
		if head.Len() > 1 {
			head.WriteByte(',')
		}
		n, err := json.Marshal(name)
		if err != nil {
			return err
		}
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		head.Write(n)
		head.WriteByte(':')
		head.Write(b)
		return nil
	}
	for i, t := range tensors {
		if i > 0 && tensors[i-1].Name == t.Name {
			return fmt.Errorf("safetensors: two tensors are named %q", t.Name)
		}
		if gap := -at % alignment; gap > 0 {
			if err := put(padPrefix+strconv.Itoa(pads), entry{"U8", []int{int(gap)}, [2]uint64{at, at + gap}}); err != nil {
				return err
			}
			pads++
			at += gap
		}
		end := at + uint64(t.Tensor.Bytes())
		if err := put(t.Name, entry{dtypeNames[t.Tensor.DType], append([]int{}, t.Tensor.Shape...), [2]uint64{at, end}}); err != nil {
			return err
		}
		at = end
	}
	head.WriteByte('}')
	for (head.Len()+8)%alignment != 0 {
		head.WriteByte(' ')
	}
	if err := binary.Write(w, binary.LittleEndian, uint64(head.Len())); err != nil {
		return err
	}
	if _, err := w.Write(head.Bytes()); err != nil {
		return err
	}
	at = 0
	for _, t := range tensors {
		if gap := -at % alignment; gap > 0 {
			if _, err := w.Write(make([]byte, gap)); err != nil {
				return err
			}
			at += gap
		}
		b := t.Tensor.RawBytes()
		if _, err := w.Write(b); err != nil {
			return err
		}
		at += uint64(len(b))
	}
	return nil
}

// maxHeader bounds the JSON header, as the reference reader does.
const maxHeader = 100 << 20

// Read gives the tensors of a file in memory; their data are views of b where
// b is aligned for them, copies elsewhere.
func Read(b []byte) (map[string]*ir.Tensor, error) {
	if len(b) < 8 {
		return nil, diag.Errorf("safetensors", "found %d bytes; wanted at least the 8 of the header's length", len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if n > maxHeader || n > uint64(len(b)-8) {
		return nil, &diag.Error{Place: "safetensors", Found: fmt.Sprintf("a header of %d bytes in a file of %d", n, len(b)), Fix: "the file is cut short or is no safetensors file"}
	}
	head, data := b[8:8+n], b[8+n:]
	var all map[string]json.RawMessage
	if err := json.Unmarshal(head, &all); err != nil {
		return nil, &diag.Error{Place: "safetensors", Found: "the header is no JSON object", Err: err}
	}
	names := map[string]ir.DType{}
	for d, s := range dtypeNames {
		names[s] = d
	}
	out := make(map[string]*ir.Tensor, len(all))
	for name, raw := range all {
		if name == "__metadata__" || strings.HasPrefix(name, padPrefix) {
			continue
		}
		var e entry
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, &diag.Error{Place: "safetensors " + strconv.Quote(name), Found: "a bad entry", Err: err}
		}
		d, ok := names[e.DType]
		if !ok {
			return nil, &diag.Error{Place: "safetensors " + strconv.Quote(name), Found: "dtype " + strconv.Quote(e.DType), Wanted: "F32, F64, F16, BF16, I64, I32, U8, I8 or BOOL"}
		}
		size := uint64(d.Size())
		for _, x := range e.Shape {
			if x < 0 || x > 0 && size > math.MaxInt32*64/uint64(x) {
				return nil, diag.Errorf("safetensors "+strconv.Quote(name), "shape %v", e.Shape)
			}
			size *= uint64(x)
		}
		lo, hi := e.Offsets[0], e.Offsets[1]
		if lo > hi || hi > uint64(len(data)) || hi-lo != size {
			return nil, &diag.Error{
				Place: "safetensors " + strconv.Quote(name), Found: fmt.Sprintf("%s%v at bytes %d to %d of %d", e.DType, ir.Shape(e.Shape), lo, hi, len(data)),
				Wanted: fmt.Sprintf("%d bytes inside the file", size),
			}
		}
		out[name] = tensor(d, e.Shape, data[lo:hi])
	}
	return out, nil
}

func tensor(d ir.DType, shape []int, b []byte) *ir.Tensor {
	t := &ir.Tensor{DType: d, Shape: append(ir.Shape{}, shape...)}
	switch d {
	case ir.F32:
		t.Data = view[float32](b)
	case ir.F64:
		t.Data = view[float64](b)
	case ir.F16, ir.BF16:
		t.Data = view[uint16](b)
	case ir.I64:
		t.Data = view[int64](b)
	case ir.I32:
		t.Data = view[int32](b)
	case ir.U8:
		t.Data = b
	case ir.S8:
		t.Data = view[int8](b)
	case ir.Bool:
		v := make([]bool, len(b)) // other bytes than 0 and 1 must not become Go bools
		for i, x := range b {
			v[i] = x != 0
		}
		t.Data = v
	}
	return t
}

// view reads little-endian memory as numbers: in place where the machine is
// little-endian and the address fits.
func view[E float32 | float64 | uint16 | int64 | int32 | int8](b []byte) []E {
	var e E
	size := int(unsafe.Sizeof(e))
	n := len(b) / size
	if n == 0 {
		return []E{}
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if littleEndian && uintptr(p)%uintptr(size) == 0 {
		return unsafe.Slice((*E)(p), n)
	}
	out := make([]E, n)
	if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, out); err != nil {
		panic("BUG: " + err.Error())
	}
	return out
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1
