package nascfile

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

// masked is a module whose weights are zeros but for every so many-th.
func masked(t *testing.T, every int) *ir.Module {
	t.Helper()
	b := ir.NewBuilder("main")
	x := b.Input("x", ir.T(ir.F32, ir.Batch, 50))
	w, q := ir.NewTensor(ir.F32, 50, 41), ir.NewTensor(ir.S8, 41, 41)
	for i := range w.Len() {
		if i%every == 0 {
			w.F32()[i] = float32(i) + 0.5
		}
	}
	w.F32()[1] = float32(math.Copysign(0, -1)) // not all bits 0: it stays
	for i := range q.Len() {
		if i%every == 0 {
			q.Set(i, float64(i%100-50))
		}
	}
	g, err := b.Graph(b.Op("dot", nil, b.Op("dot", nil, x, b.Const("w", w)), b.Op("convert", ir.Attrs{"dtype": "f32"}, b.Const("q", q))))
	if err != nil {
		t.Fatal(err)
	}
	return &ir.Module{Graphs: []*ir.Graph{g}}
}

// Constants of many zeros take less room and come back to the bit.
func TestSparse(t *testing.T) {
	size := map[int]int{}
	for _, every := range []int{1, 2, 4, 1 << 20} {
		m := masked(t, every)
		var b bytes.Buffer
		if err := Encode(&b, m, &Manifest{Producer: "test"}); err != nil {
			t.Fatal(err)
		}
		size[every] = b.Len()
		if want := every > 1; strings.Contains(b.String(), "format = 2") != want {
			t.Errorf("of every %d: format 2 is not %v", every, want)
		}
		f, err := Decode("m.nasc", b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range m.Constants() {
			if got := f.Module.Constants()[i]; got.Name != c.Name || !ir.SameData(got.Const, c.Const) {
				t.Errorf("of every %d: constant %s differs", every, c.Name)
			}
		}
	}
	if !(size[2] < size[1]*3/4 && size[4] < size[2]*3/4 && size[1<<20] < size[4]) {
		t.Errorf("bytes by share of zeros: %v", size)
	}
}

// Damaged sparse constants are errors.
func TestSparseDamage(t *testing.T) {
	whole := func() map[string]*ir.Tensor {
		out := map[string]*ir.Tensor{}
		w := ir.NewTensor(ir.F32, 40, 33)
		w.F32()[7] = 1
		for _, x := range pack(ir.NamedTensor{Name: "w", Tensor: w}) {
			out[x.Name] = x.Tensor
		}
		return out
	}
	if m := whole(); unpack(m) != nil || m["w"] == nil || m["w"].F32()[7] != 1 {
		t.Fatal("the whole one is not read")
	}
	for name, break_ := range map[string]func(m map[string]*ir.Tensor){
		"1 values for 9": func(m map[string]*ir.Tensor) { m["w#mask"].RawBytes()[3] = 0xff },
		"fits into":      func(m map[string]*ir.Tensor) { m["w#shape"].Set(0, -4) },
		"fits into mem":  func(m map[string]*ir.Tensor) { m["w#shape"].Set(0, 1<<40) },
		"form of its":    func(m map[string]*ir.Tensor) { m["w#mask"] = ir.NewTensor(ir.F32, 165) },
		"1 values":       func(m map[string]*ir.Tensor) { m["w#mask"] = ir.NewTensor(ir.U8, 165) },
		"1 values for":   func(m map[string]*ir.Tensor) { delete(m, "w#mask") },
		"wanted as many": func(m map[string]*ir.Tensor) { m["w#shape"].Set(0, 41) },
	} {
		m := whole()
		break_(m)
		if err := unpack(m); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v; wanted %q", err, name)
		}
	}
}

// fours is a module of one s8 constant: levels of 4 bits, zero but for every so
// many-th.
func fours(t *testing.T, n, every int, odd int8) *ir.Module {
	t.Helper()
	b := ir.NewBuilder("main")
	b.Input("x", ir.T(ir.F32, ir.Batch, 1))
	w := ir.NewTensor(ir.S8, n, 3)
	for i := range w.S8() {
		if i%every == 0 {
			w.S8()[i] = int8(i/every%16 - 8)
		}
	}
	w.S8()[5] = odd
	g, err := b.Graph(b.Op("convert", ir.Attrs{"dtype": "f32"}, b.Const("w", w)))
	if err != nil {
		t.Fatal(err)
	}
	return &ir.Module{Graphs: []*ir.Graph{g}}
}

// Levels of 4 bits lie two to a byte, also those that a mask leaves, and come
// back to the bit; one level more than 4 bits hold and the constant is plain.
func TestFourBits(t *testing.T) {
	weights := func(m *ir.Module, format int) int {
		t.Helper()
		var b bytes.Buffer
		if err := Encode(&b, m, &Manifest{Producer: "test"}); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint("format = ", format); !strings.Contains(b.String(), want) {
			t.Errorf("the file is not of %s", want)
		}
		f, err := Decode("m.nasc", b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if a, b := m.Constants()[0], f.Module.Constants()[0]; a.Name != b.Name || !ir.SameData(a.Const, b.Const) {
			t.Errorf("%d elements: the constant differs", a.Const.Len())
		}
		return b.Len()
	}
	for _, n := range []int{400, 1001, 5000} { // of odd counts, too
		plain, four := weights(fours(t, n, 1, 8), 1), weights(fours(t, n, 1, -8), 3)
		if gain := plain - four; gain < 3*n/2-300 {
			t.Errorf("%d levels of 4 bits: %d bytes instead of %d", 3*n, four, plain)
		}
		if thin := weights(fours(t, n, 4, -8), 3); thin > four-3*n/8+100 {
			t.Errorf("a quarter of %d: %d bytes, all of them %d", 3*n, thin, four)
		}
	}
	weights(fours(t, 100, 1, -8), 1) // too few to gain by it
}

// Damaged constants of 4 bits are errors.
func TestFourBitsDamage(t *testing.T) {
	for want, harm := range map[string]func(m map[string]*ir.Tensor){
		"":                 func(map[string]*ir.Tensor) {},
		"bytes of nibbles": func(m map[string]*ir.Tensor) { m["w#nibbles"] = ir.NewTensor(ir.U8, 99) },
		"two elements to":  func(m map[string]*ir.Tensor) { m["w#nibbles"].U8()[550] |= 0x10 },
		"form of its own":  func(m map[string]*ir.Tensor) { m["w#nibbles"] = ir.NewTensor(ir.S8, 552) },
	} {
		m := map[string]*ir.Tensor{}
		for _, x := range pack(ir.NamedTensor{Name: "w", Tensor: fours(t, 367, 1, 0).Constants()[0].Const}) {
			m[x.Name] = x.Tensor
		}
		harm(m)
		if err := unpack(m); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v; wanted %q", err, want)
		}
	}
}
