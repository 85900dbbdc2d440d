package f32

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// AttentionSpec is softmax(q k^T * scale + mask) v over the leading axes Lead:
// q [Lead,T,D], k [Lead,S,D], v [Lead,S,V]. Mask is the shape of the mask, which
// broadcasts to [Lead,T,S], or nil.
//
// A score is one FMA chain over D, times scale, plus mask, each rounded; a row of
// scores goes through fmath.Softmax; an output is one FMA chain over the keys.
type AttentionSpec struct {
	Lead       []int
	T, S, D, V int
	Scale      float32
	Mask       []int
}

// AttentionArgs is Args with the operands of an attention: X is q, X2 is k.
type AttentionArgs struct {
	Args
	V, Mask []byte
}

// AttentionKernel is Kernel for attention, which has more operands.
type AttentionKernel struct {
	AttentionSpec
	name         string
	set          *gemmSet
	keys, values []block
	packValues   bool
	lead, parts  int
	starts       []int // first row of each strip, and T
	chunksD      []chunk
	chunksS      []chunk
	zeros        []float32
	mul, add     binaryRun
	softmax      func(y, x, bias []float32, n int)
	mask         []axis // of the leading axes
	maskT, maskS int    // strides of the mask along T and S
	scales       []float32
}

// Attention prepares an attention.
func Attention(s AttentionSpec, l isa.Level) (*AttentionKernel, error) {
	for _, v := range []int{s.T, s.S, s.D, s.V} {
		if v < 1 {
			return nil, specError("attention", fmt.Sprintf("extents %d,%d,%d,%d", s.T, s.S, s.D, s.V), "1 or more everywhere")
		}
	}
	full := append(append([]int{}, s.Lead...), s.T, s.S)
	if got, err := (BinarySpec{Op: "attention", A: full, B: s.Mask}).Shape(); err != nil {
		return nil, err
	} else if product(got) != product(full) || len(got) != len(full) {
		return nil, specError("attention", fmt.Sprintf("mask %v", s.Mask), "one that broadcasts to %v", full)
	}
	k := &AttentionKernel{AttentionSpec: s, set: gemmFor(l), lead: product(s.Lead), softmax: rowsFor(l).softmax, scales: []float32{s.Scale}}
	k.name = fmt.Sprintf("attention_f32_%dx%dx%dx%dx%d_%s", k.lead, s.T, s.S, s.D, s.V, k.set.name)
	var err error
	if k.mul, err = binaryFunc("multiply", l); err != nil {
		return nil, err
	}
	if k.add, err = binaryFunc("add", l); err != nil {
		return nil, err
	}
	k.keys, k.values = k.set.columns(s.S), k.set.columns(s.V)
	k.packValues = s.V%k.set.lanes != 0
	k.chunksD, k.chunksS = chunks([]int64{0}, s.D, 4), chunks([]int64{0}, s.S, 4)
	k.zeros = alignedFloats(k.set.cols())
	n := ceilDiv(s.T, k.set.rows())
	for i := range n + 1 {
		k.starts = append(k.starts, cut(s.T, n, i))
	}
	k.parts = max(1, min(n/2, wantUnits/max(k.lead, 1)))
	if s.Mask != nil {
		k.maskStrides()
	}
	return k, nil
}

// maskStrides finds how the mask is walked: outer axes, rows, keys.
func (k *AttentionKernel) maskStrides() {
	rank := len(k.Lead) + 2
	step := 1
	for i := rank - 1; i >= 0; i-- {
		d, st := dimAt(k.Mask, rank, i), step
		if d == 1 {
			st = 0
		}
		step *= d
		switch i {
		case rank - 1:
			k.maskS = st
		case rank - 2:
			k.maskT = st
		default:
			k.mask = append(k.mask, axis{n: k.Lead[i], a: st}) // innermost first
		}
	}
}

// Tiles, ScratchBytes and Name are those of Kernel.
func (k *AttentionKernel) Tiles() int { return k.lead * k.parts }

// Name tells the shape and the instructions.
func (k *AttentionKernel) Name() string { return k.name }

// parts of the scratch memory, in bytes: packed keys, packed values, scores.
func (k *AttentionKernel) layout() (values, scores, end int) {
	values = align64(k.D * k.keyCols() * 4)
	scores = values
	if k.packValues {
		scores += align64(k.S * ceilDiv(k.V, k.set.lanes) * k.set.lanes * 4)
	}
	return values, scores, scores + align64(k.set.rows()*k.S*4)
}

func (k *AttentionKernel) keyCols() int { return ceilDiv(k.S, k.set.lanes) * k.set.lanes }

