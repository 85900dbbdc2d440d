package move

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// Every strided copy, cut anywhere, moves what walking its indices moves.
func TestStrided(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 400 {
		s := StridedSpec{Elem: []int{1, 2, 4, 8}[r.IntN(4)]}
		rank := 1 + r.IntN(4)
		perm := r.Perm(rank)
		s.Dims, s.Src, s.Dst = make([]int, rank), make([]int, rank), make([]int, rank)
		for d := range rank {
			s.Dims[d] = []int{1, 2, 3, 5, 7, 16, 32, 33, 40, 64}[r.IntN(10)]
		}
		size := s.Elem
		for d := rank - 1; d >= 0; d-- {
			s.Dst[d] = size
			size *= s.Dims[d]
		}
		out, in := size, s.Elem
		for _, d := range perm { // any order of the operand's axes, some repeated
			if r.IntN(5) == 0 {
				continue
			}
			s.Src[d] = in
			in *= s.Dims[d] + r.IntN(2)
		}
		for d := range rank { // some walked downwards
			if s.Src[d] > 0 && r.IntN(6) == 0 {
				s.SrcAt += s.Src[d] * (s.Dims[d] - 1)
				s.Src[d] = -s.Src[d]
			}
		}
		x := make([]byte, in)
		for j := range x {
			x[j] = byte(r.IntN(256))
		}
		want := make([]byte, out)
		walk(s, 0, s.SrcAt, s.DstAt, want, x)
		ls := isa.Available()
		k, err := Strided(s, ls[i%len(ls)])
		if err != nil {
			t.Fatal(err)
		}
		a := Args{X: x, Y: make([]byte, out)}
		cut := r.IntN(k.Tiles() + 1)
		k.Run(cut, k.Tiles(), &a)
		k.Run(0, cut, &a)
		if !bytes.Equal(a.Y, want) {
			t.Fatalf("case %d: %s of %+v differs", i, k.Name(), s)
		}
	}
}

func walk(s StridedSpec, d, src, dst int, y, x []byte) {
	if d == len(s.Dims) {
		copy(y[dst:dst+s.Elem], x[src:src+s.Elem])
		return
	}
	for i := range s.Dims[d] {
		walk(s, d+1, src+i*s.Src[d], dst+i*s.Dst[d], y, x)
	}
}

func TestCopyAndFill(t *testing.T) {
	x := make([]byte, 100_001)
	for i := range x {
		x[i] = byte(i * 7)
	}
	k, _ := Copy(CopySpec{len(x)}, isa.Portable)
	a := Args{X: x, Y: make([]byte, len(x))}
	k.Run(0, k.Tiles(), &a)
	if !bytes.Equal(a.X, a.Y) {
		t.Error("the copy differs")
	}
	f, _ := Fill(FillSpec{[]byte{1, 2, 3, 4}}, isa.Portable)
	a.Y = make([]byte, 40)
	f.Run(0, 1, &a)
	if !bytes.Equal(a.Y, bytes.Repeat([]byte{1, 2, 3, 4}, 10)) {
		t.Errorf("filled with %v", a.Y)
	}
}

func TestGather(t *testing.T) {
	k, err := Gather(GatherSpec{Outer: 2, Extent: 3, Count: 2, Row: 1}, isa.Portable)
	if err != nil {
		t.Fatal(err)
	}
	a := Args{X: []byte("abcdef"), X2: []byte{255, 255, 255, 255, 1, 0, 0, 0}, Y: make([]byte, 4)}
	if err := k.(Checker).Check(&a); err != nil {
		t.Fatal(err)
	}
	k.Run(0, k.Tiles(), &a)
	if string(a.Y) != "cbfe" {
		t.Errorf("gathered %q", a.Y)
	}
	a.X2[4] = 3
	if err := k.(Checker).Check(&a); err == nil || fmt.Sprint(err) != "index 1 is 3; wanted −3 to 2" {
		t.Errorf("an index outside: %v", err)
	}
}

// Pictures in planes become pixels on every level alike.
func TestInterleave(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, elem := range []int{1, 4} {
		for _, n := range []int{1, 15, 16, 31, 100, 4096, 5000} {
			s := StridedSpec{Elem: elem, Dims: []int{2, n, 3}, Src: []int{3 * n * elem, elem, n * elem}, Dst: []int{3 * n * elem, 3 * elem, elem}}
			x := make([]byte, 6*n*elem)
			for i := range x {
				x[i] = byte(r.IntN(256))
			}
			want := make([]byte, len(x))
			walk(s, 0, 0, 0, want, x)
			for _, l := range isa.Available() {
				k, err := Strided(s, l)
				if err != nil {
					t.Fatal(err)
				}
				a := Args{X: x, Y: make([]byte, len(x))}
				k.Run(0, k.Tiles(), &a)
				if !bytes.Equal(a.Y, want) {
					t.Errorf("%v: %s of %d pixels differs", l, k.Name(), n)
				}
			}
		}
	}
}

func TestTake(t *testing.T) {
	k, err := Take(TakeSpec{Outer: 2, Extent: 3, Row: 2, Index: []int{0, 0, 2, 1}}, isa.Portable)
	if err != nil {
		t.Fatal(err)
	}
	a := Args{X: []byte("aabbccddeeff"), Y: make([]byte, 16)}
	k.Run(0, k.Tiles(), &a)
	if string(a.Y) != "aaaaccbbddddffee" {
		t.Errorf("took %q", a.Y)
	}
	if _, err := Take(TakeSpec{Outer: 1, Extent: 2, Row: 1, Index: []int{2}}, isa.Portable); err == nil {
		t.Error("a row outside is taken")
	}
}
