package int8

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// A transposed convolution by phases: the output pixels oh = p mod SH,
// ow = q mod SW are a convolution of stride 1 of their own, over the taps that
// reach them. Phases with the same window are one convolution with the channels
// of all of them. ConvTranspose computes the phases, one after the other in Y,
// and Interleave brings their pixels to their places; where there is one phase
// nothing is left to bring.

// phaseAxis is what phases of one axis share: the window of a convolution of
// stride 1, whose tap j is tap taps[j] of the transposed one, −1 for none.
type phaseAxis struct {
	taps     []int
	pad, dil int
}

// phaseOf gives the window of phase p of an axis: output p + i·stride takes tap
// k of input i + (p+pad−k·dil)/stride where that is whole.
func phaseOf(p, taps, stride, dil, pad int) phaseAxis {
	a := phaseAxis{dil: dil / gcd(dil, stride)}
	first := 0
	for k := taps - 1; k >= 0; k-- {
		if d := p + pad - k*dil; d%stride == 0 {
			if len(a.taps) == 0 {
				first = d / stride
			}
			a.taps = append(a.taps, k)
		}
	}
	if len(a.taps) == 0 {
		return phaseAxis{taps: []int{-1}, dil: 1}
	}
	for ; first > 0; first -= a.dil { // the window begins behind its pixel
		a.taps = append([]int{-1}, a.taps...)
	}
	a.pad = -first
	return a
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// same says that two phases may be one convolution.
func (a phaseAxis) same(b phaseAxis) bool {
	return a.pad == b.pad && a.dil == b.dil && len(a.taps) == len(b.taps)
}

// phaseConv is one convolution and the phases that it computes.
type phaseConv struct {
	h, w   phaseAxis // of the first phase
	phases [][2]int
	k      Kernel
	tiles  int // of those before it, too
	y, end int // bytes of Y
}

// phasesOf lists the convolutions of a transposed one.
func (s *ConvSpec) phasesOf() []phaseConv {
	var cs []phaseConv
	for p := range min(s.SH, s.OH) {
	next:
		for q := range min(s.SW, s.OW) {
			h, w := phaseOf(p, s.KH, s.SH, s.DH, s.PT), phaseOf(q, s.KW, s.SW, s.DW, s.PL)
			for i := range cs {
				if c := &cs[i]; s.Groups == 1 && c.h.same(h) && c.w.same(w) {
					c.phases = append(c.phases, [2]int{p, q})
					continue next
				}
			}
			cs = append(cs, phaseConv{h: h, w: w, phases: [][2]int{{p, q}}})
		}
	}
	return cs
}

// PhasePixels is the extent of a phase: all have that of the longest.
func (s *ConvSpec) PhasePixels() (h, w int) { return ceilDiv(s.OH, s.SH), ceilDiv(s.OW, s.SW) }

// ConvTranspose prepares the phases of a transposed convolution, whose Weights
// are [KH,KW,C,K/Groups], where output (oh, ow) takes tap (kh, kw) of input
// (ih, iw) with oh = ih·SH − PT + kh·DH and ow = iw·SW − PL + kw·DW. Y has the
// phases' pixels as Interleaving says, PhasePixels each. There is no Residual.
func ConvTranspose(s ConvSpec, l isa.Level) (Kernel, error) {
	const name = "q_convolution_transpose"
	check := s
	check.KH, check.Weights = 1, nil // their number is checked here
	if err := positive(name, s.KH); err != nil {
		return nil, err
	}
	if s.Groups < 1 || len(s.Weights) != s.KH*s.KW*s.C*(s.K/s.Groups) || s.Residual != nil {
		return nil, specError(name, fmt.Sprintf("%d weights", len(s.Weights)), "%dx%dx%dx%d, and no residual", s.KH, s.KW, s.C, s.K/max(1, s.Groups))
	}
	check.Weights = make([]int8, check.KW*s.C/s.Groups*s.K)
	if err := check.check(name); err != nil {
		return nil, err
	}
	if s.Mult == nil {
		s.Mult = make([]float32, s.K)
	}
	cs := s.phasesOf()
	t := &op{name: fmt.Sprintf("conv_transpose_%s", s.dims())}
	h, w := s.PhasePixels()
	total := 0.0
	at := 0
	for i := range cs {
		c := &cs[i]
		k, err := newConv(s.phase(c), l)
		if err != nil {
			return nil, err
		}
		c.k = k
		c.y = at
		at += s.N * h * w * len(c.phases) * s.K * s.Out.DType.bytes()
		c.end = at
		t.tiles += k.Tiles()
		c.tiles = t.tiles
		t.scratch = max(t.scratch, k.ScratchBytes())
		total += k.TileCost() * float64(k.Tiles())
	}
	t.cost = total / float64(t.tiles)
	t.run = func(lo, hi int, a *Args) {
		part := argsPool.Get().(*Args)
		for i := range cs {
			c := &cs[i]
			first := c.tiles - c.k.Tiles()
			if from, to := max(lo, first), min(hi, c.tiles); from < to {
				*part = *a
				part.Y = a.Y[c.y:c.end]
				c.k.Run(from-first, to-first, part)
			}
		}
		*part = Args{}
		argsPool.Put(part)
	}
	return t, nil
}

// argsPool holds the arguments that kernels pass on: they would be allocated.
var argsPool = sync.Pool{New: func() any { return new(Args) }}

// phase is the convolution of stride 1 of some phases.
func (s *ConvSpec) phase(c *phaseConv) ConvSpec {
	d := *s
	d.OH, d.OW = s.PhasePixels()
	d.KH, d.KW, d.SH, d.SW = len(c.h.taps), len(c.w.taps), 1, 1
	d.DH, d.DW, d.PT, d.PL = c.h.dil, c.w.dil, c.h.pad, c.w.pad
	n := len(c.phases)
	d.K = n * s.K
	d.Bias, d.WZero, d.Mult = times(s.Bias, n), times(s.WZero, n), times(s.Mult, n)
	cg, kg := s.C/s.Groups, s.K/s.Groups
	d.Weights = make([]int8, 0, d.KH*d.KW*cg*d.K)
	none := make([]int8, s.K)
	for i, z := range s.WZero {
		none[i] = int8(z)
	}
	for i := range c.h.taps {
		for j := range c.w.taps {
			for ci := range cg {
				for _, p := range c.phases {
					kh := phaseOf(p[0], s.KH, s.SH, s.DH, s.PT).taps[i]
					kw := phaseOf(p[1], s.KW, s.SW, s.DW, s.PL).taps[j]
					if kh < 0 || kw < 0 {
						d.Weights = append(d.Weights, none...)
						continue
					}
					for g := range s.Groups {
						at := (((kh*s.KW+kw)*s.Groups+g)*cg + ci) * kg
						d.Weights = append(d.Weights, s.Weights[at:at+kg]...)
					}
				}
			}
		}
	}
	return d
}

func times[T any](s []T, n int) []T {
	if s == nil || n == 1 {
		return s
	}
	var out []T
	for range n {
		out = append(out, s...)
	}
	return out
}

// InterleaveSpec brings pixels of phases together: pixel (oh, ow) of Y, of Bytes
// bytes, is that of phase p = oh mod SH, q = ow mod SW at row oh/SH and column
// ow/SW. In X the pixels of phase (p, q) begin at byte At[p·SW+q], rows of
// ceil(OW/SW), N images of ceil(OH/SH) rows, Step[p·SW+q] bytes apart.
type InterleaveSpec struct {
	N, OH, OW, SH, SW, Bytes int
	At, Step                 []int
}

// Interleaving is what follows ConvTranspose; false where its Y is in order.
func (s *ConvSpec) Interleaving() (InterleaveSpec, bool) {
	h, w := s.PhasePixels()
	b := s.K * s.Out.DType.bytes()
	out := InterleaveSpec{N: s.N, OH: s.OH, OW: s.OW, SH: s.SH, SW: s.SW, Bytes: b, At: make([]int, s.SH*s.SW), Step: make([]int, s.SH*s.SW)}
	at := 0
	for _, c := range s.phasesOf() {
		for i, p := range c.phases {
			out.At[p[0]*s.SW+p[1]], out.Step[p[0]*s.SW+p[1]] = at+i*b, len(c.phases)*b
		}
		at += s.N * h * w * len(c.phases) * b
	}
	return out, s.SH*s.SW > 1
}

// Interleave prepares it.
func Interleave(s InterleaveSpec, _ isa.Level) (Kernel, error) {
	const name = "interleave"
	if err := positive(name, s.N, s.OH, s.OW, s.SH, s.SW, s.Bytes); err != nil {
		return nil, err
	}
	if n := s.SH * s.SW; len(s.At) != n || len(s.Step) != n {
		return nil, specError(name, fmt.Sprintf("%d and %d places", len(s.At), len(s.Step)), "%d", n)
	}
	const bytesPerUnit = 32 << 10
	rows := s.N * s.OH
	per := max(1, bytesPerUnit/(s.OW*s.Bytes))
	return &op{
		name: name, tiles: ceilDiv(rows, per), cost: float64(per*s.OW) * (2 + float64(s.Bytes)/16),
		run: func(lo, hi int, a *Args) {
			for r := lo * per; r < min(hi*per, rows); r++ {
				s.row(r, a)
			}
		},
	}, nil
}

// row writes row r of N·OH.
func (s *InterleaveSpec) row(r int, a *Args) {
	h, w := ceilDiv(s.OH, s.SH), ceilDiv(s.OW, s.SW)
	n, oh := r/s.OH, r%s.OH
	p := oh % s.SH
	y := a.Y[r*s.OW*s.Bytes:][:s.OW*s.Bytes]
	from := (n*h + oh/s.SH) * w
	for q := 0; q < min(s.SW, s.OW); {
		at, step := s.At[p*s.SW+q], s.Step[p*s.SW+q]
		run := 1 // phases whose pixels follow each other in X as in Y
		for q+run < min(s.SW, s.OW) && s.At[p*s.SW+q+run] == at+run*s.Bytes && s.Step[p*s.SW+q+run] == step {
			run++
		}
		copyPixels(y[q*s.Bytes:], a.X[at+from*step:], w, run*s.Bytes, s.SW*s.Bytes, step)
		q += run
	}
}

// copyPixels copies up to n pixels of size bytes from every step of src to
// every pitch of dst, as many as fit.
func copyPixels(dst, src []byte, n, size, pitch, step int) {
	whole := min(n, (len(dst)-size)/pitch+1) // below n: the last is cut in an odd row
	if len(dst) < size {
		whole = 0
	}
	if whole > 0 {
		_, _ = dst[(whole-1)*pitch+size-1], src[(whole-1)*step+size-1]
		d, s := base(dst), base(src)
		switch {
		case size%8 == 0:
			movePixels[uint64](d, s, whole, size, pitch, step)
		case size%4 == 0:
			movePixels[uint32](d, s, whole, size, pitch, step)
		case size%2 == 0:
			movePixels[uint16](d, s, whole, size, pitch, step)
		default:
			movePixels[uint8](d, s, whole, size, pitch, step)
		}
	}
	if whole < n && whole*pitch < len(dst) {
		copy(dst[whole*pitch:], src[whole*step:][:size])
	}
}

// movePixels copies n pixels word by word: they are too short for copy.
func movePixels[T uint8 | uint16 | uint32 | uint64](d, s unsafe.Pointer, n, size, pitch, step int) {
	word := int(unsafe.Sizeof(T(0)))
	if size == word {
		for i := range n {
			*(*T)(unsafe.Add(d, i*pitch)) = *(*T)(unsafe.Add(s, i*step))
		}
		return
	}
	for i := range n {
		from, to := unsafe.Add(s, i*step), unsafe.Add(d, i*pitch)
		for j := 0; j < size; j += word {
			*(*T)(unsafe.Add(to, j)) = *(*T)(unsafe.Add(from, j))
		}
	}
}
