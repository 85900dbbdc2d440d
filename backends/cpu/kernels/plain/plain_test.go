package plain

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

func raw[E any](x []E) []byte {
	var e E
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), len(x)*int(unsafe.Sizeof(e)))
}

// at is numpy's broadcasting, index by index.
func at(i int, full, part []int) int {
	at, step := 0, 1
	for a := len(full) - 1; a >= 0; a-- {
		r := i % full[a]
		i /= full[a]
		if k := a - len(full) + len(part); k >= 0 {
			if part[k] > 1 {
				at += r * step
			}
			step *= part[k]
		}
	}
	return at
}

func product(s []int) int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// Selections with every kind of broadcasting, cut anywhere.
func TestSelectBroadcasts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		full := make([]int, 1+r.IntN(4))
		for i := range full {
			full[i] = []int{1, 2, 3, 7, 40}[r.IntN(5)]
		}
		part := func() []int {
			p := append([]int{}, full[r.IntN(len(full)):]...)
			for i := range p {
				if r.IntN(3) == 0 {
					p[i] = 1
				}
			}
			return p
		}
		s := SelectSpec{Elem: 4, P: part(), A: part(), B: full}
		p, x, z := make([]bool, product(s.P)), make([]float32, product(s.A)), make([]float32, product(s.B))
		for i := range p {
			p[i] = r.IntN(2) == 0
		}
		for i := range x {
			x[i] = r.Float32()
		}
		for i := range z {
			z[i] = -r.Float32()
		}
		k, err := Select(s, isa.Portable)
		if err != nil {
			t.Fatal(err)
		}
		y := make([]float32, product(full))
		a := &Args{X: raw(p), X2: raw(x), X3: raw(z), Y: raw(y)}
		cut := r.IntN(k.Tiles() + 1)
		k.Run(cut, k.Tiles(), a)
		k.Run(0, cut, a)
		for i := range y {
			want := z[at(i, full, s.B)]
			if p[at(i, full, s.P)] {
				want = x[at(i, full, s.A)]
			}
			if y[i] != want {
				t.Fatalf("%+v: element %d is %v, wanted %v", s, i, y[i], want)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	if _, err := Convert(ConvertSpec{Len: 1, From: "f64", To: "bf16"}, isa.Portable); err == nil {
		t.Error("an unknown conversion is prepared")
	}
	if _, err := Compare(CompareSpec{Type: "f32", Direction: "EQ", A: []int{2}, B: []int{3}}, isa.Portable); err == nil {
		t.Error("shapes that do not broadcast are taken")
	}
	k, err := DynamicQuantize(DynamicQuantizeSpec{Len: 2}, isa.Portable)
	if err != nil {
		t.Fatal(err)
	}
	a := &Args{X: raw([]float32{1, float32(math.Inf(1))})}
	if err := k.(Checker).Check(a); err == nil {
		t.Error("an infinity is quantized")
	}
}

func TestConvert(t *testing.T) {
	nan := float32(math.NaN())
	x := []float32{1.9, -1.9, 3e10, -3e10, nan}
	y := make([]int32, len(x))
	k, err := Convert(ConvertSpec{Len: len(x), From: "f32", To: "i32"}, isa.Portable)
	if err != nil {
		t.Fatal(err)
	}
	k.Run(0, k.Tiles(), &Args{X: raw(x), Y: raw(y)})
	for i, want := range []int32{1, -1, math.MaxInt32, math.MinInt32, 0} {
		if y[i] != want {
			t.Errorf("%v becomes %d, wanted %d", x[i], y[i], want)
		}
	}
}

// The quick rounding is round-half-even of x/scale plus the zero point.
func TestDynamicQuantizeRounds(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for range 200 {
		x := make([]float32, 100)
		for i := range x {
			x[i] = float32(r.NormFloat64() * math.Exp(r.NormFloat64()*3))
			if i%7 == 0 {
				x[i] = float32(r.IntN(20)) / 2
			}
		}
		var scale [1]float32
		y, zero := make([]uint8, len(x)), make([]uint8, 1)
		k, err := DynamicQuantize(DynamicQuantizeSpec{Len: len(x)}, isa.Portable)
		if err != nil {
			t.Fatal(err)
		}
		k.Run(0, 1, &Args{X: raw(x), Y: y, Y2: raw(scale[:]), Y3: zero})
		for i, v := range x {
			want := min(max(math.RoundToEven(float64(v/scale[0]))+float64(zero[0]), 0), 255)
			if float64(y[i]) != want {
				t.Fatalf("%v with scale %v, zero %d gives %d, wanted %v", v, scale[0], zero[0], y[i], want)
			}
		}
	}
}
