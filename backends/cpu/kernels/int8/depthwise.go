package int8

import (
	"fmt"
	"math"
	"sync"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// dwArgs is the argument block of a depthwise micro-kernel, which computes n
// steps of one vector of channels,
//
//	y[i] = requantized(init + Σ over taps of x[taps[t] + i·xStep] · w[t])
//
// taps holds groups of one, two or four offsets. Weights, init and mult lie in the
// order that interleaving four taps' bytes leaves channels in. gen/ knows this
// layout; TestLayouts compares.
type dwArgs struct {
	x      unsafe.Pointer
	taps   unsafe.Pointer // int64
	groups int
	n      int
	xStep  uintptr
	w      unsafe.Pointer
	init   unsafe.Pointer
	mult   unsafe.Pointer
	y      unsafe.Pointer
	yStep  uintptr
	mask   uint64 // channels that are written
	lo, hi float32
	zero   int32
	yFlip  uint32

	// The clamp of the result as u8, for kernels that clamp bytes.
	least, most uint32
	// Kernels that compute two pixels a step write the second one yHalf bytes
	// behind the first, the channels of mask2.
	yHalf uintptr
	mask2 uint64
}

// dwKernel is a row of the table of depthwise micro-kernels.
type dwKernel struct {
	kernel
	width int // channels of a vector
	taps  int // taps that it takes; 0: any
	group int // taps multiplied at once: 4 as bytes, 2 or 1 as 16-bit words
	// masked: the kernel writes only the channels of args.mask.
	masked bool
	pairs  bool  // computes two pixels a step
	sums   bool  // writes int32 sums
	taken  int32 // what it takes from x
	run    func(*dwArgs)
}

// dwVector is one vector of channels: of a pixel, or of several pixels side by
// side where their channels come back to the start after some vectors.
type dwVector struct {
	at   int // bytes from the first pixel
	w    []byte
	init []int32
	mult []float32
}

// depthwise is a convolution whose every output channel has its own input
// channel. A band of output rows copies its input, padded, to the scratch memory.
type depthwise struct {
	ConvSpec
	in       input
	fin      finisher
	kern     *dwKernel // nil: sums in plain Go, finished by fin
	lines    *dwLines  // set where they do the work of kern
	vectors  []dwVector
	period   int     // bytes after which the vectors repeat; 0: every pixel has its own
	offsets  []int64 // of the taps from a pixel's first
	bands    []band
	ow       int // columns of the narrowest band
	parts    int // units of a band: parts of its vectors
	imgBytes int
	weights  []int16
	bias     []int32
}

// dwRun is the argument memory of one Run.
type dwRun struct {
	args   dwArgs
	line   dwLineArgs
	finish finishArgs
}

var dwPool = sync.Pool{New: func() any { return new(dwRun) }}

// depthwiseBytes bounds the copied input of a band.
const depthwiseBytes = 96 << 10

func newDepthwise(s ConvSpec, l isa.Level) Kernel {
	d := &depthwise{ConvSpec: s, in: newInput(s, 1, l)}
	d.fin = newFinisher(s.Out, s.Mult, s.bound(), s.Residual, s.Table, l)
	taps := s.KH * s.KW
	d.cutBands()
	if s.WZero == nil {
		d.kern = pickDepthwise(l, d, d.fin.pack == nil || s.Residual != nil)
	}
	d.parts = 1
	name, cost, scratch := "portable", 1.0, s.C*4+sumSlack
	var choices []string
	if d.kern != nil {
		name, cost = d.kern.name, 0.6/float64(d.kern.width)
		if !d.kern.sums {
			d.lines = newLines(d, l)
		}
		if d.lines != nil {
			choices = []string{d.lines.kern.name, d.kern.name}
			if s.Kernel == d.kern.name {
				d.lines = nil
			}
		}
		vectors := 0
		if d.lines != nil {
			name = d.lines.kern.name
			d.lines.pack(d, d.starts())
			vectors = len(d.lines.vectors)
		} else {
			for _, b := range d.bands {
				// Pairs read one pixel more.
				d.imgBytes = max(d.imgBytes, d.in.bytes(b)+align64(s.SW*s.C))
			}
			d.pack()
			vectors = len(d.vectors)
		}
		if len(d.bands) == 1 && (d.period == 0 || d.fin.table == nil) {
			// A few rows of many channels are cut by channels.
			d.parts = max(1, min(vectors, evened(min(8, int(perOutput(cost, taps)*float64(s.N*s.OH*s.OW*s.C)/2000)))))
		}
		// What a row's results, or sums, of one vector take.
		scratch = d.imgBytes + d.kern.width*s.OW
		if d.kern.sums {
			scratch = d.imgBytes + 4*d.kern.width*s.OW + sumSlack
		}
	} else {
		d.weights = make([]int16, taps*s.C)
		for i := range d.weights {
			d.weights[i] = int16(s.weightAt(i))
		}
		d.bias = make([]int32, s.C)
		copy(d.bias, s.Bias)
	}
	d.Weights, d.Bias, d.WZero, d.Mult = nil, nil, nil, nil
	return &op{
		name: fmt.Sprintf("depthwise_%s_%s", s.dims(), name), tiles: len(d.bands) * d.parts, scratch: scratch, run: d.run,
		cost:    perOutput(cost, taps) * float64(s.N*s.OH*s.OW*s.C) / float64(len(d.bands)*d.parts),
		choices: choices,
	}
}

// perOutput is about the time of one result in ns, of which perTap is that of a tap.
func perOutput(perTap float64, taps int) float64 { return perTap*float64(taps) + 0.06 }

// cutBands splits the output by rows, or a single row by columns.
func (d *depthwise) cutBands() {
	cache := ceilDiv(d.in.ph*d.in.pw*d.C, depthwiseBytes)
	share := min(8, 1+d.OH*d.OW*d.C/16384)
	d.ow = d.OW
	if d.OH == 1 && d.KH == 1 {
		parts := max(1, min(max(cache, share), d.OW/16))
		d.ow = d.OW / parts
		for n := range d.N {
			for i := range parts {
				d.bands = append(d.bands, band{n, 0, 1, cut(d.OW, parts, i), cut(d.OW, parts, i+1)})
			}
		}
		return
	}
	// A band copies rows that its neighbour copies, too: few rows are cut by
	// channels rather.
	parts := min(evened(max(1, cache, min(share, d.OH/(2*d.KH)))), d.OH)
	for n := range d.N {
		for i := range parts {
			d.bands = append(d.bands, band{n, cut(d.OH, parts, i), cut(d.OH, parts, i+1), 0, d.OW})
		}
	}
}

// pickDepthwise gives the kernel that does a convolution with the fewest groups
// of taps, the first of equals, or nil where there is none. With sums it is one
// that leaves the sums to a finisher.
func pickDepthwise(l isa.Level, s *depthwise, sums bool) *dwKernel {
	var best *dwKernel
	least := math.Inf(1)
	for i := range dwKernels {
		k := &dwKernels[i]
		if !l.Has(k.level) || k.sums != sums || k.taps != 0 && k.taps != s.KH*s.KW || k.pairs && (s.DW != 1 || s.ow < 4) || best != nil && best.level != k.level {
			continue
		}
		d := depthwise{ConvSpec: s.ConvSpec, ow: s.ow, kern: k}
		d.periods()
		groups := float64(ceilDiv(len(d.positions()), k.group))
		// As measured: two pixels a step, but more weights are loaded; or all
		// weights and offsets in registers.
		switch {
		case k.pairs:
			groups *= 0.75
		case k.taps != 0:
			groups *= 0.65
		}
		if d.period == 0 {
			groups *= float64(ceilDiv(s.C, k.width)*k.width) / float64(s.C)
		}
		if groups < least {
			best, least = k, groups
		}
	}
	return best
}

// position is one input pixel of a step: kh and its column from the first, and
// the taps that it is for each of the step's pixels, −1 for none.
type position struct {
	row, col int
	tap      [2]int
}

// positions lists what a step reads.
func (d *depthwise) positions() []position {
	var ps []position
	if !d.kern.pairs {
		for t := range d.KH * d.KW {
			ps = append(ps, position{t / d.KW * d.DH, t % d.KW * d.DW, [2]int{t, -1}})
		}
		return ps
	}
	for kh := range d.KH {
		for col := range d.KW + d.SW {
			p := position{kh * d.DH, col, [2]int{-1, -1}}
			if col < d.KW {
				p.tap[0] = kh*d.KW + col
			}
			if col >= d.SW {
				p.tap[1] = kh*d.KW + col - d.SW
			}
			ps = append(ps, p)
		}
	}
	return ps
}

// periods decides whether vectors go across pixels, where whole vectors of one
// pixel waste too much.
func (d *depthwise) periods() {
	width := d.kern.width
	if d.SW != 1 || d.C%width == 0 || d.kern.pairs || d.kern.sums {
		return
	}
	period := lcm(d.C, width)
	if used := float64(d.C) / float64(ceilDiv(d.C, width)*width); period <= 2048 && used < 0.9 && d.ow*d.C >= 2*period {
		d.period = period
	}
}

// pack lays out weights, sums to start from and factors for each vector.
func (d *depthwise) pack() {
	width, group := d.kern.width, d.kern.group
	ps := d.positions()
	groups := ceilDiv(len(ps), group)
	d.offsets = make([]int64, group*groups) // those without a tap have the weight 0
	for i, p := range ps {
		d.offsets[i] = int64((p.row*d.in.pw + p.col) * d.C)
	}
	d.periods()
	count := ceilDiv(d.C, width)
	if d.period != 0 {
		count = d.period / width
	}
	pixels := 1
	if d.kern.pairs {
		pixels = 2
	}
	init := d.starts()
	for j := range count {
		v := dwVector{at: j * width, w: aligned[byte](groups * pixels * 4 * width), init: aligned[int32](width), mult: aligned[float32](width)}
		for i := range width {
			c := j*width + i
			if d.period == 0 && c >= d.C {
				break
			}
			c %= d.C
			e := interleaved(i, width)
			v.init[e], v.mult[e] = init[c], d.fin.mult[c]
			for i, p := range ps {
				for pixel, t := range p.tap[:pixels] {
					if t < 0 {
						continue
					}
					at, w := ((i/group*pixels+pixel)*width+e)*4+i%group*(4/group), d.Weights[t*d.C+c]
					if group == 1 {
						at = 2 * (i*width + e)
					}
					v.w[at] = byte(w)
					if group != 4 {
						v.w[at+1] = byte(w >> 7)
					}
				}
			}
		}
		d.vectors = append(d.vectors, v)
	}
}

// starts gives the sum that each channel starts from: its bias, and the zero
// point's part taken away.
func (d *depthwise) starts() []int32 {
	init := make([]int32, d.C)
	copy(init, d.Bias)
	zero := d.XZero + offset(d.XSigned) - d.kern.taken
	for i, w := range d.Weights {
		init[i%d.C] -= zero * int32(w)
	}
	return init
}

// interleaved is the place of channel i among the 32-bit results: lanes of 16
// bytes are interleaved each for itself, so that element 4l+i of vector v
// belongs to channel 16l+4v+i.
func interleaved(i, width int) int {
	l, p := i/16, i%16
	return p/4*(width/4) + 4*l + p%4
}

func lcm(a, b int) int {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}

func (d *depthwise) run(lo, hi int, a *Args) {
	r := dwPool.Get().(*dwRun)
	for u := lo; u < hi; u++ {
		bi, part := u/d.parts, u%d.parts
		b := &d.bands[bi]
		if d.kern == nil {
			for oy := b.oy0; oy < b.oy1; oy++ {
				d.rowSums(r, a, b, oy)
			}
			continue
		}
		if d.lines != nil {
			n := len(d.lines.vectors)
			d.lineRows(&r.line, a, b, cut(n, d.parts, part), cut(n, d.parts, part+1))
			continue
		}
		v0, v1 := cut(len(d.vectors), d.parts, part), cut(len(d.vectors), d.parts, part+1)
		switch {
		case d.parts > 1 && d.period == 0:
			d.in.copyChannels(a, b, d.vectors[v0].at, min(d.C, d.vectors[v1-1].at+d.kern.width))
		case a.Held != bi+1:
			d.in.copy(nil, a, b)
			a.Held = bi + 1
		}
		d.band(r, a, b, v0, v1)
	}
	*r = dwRun{}
	dwPool.Put(r)
}

// band computes vectors [v0, v1) of a band with the vector kernel.
func (d *depthwise) band(r *dwRun, a *Args, b *band, v0, v1 int) {
	g, f := &r.args, &d.fin.args
	*g = dwArgs{taps: base(d.offsets), groups: len(d.offsets) / d.kern.group, lo: f.lo, hi: f.hi, zero: f.zero, yFlip: f.yFlip, least: f.least, most: f.most}
	if d.kern.sums {
		d.sumsBand(r, a, b, v0, v1)
		return
	}
	ow := b.ox1 - b.ox0
	row := ow * d.C
	y := a.Y[((b.n*d.OH+b.oy0)*d.OW+b.ox0)*d.C:][:(b.oy1-b.oy0)*row]
	temp := a.Scratch[d.imgBytes:]
	// All rows of one vector come first: they share lines of the input.
	for i := v0; i < v1; i++ {
		v := &d.vectors[i]
		g.w, g.init, g.mult = base(v.w), base(v.init), base(v.mult)
		for r := range b.oy1 - b.oy0 {
			d.vectorRow(g, v, unsafe.Add(base(a.Scratch), r*d.SH*d.in.pw*d.C), y[r*row:][:row], temp, ow)
		}
	}
	if d.fin.table == nil {
		return
	}
	if d.parts == 1 {
		d.fin.table.rows(base(y), len(y), 1, len(y))
		return
	}
	c0, c1 := d.vectors[v0].at, min(d.C, d.vectors[v1-1].at+d.kern.width)
	d.fin.table.rows(base(y[c0:]), d.C, (b.oy1-b.oy0)*ow, c1-c0)
}

// sumsBand computes vectors [v0, v1) of a band through sums.
func (d *depthwise) sumsBand(r *dwRun, a *Args, b *band, v0, v1 int) {
	g, width, size := &r.args, d.kern.width, d.fin.out.bytes()
	sums := unsafe.Pointer(&a.Scratch[d.imgBytes])
	for i := v0; i < v1; i++ {
		v := &d.vectors[i]
		g.w, g.init = base(v.w), base(v.init)
		g.xStep, g.yStep = uintptr(d.SW*d.C), uintptr(4*width)
		for oy := b.oy0; oy < b.oy1; oy++ {
			g.x = unsafe.Pointer(&a.Scratch[(oy-b.oy0)*d.SH*d.in.pw*d.C+v.at])
			ow := b.ox1 - b.ox0
			g.y, g.n = sums, ow
			d.kern.run(g)
			at := ((b.n*d.OH+oy)*d.OW+b.ox0)*d.C + v.at
			var x2 unsafe.Pointer
			if d.Residual != nil {
				x2 = unsafe.Pointer(&a.X2[at])
			}
			d.fin.apply(&r.finish, sums, uintptr(4*width), ow, min(width, d.C-v.at), v.at, unsafe.Pointer(&a.Y[at*size]), x2, d.C)
		}
	}
}

// vectorRow computes one vector of channels of an output row.
func (d *depthwise) vectorRow(g *dwArgs, v *dwVector, x unsafe.Pointer, y, temp []byte, ow int) {
	width := d.kern.width
	g.x, g.y = unsafe.Add(x, v.at), unsafe.Add(base(y), v.at)
	g.mask = ^uint64(0)
	if d.kern.pairs {
		d.pairRow(g, min(width, d.C-v.at), ow)
		return
	}
	if d.period == 0 {
		g.xStep, g.yStep, g.n = uintptr(d.SW*d.C), uintptr(d.C), ow
		if rest := d.C - v.at; rest < width {
			d.tail(g, temp, rest, y[v.at:])
			return
		}
		d.kern.run(g)
		return
	}
	g.xStep, g.yStep = uintptr(d.period), uintptr(d.period)
	at := v.at
	g.n = (len(y)-at-width)/d.period + 1 // whole vectors; at least one, since periods are short
	at += g.n * d.period
	d.kern.run(g)
	if at < len(y) {
		g.x, g.y, g.n = unsafe.Add(x, at), unsafe.Add(base(y), at), 1
		d.tail(g, temp, len(y)-at, y[at:])
	}
}

// pairRow computes one vector of cols channels of an output row, two pixels a
// step; where the last pixel is alone, the second one is not written.
func (d *depthwise) pairRow(g *dwArgs, cols, ow int) {
	g.xStep, g.yStep, g.yHalf = uintptr(2*d.SW*d.C), uintptr(2*d.C), uintptr(d.C)
	g.mask = ^uint64(0) >> (64 - cols)
	g.mask2 = g.mask
	x, y, pairs := g.x, g.y, ow/2
	g.n = pairs
	d.kern.run(g)
	if ow%2 != 0 {
		g.x, g.y, g.n, g.mask2 = unsafe.Add(x, pairs*2*d.SW*d.C), unsafe.Add(y, pairs*2*d.C), 1, 0
		d.kern.run(g)
	}
}

// tail computes steps of which only cols channels are wanted.
func (d *depthwise) tail(g *dwArgs, temp []byte, cols int, y []byte) {
	if d.kern.masked {
		g.mask = 1<<cols - 1
		d.kern.run(g)
		return
	}
	n, step := g.n, int(g.yStep)
	g.y, g.yStep = base(temp), uintptr(d.kern.width)
	d.kern.run(g)
	for i := range n {
		copy(y[i*step:][:cols], temp[i*d.kern.width:])
	}
}

// rowSums computes an output row in plain Go.
func (d *depthwise) rowSums(r *dwRun, a *Args, b *band, oy int) {
	n := b.n
	sums := words[int32](a.Scratch)[:d.C]
	flip, zero := xored(d.XSigned), d.XZero+offset(d.XSigned)
	size := d.fin.out.bytes()
	y0, y1 := span(oy, d.SH, d.PT, d.DH, d.KH, d.H)
	for ox := b.ox0; ox < b.ox1; ox++ {
		copy(sums, d.bias)
		x0, x1 := span(ox, d.SW, d.PL, d.DW, d.KW, d.W)
		for kh := y0; kh < y1; kh++ {
			for kw := x0; kw < x1; kw++ {
				iy, ix := oy*d.SH-d.PT+kh*d.DH, ox*d.SW-d.PL+kw*d.DW
				x := a.X[((n*d.H+iy)*d.W+ix)*d.C:][:len(sums)]
				w := d.weights[(kh*d.KW+kw)*d.C:][:len(sums)]
				for c, v := range x {
					sums[c] += (int32(v^flip) - zero) * int32(w[c])
				}
			}
		}
		at := ((n*d.OH+oy)*d.OW + ox) * d.C
		var x2 unsafe.Pointer
		if d.Residual != nil {
			x2 = unsafe.Add(base(a.X2), at)
		}
		d.fin.apply(&r.finish, base(sums), 0, 1, d.C, 0, unsafe.Add(base(a.Y), at*size), x2, d.C)
	}
}
