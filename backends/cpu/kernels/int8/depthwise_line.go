package int8

import (
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// dwLineArgs is the argument block of a kernel that computes one vector of
// channels of a line of 3×3 windows, column by column. gen/ knows this layout;
// TestLayouts compares.
type dwLineArgs struct {
	rows  [3]unsafe.Pointer // the input rows, at the vector's first channel
	xStep uintptr
	n     int            // steps; with stride 1 columns after the first
	w     unsafe.Pointer // for each column the weights of its three rows
	init  unsafe.Pointer
	first unsafe.Pointer // what the first window starts from: init, and the column left of the image where it has one
	last  unsafe.Pointer // the column right of the image, in the last window
	mult  unsafe.Pointer
	y     unsafe.Pointer
	yStep uintptr
	mask  uint64 // channels that are written

	zero        int32
	yFlip       uint32
	least, most uint32
	// With stride 2: a column before the steps begins the first window, one after
	// them is the last that the last window has in the image.
	lead, tail uint32
}

// dwLineKernel is a row of the table of kernels of lines.
type dwLineKernel struct {
	kernel
	width  int
	stride int
	run    func(*dwLineArgs)
}

// dwLines is a depthwise convolution of 3×3 windows that reads the tensor
// itself: what lies above and below it is a row of zero points, what lies left
// and right is in the sums that the first and the last window start from.
type dwLines struct {
	kern       *dwLineKernel
	vectors    []dwLine
	pad        []byte
	n          int
	lead, tail uint32
}

// dwLine is one vector of channels.
type dwLine struct {
	at                int // first channel
	mask              uint64
	w                 []byte
	init, first, last []int32
	mult              []float32
}

// newLines gives the lines of d, nil where no kernel computes them.
func newLines(d *depthwise, level isa.Level) *dwLines {
	if d.KH != 3 || d.KW != 3 || d.DH != 1 || d.DW != 1 || d.XSigned || d.SH != d.SW {
		return nil
	}
	right := (d.OW-1)*d.SW + 3 - d.PL - d.W // columns right of the image
	for i := range dwLineKernels {
		k := &dwLineKernels[i]
		if !level.Has(k.level) || k.stride != d.SW || d.C < k.width || d.PL > 1 || right > 1 {
			continue
		}
		l := &dwLines{kern: k}
		switch {
		case d.SW == 1 && d.PL == 1 && right == 1:
			l.n = d.W - 1
		case d.SW == 2:
			cols := d.W
			if d.PL == 0 {
				l.lead = 1
				cols--
			}
			l.n = cols / 2
			l.tail = uint32(cols % 2)
			if l.tail == 1 && right < 1 { // the last column begins a window that is not there
				l.tail = 0
			}
			if l.n+int(l.tail) != d.OW {
				return nil
			}
		default:
			return nil
		}
		return l
	}
	return nil
}

// pack lays out weights and sums; init are the sums that all windows start from.
func (l *dwLines) pack(d *depthwise, init []int32) {
	width := l.kern.width
	l.pad = aligned[byte](d.W * d.C)
	fill(l.pad, uint8(d.XZero))
	for j := range ceilDiv(d.C, width) {
		v := dwLine{
			at: min(j*width, d.C-width), w: aligned[byte](3 * 4 * width),
			init: aligned[int32](width), first: aligned[int32](width), last: aligned[int32](width), mult: aligned[float32](width),
		}
		v.mask = ^uint64(0) << (j*width - v.at)
		for i := range width {
			c, e := v.at+i, interleaved(i, width)
			v.init[e], v.mult[e] = init[c], d.fin.mult[c]
			v.first[e] = init[c]
			for kh := range 3 {
				w := func(kw int) int8 { return d.Weights[(kh*3+kw)*d.C+c] }
				if d.PL == 1 {
					v.first[e] += d.XZero * int32(w(0))
				}
				v.last[e] += d.XZero * int32(w(2))
				for kw := range 3 {
					v.w[(kw*width+e)*4+kh] = byte(w(kw))
				}
			}
		}
		l.vectors = append(l.vectors, v)
	}
}

// lineRows computes vectors [v0, v1) of a band's rows.
func (d *depthwise) lineRows(g *dwLineArgs, a *Args, b *band, v0, v1 int) {
	l, f := d.lines, &d.fin.args
	*g = dwLineArgs{
		xStep: uintptr(d.C), yStep: uintptr(d.C), n: l.n, zero: f.zero, yFlip: f.yFlip, least: f.least, most: f.most, lead: l.lead, tail: l.tail,
	}
	for oy := b.oy0; oy < b.oy1; oy++ {
		var rows [3][]byte
		for kh := range rows {
			rows[kh] = l.pad
			if iy := oy*d.SH - d.PT + kh; iy >= 0 && iy < d.H {
				rows[kh] = a.X[(b.n*d.H+iy)*d.W*d.C:][:d.W*d.C]
			}
		}
		y := a.Y[(b.n*d.OH+oy)*d.OW*d.C:][:d.OW*d.C]
		for i := v0; i < v1; i++ {
			v := &l.vectors[i]
			for kh := range rows {
				g.rows[kh] = unsafe.Pointer(&rows[kh][v.at])
			}
			g.w, g.init, g.first, g.last, g.mult = base(v.w), base(v.init), base(v.first), base(v.last), base(v.mult)
			g.y, g.mask = unsafe.Pointer(&y[v.at]), v.mask
			l.kern.run(g)
		}
	}
	if d.fin.table != nil {
		c0, c1 := v0*l.kern.width, min(d.C, v1*l.kern.width)
		n := (b.oy1 - b.oy0) * d.OW
		d.fin.table.rows(unsafe.Pointer(&a.Y[(b.n*d.OH+b.oy0)*d.OW*d.C+c0]), d.C, n, c1-c0)
	}
}
