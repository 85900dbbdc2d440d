package safetensors

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

func sample() []ir.NamedTensor {
	bf := ir.From([]uint16{0x3f80, 0}, 2)
	bf.DType = ir.BF16
	return []ir.NamedTensor{
		{Name: "w", Tensor: ir.From([]float32{1, -2, 3}, 3)},
		{Name: "a", Tensor: ir.From([]int8{-128, 127, 0}, 3, 1)},
		{Name: "i", Tensor: ir.From([]int64{1 << 40}, 1)},
		{Name: "m", Tensor: ir.From([]bool{true, false}, 2)},
		{Name: "h", Tensor: bf},
		{Name: "e", Tensor: ir.NewTensor(ir.F32, 0, 4)},
		{Name: "s", Tensor: ir.Scalar(float32(7))},
	}
}

func TestRoundTrip(t *testing.T) {
	var b, again bytes.Buffer
	if err := Write(&b, sample()); err != nil {
		t.Fatal(err)
	}
	s := sample()
	s[0], s[3] = s[3], s[0]
	if err := Write(&again, s); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("the order of tensors changes the bytes (%v)", err)
	}
	got, err := Read(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(sample()) {
		t.Errorf("read %d tensors", len(got))
	}
	for _, n := range sample() {
		if g := got[n.Name]; g == nil || !ir.SameData(g, n.Tensor) {
			t.Errorf("%s: read %+v, wrote %+v", n.Name, g, n.Tensor)
		}
	}
	n := binary.LittleEndian.Uint64(b.Bytes())
	if (n+8)%alignment != 0 {
		t.Errorf("data begin at %d", n+8)
	}
}

// Any cut or damaged file is an error, never a panic.
func TestDamage(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, sample()); err != nil {
		t.Fatal(err)
	}
	for n := range b.Len() {
		if _, err := Read(b.Bytes()[:n]); err == nil {
			t.Fatalf("%d of %d bytes are read without an error", n, b.Len())
		}
	}
	for i := range b.Len() {
		c := bytes.Clone(b.Bytes())
		c[i] ^= 0x55
		_, _ = Read(c) // may be other numbers, may be an error
	}
	for _, c := range []struct{ head, want string }{
		{`{"x":{"dtype":"F8","shape":[1],"data_offsets":[0,1]}}`, "dtype"},
		{`{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, "shape"},
		{`{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}`, "shape"},
		{`{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, "inside the file"},
		{`[]`, "JSON object"},
	} {
		f := binary.LittleEndian.AppendUint64(nil, uint64(len(c.head)))
		f = append(append(f, c.head...), 0, 0, 0, 0)
		if _, err := Read(f); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.head, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, sample()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		tensors, err := Read(data)
		if err != nil {
			return
		}
		for name, x := range tensors {
			if len(x.RawBytes()) != int(x.Bytes()) {
				t.Errorf("%q has %d bytes, its type %d", name, len(x.RawBytes()), x.Bytes())
			}
		}
	})
}
