package f32

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// winogradTile is the argument block of both transforms, of n tiles beside each
// other with c channels. The first reads side×side pixels of a tile and writes
// its positions; the second reads sums at the positions, adds bias and residual,
// clamps and writes m×m pixels; it advances res. gen/ knows this layout;
// TestTileLayout compares.
type winogradTile struct {
	x, y   uintptr
	row    uintptr // bytes from line to line of the pixels
	step   uintptr // bytes from pixel to pixel; the next tile is m on
	tile   uintptr // bytes from tile to tile at a position
	pos    uintptr // bytes from position to position
	tmp    uintptr // memory for side×side vectors
	n, c   int
	bias   uintptr
	res    uintptr // 0: no residual; lies as y does
	lo, hi float32
}

// winogradFuncs are the transforms of one width of tiles.
type winogradFuncs struct{ input, output func(*winogradTile) }

// winogradFor gives the transforms that a level uses.
func winogradFor(m int, l isa.Level) winogradFuncs {
	if f := vectorWinograd(m, l); f.input != nil {
		return f
	}
	return winogradFuncs{
		func(t *winogradTile) { winogradInputPortable(m, t) },
		func(t *winogradTile) { winogradOutputPortable(m, t) },
	}
}

func winogradInputPortable(m int, t *winogradTile) {
	var x, y [36]float32
	side := fmath.WinogradSide(m)
	for i := range t.n {
		for c := range t.c {
			at := t.x + uintptr(i*m)*t.step + uintptr(4*c)
			for p := range side * side {
				x[p] = *floatAt(at + uintptr(p/side)*t.row + uintptr(p%side)*t.step)
			}
			fmath.WinogradInput(m, y[:], x[:])
			for p := range side * side {
				*floatAt(t.y + uintptr(i)*t.tile + uintptr(p)*t.pos + uintptr(4*c)) = y[p]
			}
		}
	}
}

func winogradOutputPortable(m int, t *winogradTile) {
	var x [36]float32
	var y [16]float32
	side := fmath.WinogradSide(m)
	for i := range t.n {
		for c := range t.c {
			for p := range side * side {
				x[p] = *floatAt(t.x + uintptr(i)*t.tile + uintptr(p)*t.pos + uintptr(4*c))
			}
			fmath.WinogradOutput(m, y[:], x[:])
			bias := *floatAt(t.bias + uintptr(4*c))
			for p, v := range y[:m*m] {
				at := uintptr(p/m)*t.row + uintptr(p%m+i*m)*t.step + uintptr(4*c)
				v += bias
				if t.res != 0 {
					v += *floatAt(t.res + at)
				}
				*floatAt(t.y + at) = fmath.Clamp(v, t.lo, t.hi)
			}
		}
	}
	if t.res != 0 {
		t.res += uintptr(t.n*m) * t.step
	}
}

// winograd is a 3×3 convolution by F(m×m, 3×3): a band of tiles is transformed,
// each position of its tiles is a matrix product with the weights' transforms, and
// the sums are brought back, a block of columns at a time. What is in between
// stays in the second level cache.
type winograd struct {
	ConvSpec
	m, side, places int
	set             *gemmSet
	funcs           winogradFuncs
	ep              epilogue
	tilesX          int
	pitch           int     // floats from tile to tile of transformed input
	bands           []int   // tiles [bands[i], bands[i+1]) of an image are band i
	blocks          []block // weights [position][channel][column]
	chunks          []chunk
	parts           int
	// Scratch, in bytes: transformed tiles of a band, sums of a block, then a
	// tile's pixels before or after and its residual, then what the kernels need.
	sumsAt, edgeAt, resAt, tmpAt, scratch int
}

// winogradCall bounds the channels of all tiles of one call of a transform, and so
// its duration.
const winogradCall = 16384

// winogradBand is how many bytes of transformed tiles a band has at most. Each
// band reads all weights: fewer bands are worth more than tiles that stay near.
const winogradBand = 1 << 20

