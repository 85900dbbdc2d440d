// Package npy reads and writes numpy's .npy files (format 1.0 to 3.0) of the
// element types that ir has. It imports only ir and diag.
//
// Specification: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
package npy

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

const magic = "\x93NUMPY"

var types = map[string]ir.DType{
	"f4": ir.F32, "f8": ir.F64, "f2": ir.F16, "i8": ir.I64, "i4": ir.I32, "u1": ir.U8, "i1": ir.S8, "b1": ir.Bool,
}

// Header describes a file's array.
type Header struct {
	DType ir.DType
	Shape ir.Shape
	Data  int64 // where the elements start
}

var (
	descr   = regexp.MustCompile(`'descr'\s*:\s*'([<>|=])([a-z]\d+)'`)
	fortran = regexp.MustCompile(`'fortran_order'\s*:\s*(True|False)`)
	shapeRE = regexp.MustCompile(`'shape'\s*:\s*\(([^)]*)\)`)
)

// ReadHeader reads what stands before the elements.
func ReadHeader(r io.Reader) (Header, error) {
	var h Header
	buf := make([]byte, 12)
	if _, err := io.ReadFull(r, buf[:8]); err != nil || string(buf[:6]) != magic {
		return h, &diag.Error{Found: "no .npy header", Wanted: "a file of numpy.save"}
	}
	size, at := 2, int64(10)
	if buf[6] >= 2 {
		size, at = 4, 12
	}
	if _, err := io.ReadFull(r, buf[8:8+size]); err != nil {
		return h, &diag.Error{Found: "the file ends in its header"}
	}
	n := int(binary.LittleEndian.Uint16(buf[8:]))
	if size == 4 {
		n = int(binary.LittleEndian.Uint32(buf[8:]))
	}
	if n > 1<<16 {
		return h, &diag.Error{Found: fmt.Sprintf("a header of %d bytes", n), Wanted: "65536 at most"}
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return h, &diag.Error{Found: "the file ends in its header"}
	}
	h.Data = at + int64(n)
	d, f, s := descr.FindSubmatch(text), fortran.FindSubmatch(text), shapeRE.FindSubmatch(text)
	if d == nil || f == nil || s == nil {
		return h, &diag.Error{Found: "header " + strconv.Quote(string(text)), Wanted: "descr, fortran_order and shape of a plain array"}
	}
	var ok bool
	if h.DType, ok = types[string(d[2])]; !ok || string(d[1]) == ">" {
		return h, &diag.Error{Found: "elements of type " + string(d[1]) + string(d[2]), Wanted: "little-endian floats, integers or bool"}
	}
	total := 1
	h.Shape = ir.Shape{}
	for part := range strings.SplitSeq(string(s[1]), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		e, err := strconv.Atoi(part)
		if err != nil || e < 0 || e > 0 && total > (1<<40)/e {
			return h, &diag.Error{Found: "shape (" + string(s[1]) + ")"}
		}
		h.Shape = append(h.Shape, e)
		total *= e
	}
	if string(f[1]) == "True" && len(h.Shape) > 1 {
		return h, &diag.Error{Found: "Fortran order", Wanted: "C order", Fix: "save numpy.ascontiguousarray(x)"}
	}
	return h, nil
}

// Open opens a file whose elements are all there; rows are read by ReadRows.
func Open(path string) (*os.File, Header, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Header{}, &diag.Error{Place: path, Err: err}
	}
	h, err := ReadHeader(f)
	if err == nil {
		var st os.FileInfo
		if st, err = f.Stat(); err == nil {
			if want := h.Data + int64(h.Shape.Elems()*h.DType.Size()); st.Size() < want {
				err = &diag.Error{Found: fmt.Sprintf("%d bytes", st.Size()), Wanted: fmt.Sprintf("%d", want), Fix: "the file is cut short"}
			}
		}
	}
	if err != nil {
		f.Close()
		return nil, Header{}, diag.At(path, err)
	}
	return f, h, nil
}

// ReadRows reads count rows of the first axis from row start on.
func ReadRows(f io.ReaderAt, h Header, start, count int) (*ir.Tensor, error) {
	if len(h.Shape) == 0 || start < 0 || count < 0 || start+count > h.Shape[0] {
		return nil, &diag.Error{Found: fmt.Sprintf("rows %d to %d", start, start+count), Wanted: fmt.Sprintf("rows of %v", h.Shape)}
	}
	shape := h.Shape.Clone()
	shape[0] = count
	row := int64(h.Shape[1:].Elems() * h.DType.Size())
	return read(io.NewSectionReader(f, h.Data+int64(start)*row, int64(count)*row), h.DType, shape)
}

// Read reads a whole file.
func Read(path string) (*ir.Tensor, error) {
	f, h, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(h.Data, io.SeekStart); err != nil {
		return nil, diag.At(path, err)
	}
	t, err := read(bufio.NewReaderSize(f, 1<<16), h.DType, h.Shape)
	return t, diag.At(path, err)
}

func read(r io.Reader, d ir.DType, shape ir.Shape) (*ir.Tensor, error) {
	t := ir.NewTensor(d, shape...)
	raw := make([]byte, t.Bytes())
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, &diag.Error{Found: "the file ends in its elements", Err: err}
	}
	le := binary.LittleEndian
	switch y := t.Data.(type) {
	case []float32:
		for i := range y {
			y[i] = math.Float32frombits(le.Uint32(raw[4*i:]))
		}
	case []float64:
		for i := range y {
			y[i] = math.Float64frombits(le.Uint64(raw[8*i:]))
		}
	case []uint16:
		for i := range y {
			y[i] = le.Uint16(raw[2*i:])
		}
	case []int64:
		for i := range y {
			y[i] = int64(le.Uint64(raw[8*i:]))
		}
	case []int32:
		for i := range y {
			y[i] = int32(le.Uint32(raw[4*i:]))
		}
	case []uint8:
		copy(y, raw)
	case []int8:
		for i := range y {
			y[i] = int8(raw[i])
		}
	case []bool:
		for i := range y {
			y[i] = raw[i] != 0
		}
	}
	return t, nil
}

// Write writes a tensor, whole or not at all.
func Write(path string, t *ir.Tensor) error {
	name := ""
	for k, d := range types {
		if d == t.DType {
			name = k
		}
	}
	if name == "" {
		return &diag.Error{Place: path, Found: "a tensor of " + t.DType.String(), Wanted: "a type that numpy has"}
	}
	order := "<"
	if t.DType.Size() == 1 {
		order = "|"
	}
	dims := ""
	for _, d := range t.Shape {
		dims += strconv.Itoa(d) + ","
	}
	h := fmt.Sprintf("{'descr': '%s%s', 'fortran_order': False, 'shape': (%s), }", order, name, dims)
	h += strings.Repeat(" ", 63-(10+len(h))%64) + "\n"
	out := append([]byte(magic+"\x01\x00"), byte(len(h)), byte(len(h)>>8))
	out = append(append(out, h...), t.RawBytes()...)
	f, err := os.CreateTemp(filepath.Dir(path), ".nasc-*")
	if err != nil {
		return diag.At(path, err)
	}
	_, err = f.Write(out)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is what matters
	}
	return diag.At(path, err)
}
