package f32

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// DotGeneralSpec is a batched matrix product of two activations: X [BatchA,M,K]
// ([BatchA,K,M] with TransposeA) times X2 [BatchB,K,N] ([BatchB,N,K] with
// TransposeB). The batch axes broadcast as in numpy. One FMA chain an output,
// in the order of k; + 0; activation.
type DotGeneralSpec struct {
	BatchA, BatchB         []int
	M, K, N                int
	TransposeA, TransposeB bool
	Act                    Act
}

// DotGeneral prepares a batched matrix product.
func DotGeneral(s DotGeneralSpec, l isa.Level) (Kernel, error) {
	batch, err := BinarySpec{Op: "dot_general", A: s.BatchA, B: s.BatchB}.Shape()
	if err != nil {
		return nil, err
	}
	if s.M < 1 || s.K < 1 || s.N < 1 {
		return nil, specError("dot_general", fmt.Sprintf("%dx%dx%d", s.M, s.K, s.N), "1 or more everywhere")
	}
	ep, err := s.Act.epilogue(l)
	if err != nil {
		return nil, err
	}
	d := &dotGeneral{DotGeneralSpec: s, set: gemmFor(l), ep: ep, axes: mergeAxes(s.BatchA, s.BatchB, batch)}
	d.flags = d.ep.inTile(d.set)
	d.blocks = d.set.columns(s.N)
	d.zeros = alignedFloats(d.set.cols())
	kstep := 4
	if s.TransposeA {
		kstep = s.M * 4
	}
	d.chunks = chunks([]int64{0}, s.K, kstep)
	n := ceilDiv(s.M, d.set.rows())
	for i := range n {
		d.starts = append(d.starts, cut(s.M, n, i))
	}
	d.starts = append(d.starts, s.M)
	batches := product(batch)
	d.parts = max(1, min(n/2, wantUnits/max(batches, 1)))
	k := &op{
		name:  fmt.Sprintf("dot_general_f32_%d_%dx%dx%d_%s%s", batches, s.M, s.K, s.N, d.set.name, ep.suffix()),
		tiles: batches * d.parts, run: d.run,
	}
	// Full vectors are loaded: rows that end within one are packed too.
	d.packs = s.TransposeB || s.N%d.set.lanes != 0
	if d.packs {
		k.scratch = align64(s.K * ceilDiv(s.N, d.set.lanes) * d.set.lanes * 4)
	}
	return k, nil
}

type dotGeneral struct {
	DotGeneralSpec
	set    *gemmSet
	ep     epilogue
	flags  uint64 // of the epilogue
	axes   []axis // of the batch
	blocks []block
	chunks []chunk
	starts []int // first row of each tile, and M
	zeros  []float32
	parts  int
	packs  bool // B goes through the scratch memory
}

func (d *dotGeneral) run(lo, hi int, a *Args) {
	x, x2, y := floats(a.X), floats(a.X2), floats(a.Y)
	packed := -1
	for u := lo; u < hi; u++ {
		batch, part := u/d.parts, u%d.parts
		ia, ib := 0, 0
		for i, q := len(d.axes)-1, batch; i >= 0; i-- {
			ax := d.axes[i]
			ia, ib = ia+q%ax.n*ax.a, ib+q%ax.n*ax.b
			q /= ax.n
		}
		b := x2[ib*d.K*d.N:][:d.K*d.N]
		if d.packs {
			if packed != batch {
				d.pack(floats(a.Scratch), b)
				packed = batch
			}
			b = floats(a.Scratch)
		}
		t0, t1 := cut(len(d.starts)-1, d.parts, part), cut(len(d.starts)-1, d.parts, part+1)
		d.tiles(t0, t1, x[ia*d.M*d.K:], b, y[batch*d.M*d.N:])
	}
	runtime.KeepAlive(a)
}

func (d *dotGeneral) pack(dst, b []float32) {
	packActivation(d.set, d.blocks, dst, b, d.K, d.N, d.TransposeB)
}

// packActivation writes the columns of B [k,n], or of its transpose [n,k], as
// blocks [k][vecs*lanes]. What lies beyond the last column is left as it is: it
// only reaches columns that are not stored.
func packActivation(g *gemmSet, blocks []block, dst, b []float32, k, n int, transposed bool) {
	for i := range blocks {
		bl := &blocks[i]
		w := bl.vecs * g.lanes
		out := dst[bl.col*k:]
		if !transposed {
			for j := range k {
				copy(out[j*w:][:bl.cols], b[j*n+bl.col:])
			}
			continue
		}
		c := 0
		if g.transpose8 != nil && k >= 8 {
			for ; c+8 <= bl.cols; c += 8 {
				g.transpose8(&out[c], &b[(bl.col+c)*k], w*4, k*4, k/8)
				for r := c; r < c+8; r++ {
					for j := k &^ 7; j < k; j++ {
						out[j*w+r] = b[(bl.col+r)*k+j]
					}
				}
			}
		}
		for ; c < bl.cols; c++ {
			for j, v := range b[(bl.col+c)*k:][:k] {
				out[j*w+c] = v
			}
		}
	}
}

func (d *dotGeneral) tiles(t0, t1 int, x, b, y []float32) {
	t := tile{stride: uintptr(d.K * 4), kstep: 4, ldy: uintptr(d.N * 4), lo: d.ep.lo, hi: d.ep.hi, bias: unsafe.Pointer(&d.zeros[0])}
	row := d.K
	if d.TransposeA {
		t.stride, t.kstep, row = 4, uintptr(d.M*4), 1
	}
	for i := range d.blocks {
		bl := &d.blocks[i]
		w := unsafe.Pointer(&b[bl.col])
		t.ldw = uintptr(d.N * 4)
		if d.packs {
			w = unsafe.Pointer(&b[bl.col*d.K])
			t.ldw = uintptr(bl.vecs * d.set.lanes * 4)
		}
		t.mask, t.cols = bl.mask, bl.cols
		for j := t0; j < t1; j++ {
			r, n := d.starts[j], d.starts[j+1]-d.starts[j]
			h := r + (n+1)/2
			t.rows = n
			t.a = uintptr(unsafe.Pointer(&x[r*row]))
			t.b = t.a + uintptr((h-r)*row*4)
			t.y = uintptr(unsafe.Pointer(&y[r*d.N+bl.col]))
			t.yb = t.y + uintptr((h-r)*d.N*4)
			for k := range d.chunks {
				ch := &d.chunks[k]
				t.off, t.segs, t.seg = unsafe.Pointer(&ch.off[0]), 1, uintptr(ch.seg)
				t.w = unsafe.Add(w, uintptr(ch.k)*t.ldw)
				t.flags, t.next = ch.flags|d.flags, uintptr(t.w)
				d.set.run[bl.vecs-1][n-1](hide(&t))
			}
		}
	}
	if d.ep.then != nil {
		d.ep.then(y[d.starts[t0]*d.N : d.starts[t1]*d.N])
	}
}