// newWinograd prepares a convolution of Winograd's geometry.
func newWinograd(s ConvSpec, l isa.Level) (Kernel, error) {
	if s.KH != fmath.WinogradTap || s.KW != fmath.WinogradTap || s.SH != 1 || s.SW != 1 || s.DH != 1 || s.DW != 1 || s.Groups != 1 || s.Winograd != 2 && s.Winograd != 4 {
		return nil, specError("convolution", fmt.Sprintf("winograd %d of %s", s.Winograd, s.dims()), "tiles of 2 or 4, kernels 3x3, stride 1, dilation 1, one group")
	}
	ep, err := s.Act.epilogue(l)
	if err != nil {
		return nil, err
	}
	side := fmath.WinogradSide(s.Winograd)
	w := &winograd{
		ConvSpec: s, m: s.Winograd, side: side, places: side * side, set: gemmFor(l), funcs: winogradFor(s.Winograd, l), ep: ep,
		tilesX: ceilDiv(s.OW, s.Winograd), pitch: s.C,
	}
	if s.C*4%aliasBytes == 0 {
		w.pitch += 16
	}
	w.cutBands()
	w.pack()
	w.chunks = chunks([]int64{0}, s.C, 4)
	w.parts = min(len(w.blocks), ceilDiv(w.units(), s.N*(len(w.bands)-1)))
	w.place()
	return &op{
		name: fmt.Sprintf("conv_f32_%s_winograd%d_%s%s", s.dims(), w.m, w.set.name, ep.suffix()),
		run:  w.run, tiles: s.N * (len(w.bands) - 1) * w.parts, scratch: w.scratch, blocks: w.blocks,
	}, nil
}

// units is how many there should be, if the work is enough for them.
func (w *winograd) units() int {
	return max(1, min(wantUnits, w.N*ceilDiv(w.OH, w.m)*w.tilesX*w.places*w.C*w.K>>18))
}

// cutBands makes bands that stay near, and more where the columns alone would not
// make the units: whole rows of tiles, unless a row is too much.
func (w *winograd) cutBands() {
	rows := ceilDiv(w.OH, w.m)
	n := ceilDiv(rows*w.tilesX*w.places*w.C*4, winogradBand)
	n = max(n, min(rows, ceilDiv(min(wantUnits/2, w.units()), w.N*ceilDiv(w.K, w.set.cols()))))
	per := w.tilesX
	if n > rows {
		per = 1
	}
	all := rows * w.tilesX / per
	n = min(n, all)
	for i := range n + 1 {
		w.bands = append(w.bands, cut(all, n, i)*per)
	}
}

// tiles is the most tiles of a band.
func (w *winograd) tiles() int {
	most := 0
	for i := range w.bands[1:] {
		most = max(most, w.bands[i+1]-w.bands[i])
	}
	return most
}

// pack chooses the width of the blocks and packs the weights' transforms.
func (w *winograd) pack() {
	least, vecs := math.Inf(1), 0
	for v := w.set.wide; v <= len(w.set.run); v++ {
		strips := ceilDiv(w.tiles(), len(w.set.run[v-1]))
		sum := 0.0
		for _, b := range w.set.columnsOf(w.K, v) {
			for i := range strips {
				sum += w.set.stepCost(cut(w.tiles(), strips, i+1)-cut(w.tiles(), strips, i), b.vecs, w.C)
			}
		}
		if sum < least {
			least, vecs = sum, v
		}
	}
	w.blocks = w.set.columnsOf(w.K, vecs)
	u := fmath.WinogradKernels(w.m, w.Weights, w.C*w.K)
	packBlocks(w.blocks, w.set.lanes, w.places*w.C, func(b *block, k int) []float32 { return u[k*w.K+b.col:] }, w.Bias)
	w.Weights, w.Bias = nil, nil
}

// place lays out the scratch memory.
func (w *winograd) place() {
	cols := 0
	for _, b := range w.blocks {
		cols = max(cols, b.vecs*w.set.lanes)
	}
	w.sumsAt = w.places * w.apart(w.tiles(), w.pitch)
	w.edgeAt = w.sumsAt + w.places*w.apart(w.tiles(), cols)
	w.resAt = w.edgeAt + align64(max(w.places*w.C, w.m*w.m*cols)*4)
	w.tmpAt = w.resAt + align64(w.m*w.m*cols*4)
	w.scratch = w.tmpAt + w.places*64
}