// ScratchBytes is the memory that each worker brings.
func (k *AttentionKernel) ScratchBytes() int {
	_, _, n := k.layout()
	return n
}

// Run computes units [lo, hi).
func (k *AttentionKernel) Run(lo, hi int, a *AttentionArgs) {
	q, keys, v, y := floats(a.X), floats(a.X2), floats(a.V), floats(a.Y)
	atV, atS, _ := k.layout()
	kt, packed, scores := floats(a.Scratch), floats(a.Scratch[atV:]), floats(a.Scratch[atS:])
	done := -1
	for u := lo; u < hi; u++ {
		b := u / k.parts
		vb, ldv := v[b*k.S*k.V:][:k.S*k.V], 0
		if done != b {
			packActivation(k.set, k.keys, kt, keys[b*k.S*k.D:], k.D, k.S, true)
			if k.packValues {
				packActivation(k.set, k.values, packed, vb, k.S, k.V, false)
			}
			done = b
		}
		if k.packValues {
			vb = packed
		} else {
			ldv = k.V
		}
		s0, s1 := cut(len(k.starts)-1, k.parts, u%k.parts), cut(len(k.starts)-1, k.parts, u%k.parts+1)
		for i := s0; i < s1; i++ {
			r, n := k.starts[i], k.starts[i+1]-k.starts[i]
			row := scores[:n*k.S]
			k.multiply(row, q[(b*k.T+r)*k.D:], kt, n, k.D, k.S, 0, k.keys, k.chunksD)
			k.mul(row, row, k.scales, false, true)
			if k.Mask == nil {
				k.softmax(row, row, nil, k.S)
			} else {
				k.masked(row, floats(a.Mask)[k.maskAt(b)+r*k.maskT:])
			}
			k.multiply(y[(b*k.T+r)*k.V:], row, vb, n, k.S, k.V, ldv, k.values, k.chunksS)
		}
	}
	runtime.KeepAlive(a)
}

// masked is the softmax of rows of scores with their mask.
func (k *AttentionKernel) masked(scores, mask []float32) {
	switch {
	case k.maskS == 1 && k.maskT == 0:
		k.softmax(scores, scores, mask[:k.S], k.S)
		return
	case k.maskS == 1:
		for i := 0; i < len(scores); i += k.S {
			k.softmax(scores[i:i+k.S], scores[i:i+k.S], mask[:k.S], k.S)
			mask = mask[k.maskT:]
		}
		return
	}
	for i := 0; i < len(scores); i += k.S {
		line := scores[i : i+k.S]
		k.add(line, line, mask[i/k.S*k.maskT:], false, true)
	}
	k.softmax(scores, scores, nil, k.S)
}

func (k *AttentionKernel) maskAt(b int) int {
	at := 0
	for _, x := range k.mask {
		at += b % x.n * x.a
		b /= x.n
	}
	return at
}

// multiply computes n rows of A [n,depth] times blocks of B: packed, or with
// ldb values from row to row.
func (k *AttentionKernel) multiply(y, a, b []float32, n, depth, cols, ldb int, blocks []block, chunks []chunk) {
	inf := Act{}
	ep, _ := inf.epilogue(isa.Portable)
	t := tile{stride: uintptr(depth * 4), kstep: 4, ldy: uintptr(cols * 4), lo: ep.lo, hi: ep.hi, bias: unsafe.Pointer(&k.zeros[0]), rows: n}
	half := (n + 1) / 2
	for i := range blocks {
		bl := &blocks[i]
		w := unsafe.Pointer(&b[bl.col])
		t.ldw = uintptr(ldb * 4)
		if ldb == 0 {
			w = unsafe.Pointer(&b[bl.col*depth])
			t.ldw = uintptr(bl.vecs * k.set.lanes * 4)
		}
		t.mask, t.cols = bl.mask, bl.cols
		t.a = uintptr(unsafe.Pointer(&a[0]))
		t.b = t.a + uintptr(half*depth*4)
		t.y = uintptr(unsafe.Pointer(&y[bl.col]))
		t.yb = t.y + uintptr(half*cols*4)
		for j := range chunks {
			ch := &chunks[j]
			t.off, t.segs, t.seg = unsafe.Pointer(&ch.off[0]), 1, uintptr(ch.seg)
			t.w = unsafe.Add(w, uintptr(ch.k)*t.ldw)
			t.flags, t.next = ch.flags|tilePlain, uintptr(t.w)
			k.set.run[bl.vecs-1][n-1](hide(&t))
		}
	}
}
