package npy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	for _, x := range []*ir.Tensor{
		ir.From([]float32{1, -2, 3, 4, 5, 6}, 2, 3), ir.From([]float64{1e300}, 1), ir.From([]int64{-1 << 40, 7}, 2),
		ir.From([]int32{-3, 9}, 2, 1), ir.From([]uint8{0, 255}, 2), ir.From([]int8{-128, 127}, 2), ir.From([]bool{true, false}, 2),
		ir.Scalar(float32(7)), ir.NewTensor(ir.F32, 0, 4),
	} {
		path := filepath.Join(dir, "x.npy")
		if err := Write(path, x); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if !ir.SameData(got, x) {
			t.Errorf("%v: read %v, wrote %v", x.Type(), got, x)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.IndexByte(b, '\n') + 1; at%64 != 0 {
			t.Errorf("%v: elements begin at %d, wanted a multiple of 64", x.Type(), at)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// Rows of the first axis are read alone.
func TestRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.npy")
	if err := Write(path, ir.From([]int32{0, 1, 10, 11, 20, 21}, 3, 2)); err != nil {
		t.Fatal(err)
	}
	f, h, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := ReadRows(f, h, 1, 2)
	if err != nil || !ir.SameData(got, ir.From([]int32{10, 11, 20, 21}, 2, 2)) {
		t.Errorf("rows 1 and 2 are %v (%v)", got, err)
	}
	if _, err := ReadRows(f, h, 2, 2); err == nil {
		t.Error("rows beyond the end are read")
	}
}

// file is a .npy file as numpy writes it.
func file(header, data string) []byte {
	header += "\n"
	return []byte(magic + "\x01\x00" + string([]byte{byte(len(header)), byte(len(header) >> 8)}) + header + data)
}

func TestErrors(t *testing.T) {
	head := func(descr, order, shape string) string {
		return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr, order, shape)
	}
	for _, c := range []struct {
		data []byte
		want string
	}{
		{nil, "no .npy header"},
		{[]byte("PK\x03\x04 and more"), "no .npy header"},
		{[]byte(magic + "\x01\x00\xff\x00{"), "ends in its header"},
		{[]byte(magic + "\x02\x00\xff\xff\xff\xff{"), "a header of 4294967295 bytes"},
		{file("{}", ""), "descr, fortran_order and shape"},
		{file(head("<c8", "False", "(1,)"), "12345678"), "elements of type <c8"},
		{file(head(">f4", "False", "(1,)"), "1234"), "elements of type >f4"},
		{file(head("<f4", "True", "(1, 2)"), "12345678"), "Fortran order; wanted C order; save numpy.ascontiguousarray(x)"},
		{file(head("<f4", "False", "(2, 2)"), "1234"), "the file is cut short"},
		{file(head("<f4", "False", "(-1,)"), ""), "shape (-1,)"},
		{file(head("<f4", "False", "(1099511627776, 1099511627776)"), ""), "shape (1099511627776"},
		{file(head("<f8", "False", "(1099511627776,)"), ""), "the file is cut short"},
	} {
		path := filepath.Join(t.TempDir(), "bad.npy")
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v; wanted an error with the file's name and %q", c.data, err, c.want)
		}
	}
	// One axis has one order.
	path := filepath.Join(t.TempDir(), "x.npy")
	if err := os.WriteFile(path, file(head("|u1", "True", "(3,)"), "abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if x, err := Read(path); err != nil || !ir.SameData(x, ir.From([]uint8("abc"), 3)) {
		t.Errorf("a vector in Fortran order: %v (%v)", x, err)
	}
	if err := Write(filepath.Join(path, "y.npy"), ir.Scalar(float32(1))); err == nil {
		t.Error("writing below a file is no error")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(file("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }", "12345678"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ReadHeader(bytes.NewReader(data))
		if err == nil && h.Shape.Elems() < 0 {
			t.Errorf("%v elements", h.Shape)
		}
	})
}