func (w *winograd) run(lo, hi int, a *Args) {
	bands := len(w.bands) - 1
	for u := lo; u < hi; u++ {
		img, band, part := u/w.parts/bands, u/w.parts%bands, u%w.parts
		if mine := u/w.parts + 1; a.Held != mine {
			w.transform(a, img, band)
			a.Held = mine
		}
		for i := cut(len(w.blocks), w.parts, part); i < cut(len(w.blocks), w.parts, part+1); i++ {
			w.products(a, band, &w.blocks[i])
			w.finish(a, img, band, &w.blocks[i])
		}
	}
	runtime.KeepAlive(a)
}

// apart is the bytes from one position to the next, of tiles of n floats each: an
// odd number of cache lines, so that the positions of a tile lie in different sets.
func (w *winograd) apart(tiles, n int) int { return (ceilDiv(tiles*n*4, 64) | 1) * 64 }

// transform writes a band's tiles at their positions.
func (w *winograd) transform(a *Args, img, band int) {
	x := floats(a.X)[img*w.H*w.W*w.C:][:w.H*w.W*w.C]
	first, last := w.bands[band], w.bands[band+1]
	scratch := base(a.Scratch)
	t := winogradTile{
		step: uintptr(w.C * 4), tile: uintptr(w.pitch * 4), pos: uintptr(w.apart(last-first, w.pitch)),
		tmp: scratch + uintptr(w.tmpAt), c: w.C,
	}
	// Tiles [in0, in1) of a row have all their columns within the image.
	in0 := min(w.tilesX, ceilDiv(w.PL, w.m))
	in1 := in0
	for in1 < w.tilesX && in1*w.m-w.PL+w.side <= w.W {
		in1++
	}
	most := max(1, winogradCall/w.C)
	window := floats(a.Scratch[w.edgeAt:])[:w.places*w.C]
	for i := first; i < last; i += t.n {
		ty, tx := i/w.tilesX, i%w.tilesX
		iy, ix := ty*w.m-w.PT, tx*w.m-w.PL
		t.y, t.n = scratch+uintptr(i-first)*t.tile, 1
		if iy >= 0 && iy+w.side <= w.H && tx >= in0 && tx < in1 {
			t.n = min(in1-tx, last-i, most)
			t.x, t.row = uintptr(unsafe.Pointer(&x[(iy*w.W+ix)*w.C])), uintptr(w.W*w.C*4)
		} else {
			w.copyWindow(window, x, iy, ix)
			t.x, t.row = scratch+uintptr(w.edgeAt), uintptr(w.side*w.C*4)
		}
		w.funcs.input(hide(&t))
	}
}

// copyWindow copies the pixels of a tile; outside the image they are zero.
func (w *winograd) copyWindow(dst, x []float32, iy, ix int) {
	for i := range w.side {
		row := dst[i*w.side*w.C:][:w.side*w.C]
		if iy+i < 0 || iy+i >= w.H {
			clear(row)
			continue
		}
		copyRow(row, x[(iy+i)*w.W*w.C:][:w.W*w.C], ix*w.C)
	}
}

// products multiplies a band's transformed tiles by a block, position after
// position.
func (w *winograd) products(a *Args, band int, b *block) {
	tiles := w.bands[band+1] - w.bands[band]
	strips := ceilDiv(tiles, len(w.set.run[b.vecs-1]))
	cols := b.vecs * w.set.lanes
	t := tile{
		stride: uintptr(w.pitch * 4), kstep: 4, ldw: uintptr(cols * 4), ldy: uintptr(cols * 4),
		bias: unsafe.Pointer(&b.bias[0]), mask: b.mask, cols: b.cols, lo: w.ep.lo, hi: w.ep.hi,
	}
	fetch := max(1, w.set.fetch)
	x, y := base(a.Scratch), base(a.Scratch)+uintptr(w.sumsAt)
	for p := range w.places {
		for i := range w.chunks {
			ch := &w.chunks[i]
			t.w, t.flags = unsafe.Pointer(&b.w[(p*w.C+ch.k)*cols]), ch.flags|tileRaw
			t.off, t.segs, t.seg = unsafe.Pointer(&ch.off[0]), 1, uintptr(ch.seg)
			// All strips together fetch the weights that follow.
			t.nextStep = min(64, uintptr(ceilDiv(int(t.ldw)*fetch, strips)))
			next := uintptr(t.w) + uintptr(ch.n)*t.ldw
			for s := range strips {
				r0, r1 := cut(tiles, strips, s), cut(tiles, strips, s+1)
				t.rows, t.next = r1-r0, next
				t.a, t.y = x+uintptr(r0)*t.stride, y+uintptr(r0)*t.ldy
				half := uintptr((t.rows + 1) / 2)
				t.b, t.yb = t.a+half*t.stride, t.y+half*t.ldy
				w.set.run[b.vecs-1][t.rows-1](hide(&t))
				next += uintptr(ch.n/fetch) * t.nextStep
			}
		}
		x += uintptr(w.apart(tiles, w.pitch))
		y += uintptr(w.apart(tiles, cols))
	}
}

