package f32

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// WeightGradSpec is the gradient of a convolution's weights: X is the input
// [N,H,W,C], X2 the gradient of the output [N,OH,OW,K]. The images are cut into
// Parts ([Parts[i], Parts[i+1]), see ir.GradParts): Y is [parts, KH,KW,C/Groups,K],
// each part's sums one FMA chain from +0 in the order (n, oh, ow), padding
// counted as zeros; with one channel a group, each image's chain is added to the
// sums before it. Weights, Bias, Act and Residual are not used.
type WeightGradSpec struct {
	ConvSpec
	Parts []int
}

// WeightGrad prepares a weight gradient. It is a matrix product whose rows are
// (kw, c) of a tap row, read as they lie in the image, whose columns are K and
// whose inner extent is the output positions; X is copied where it is padded.
func WeightGrad(s WeightGradSpec, l isa.Level) (Kernel, error) {
	c := s.ConvSpec
	c.Weights = make([]float32, max(c.KH*c.KW*c.C/max(c.Groups, 1)*c.K, 0))
	if err := c.check("weight gradient"); err != nil {
		return nil, err
	}
	if s.Groups == s.C && s.K == s.C && s.Groups > 1 {
		return newDepthwiseWeightGrad(s, l), nil
	}
	w := &weightGrad{ConvSpec: s.ConvSpec, at: s.Parts, set: gemmFor(l)}
	w.prepare()
	return &op{
		name:  fmt.Sprintf("conv_weight_grad_f32_%s_%s", s.dims(), w.set.name),
		tiles: len(s.Parts) - 1, scratch: w.xBytes + w.dyBytes, run: w.run,
	}, nil
}

type weightGrad struct {
	ConvSpec
	at     []int
	set    *gemmSet
	copied bool // x goes through the scratch memory, with its padding
	ph, pw int  // extent that is read
	pitch  int
	xBytes int
	// dy is copied where its rows end within a vector.
	packed  bool
	dk      int // floats from position to position in what is read of dy
	dyBytes int
	blocks  []block
	rows    []gradRows
	bands   []gradBand
}

// gradRows is the rows of a tile: consecutive (kw, c), or c of one tap.
type gradRows struct {
	x, y, n int // first float in the input from a position on, first row of the result
	group   int
}

// gradBand is the output rows of one call.
type gradBand struct {
	off   []int64
	first int // output row
}

// gradBandBytes: what one call reads of x and dy should stay in the first
// level cache while all tiles go over it.
const gradBandBytes = 36 << 10

// reads finds what is read of the input, and whether it is copied.
func (w *weightGrad) reads() {
	w.ph, w.pw = (w.OH-1)*w.SH+(w.KH-1)*w.DH+1, (w.OW-1)*w.SW+(w.KW-1)*w.DW+1
	w.copied = w.PT > 0 || w.PL > 0 || w.ph > w.H || w.pw > w.W
	w.pitch = w.W
	if w.copied {
		w.pitch = w.pw
		w.xBytes = align64(w.ph * w.pw * w.C * 4)
	}
}

func (w *weightGrad) prepare() {
	w.reads()
	cg, kg := w.C/w.Groups, w.K/w.Groups
	w.dk = w.K
	if kg%w.set.lanes != 0 { // full vectors are loaded: there must be something behind the last
		w.packed = true
		w.dyBytes = align64((w.OH*w.OW*w.K + w.set.cols()) * 4)
	}
	for g := range w.Groups {
		for _, b := range w.set.columns(kg) {
			b.col += g * kg
			b.group = g
			w.blocks = append(w.blocks, b)
		}
	}
	most := w.set.rows()
	cut1 := func(x, y, n, group int) {
		parts := ceilDiv(n, most)
		for i := range parts {
			lo, hi := cut(n, parts, i), cut(n, parts, i+1)
			w.rows = append(w.rows, gradRows{x + lo, y + lo, hi - lo, group})
		}
	}
	for kh := range w.KH {
		if w.Groups == 1 && (w.DW == 1 || w.KW == 1) {
			cut1(kh*w.DH*w.pitch*w.C, kh*w.KW*cg, w.KW*cg, 0)
			continue
		}
		for kw := range w.KW {
			for g := range w.Groups {
				cut1((kh*w.DH*w.pitch+kw*w.DW)*w.C+g*cg, (kh*w.KW+kw)*cg, cg, g)
			}
		}
	}
	perRow := (w.SH*w.pitch*w.C + w.OW*w.K) * 4
	n := max(1, min(w.OH, gradBandBytes/perRow, maxK/max(w.OW, 1)))
	bands := ceilDiv(w.OH, n)
	for i := range bands {
		lo, hi := cut(w.OH, bands, i), cut(w.OH, bands, i+1)
		b := gradBand{first: lo}
		for r := lo; r < hi; r++ {
			b.off = append(b.off, int64(r*w.SH*w.pitch*w.C*4))
		}
		w.bands = append(w.bands, b)
	}
}

func (w *weightGrad) run(lo, hi int, a *Args) {
	x, dy, y := floats(a.X), floats(a.X2), floats(a.Y)
	size := w.KH * w.KW * w.C / w.Groups * w.K
	xs, ds := w.H*w.W*w.C, w.OH*w.OW*w.K
	for part := lo; part < hi; part++ {
		out := y[part*size:][:size]
		for img := w.at[part]; img < w.at[part+1]; img++ {
			px, pd := base(a.X)+uintptr(img*xs*4), base(a.X2)+uintptr(img*ds*4)
			if w.copied {
				w.pad(floats(a.Scratch), x[img*xs:][:xs])
				px = base(a.Scratch)
			}
			if w.packed {
				d := floats(a.Scratch)[w.xBytes/4:]
				copy(d, dy[img*ds:][:ds])
				pd = base(a.Scratch) + uintptr(w.xBytes)
			}
			w.image(out, px, pd, img == w.at[part])
		}
	}
	runtime.KeepAlive(a)
}

// image adds one image's share to the sums.
func (w *weightGrad) image(y []float32, x, dy uintptr, first bool) {
	t := tile{stride: 4, kstep: uintptr(w.SW * w.C * 4), ldy: uintptr(w.K * 4), ldw: uintptr(w.dk * 4)}
	t.seg = uintptr(w.OW)
	for i := range w.bands {
		b := &w.bands[i]
		t.flags = tileRaw | tileAccumulate
		if first && i == 0 {
			t.flags = tileRaw
		}
		t.off, t.segs = unsafe.Pointer(&b.off[0]), uintptr(len(b.off))
		pd := dy + uintptr(b.first*w.OW*w.dk*4)
		for j := range w.blocks {
			bl := &w.blocks[j]
			t.mask, t.cols = bl.mask, bl.cols
			p := pd + uintptr(bl.col*4)
			t.w = unsafe.Pointer(floatAt(p))
			t.next = p
			for k := range w.rows {
				r := &w.rows[k]
				if r.group != bl.group {
					continue
				}
				half := (r.n + 1) / 2
				t.rows = r.n
				t.a = x + uintptr(r.x*4)
				t.b = t.a + uintptr(half*4)
				t.y = uintptr(unsafe.Pointer(&y[r.y*w.K+bl.col]))
				t.yb = t.y + uintptr(half*w.K*4)
				w.set.run[bl.vecs-1][r.n-1](hide(&t))
			}
		}
	}
}

// pad copies an image with the zeros around it.
func (w *weightGrad) pad(dst, x []float32) {
	n := w.pw * w.C
	for r := range w.ph {
		row := dst[r*n:][:n]
		if ih := r - w.PT; ih >= 0 && ih < w.H {
			copyRow(row, x[ih*w.W*w.C:][:w.W*w.C], -w.PL*w.C)
		} else {
			clear(row)
		}
	}
}