// finish brings a block's sums back to pixels.
func (w *winograd) finish(a *Args, img, band int, b *block) {
	first, last := w.bands[band], w.bands[band+1]
	cols := b.vecs * w.set.lanes
	scratch, pixel := base(a.Scratch), uintptr(w.K*4)
	t := winogradTile{
		tile: uintptr(cols * 4), pos: uintptr(w.apart(last-first, cols)), tmp: scratch + uintptr(w.tmpAt),
		c: b.cols, bias: uintptr(unsafe.Pointer(&b.bias[0])), lo: w.ep.lo, hi: w.ep.hi,
	}
	y := floats(a.Y)[img*w.OH*w.OW*w.K:][:w.OH*w.OW*w.K]
	var res []float32
	if w.Residual {
		res = floats(a.X2)[img*w.OH*w.OW*w.K:][:w.OH*w.OW*w.K]
	}
	whole, most := w.OW/w.m, max(1, winogradCall/b.cols)
	for i := first; i < last; i += t.n {
		ty, tx := i/w.tilesX, i%w.tilesX
		oy, ox := ty*w.m, tx*w.m
		t.x = scratch + uintptr(w.sumsAt) + uintptr(i-first)*t.tile
		if oy+w.m > w.OH || tx >= whole {
			w.edge(&t, a, b, y, res, oy, ox)
		} else {
			at := (oy*w.OW+ox)*w.K + b.col
			t.y, t.row, t.step, t.n = uintptr(unsafe.Pointer(&y[at])), uintptr(w.OW)*pixel, pixel, min(whole-tx, last-i, most)
			if t.res = 0; w.Residual {
				t.res = uintptr(unsafe.Pointer(&res[at]))
			}
			w.funcs.output(hide(&t))
		}
		if w.ep.then != nil {
			for r := oy; r < min(oy+w.m, w.OH); r++ {
				for c := ox; c < min(ox+t.n*w.m, w.OW); c++ {
					w.ep.then(y[(r*w.OW+c)*w.K+b.col:][:b.cols])
				}
			}
		}
	}
}

// edge finishes a tile that reaches beyond the image.
func (w *winograd) edge(t *winogradTile, a *Args, b *block, y, res []float32, oy, ox int) {
	rows, n := min(w.m, w.OH-oy), min(w.m, w.OW-ox)
	out, in := floats(a.Scratch[w.edgeAt:])[:w.m*w.m*b.cols], floats(a.Scratch[w.resAt:])[:w.m*w.m*b.cols]
	t.row, t.step, t.n, t.res = uintptr(w.m*b.cols*4), uintptr(b.cols*4), 1, 0
	t.y = base(a.Scratch) + uintptr(w.edgeAt)
	if res != nil {
		clear(in)
		for r := range rows {
			for c := range n {
				copy(in[(r*w.m+c)*b.cols:][:b.cols], res[((oy+r)*w.OW+ox+c)*w.K+b.col:])
			}
		}
		t.res = base(a.Scratch) + uintptr(w.resAt)
	}
	w.funcs.output(hide(t))
	for r := range rows {
		for c := range n {
			copy(y[((oy+r)*w.OW+ox+c)*w.K+b.col:][:b.cols], out[(r*w.m+c)*b.cols:])
		}
	}
}
