package int8

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// winogradArgs is the argument block of both transforms. The first reads n tiles
// of a row, 4×4 pixels each and two apart, and writes every tile's sixteen
// positions; the second reads sums at the positions and writes two lines of
// pixels. gen/ knows this layout; TestLayouts compares.
type winogradArgs struct {
	x    unsafe.Pointer // pixels, or sums at the first position
	y    unsafe.Pointer // the first position, or the first line
	bias unsafe.Pointer // of the second: what is added to each column
	row  uintptr        // bytes from line to line of the pixels
	step uintptr        // bytes from pixel to pixel, and of the second from tile to tile
	tile uintptr        // bytes from tile to tile of the first's results
	pos  uintptr        // bytes from position to position
	n    int            // tiles
	vecs int            // vectors of a pixel
}

// winogradKernel is a row of the table of transforms.
type winogradKernel struct {
	kernel
	input, output func(*winogradArgs)
}

// winograd is a 3×3 convolution of stride 1 by F(2×2, 3×3): tiles of 2×2 results
// from 4×4 pixels with sixteen products for a pair of channels instead of 36. In
// integers it is exact: with weights transformed by 2G in place of G the results
// are four times the sums, transformed pixels (at most 4·255) and weights (at most
// 9·255) fit in 16 bits, and what wraps on the way does so modulo 2^32, where the
// fourfold sums fit. So it pays where 16-bit products are the fastest there are.
type winograd struct {
	ConvSpec
	k    *gemmKernel
	kern *winogradKernel
	fin  finisher
	in   input
	blocks
	bands      []band // in rows of tiles' results
	tw         int    // tiles of a row
	imgBytes   int    // scratch of the copied input,
	tileBytes  int    // of its transformed tiles
	placeBytes int    // and of sums at their positions
}

// winogradRun is the argument memory of one Run.
type winogradRun struct {
	args    winogradArgs
	gemm    gemmArgs
	finish  finishArgs
	convert convertArgs
}

var winogradPool = sync.Pool{New: func() any { return new(winogradRun) }}

const (
	winogradLanes  = 16       // channels of a vector of pixels
	winogradPlaces = 16       // positions of a tile
	winogradVecs   = 2048     // vectors that one call of the first transform takes
	winogradLeast  = 24       // channels, of both sides, from which it is faster
	winogradBytes  = 64 << 20 // most transformed weights
	// winogradMost is the most channels whose fourfold sums, without the bias, fit
	// in 32 bits.
	winogradMost = (1<<31 - 1) / (4 * 9 * 255 * 255)
)

// winogradOf gives the kernel where there is one for the convolution.
func winogradOf(s *ConvSpec, l isa.Level) *winogradKernel {
	if s.KH != 3 || s.KW != 3 || s.SH != 1 || s.SW != 1 || s.DH != 1 || s.DW != 1 || s.Groups != 1 || s.C%winogradLanes != 0 {
		return nil
	}
	if s.C > winogradMost || s.K > winogradBytes/(winogradPlaces*2*s.C) {
		return nil
	}
	for i := range winogradKernels {
		// A level with products of bytes has something faster.
		if k := &winogradKernels[i]; l == k.level {
			return k
		}
	}
	return nil
}

// fewerProducts says whether the transforms cost less than the products they save.
func (s *ConvSpec) fewerProducts() bool {
	return min(s.C, s.K) >= winogradLeast && s.OH > 2 && s.OW > 2
}

func newWinograd(s ConvSpec, kern *winogradKernel, l isa.Level, choices []string) Kernel {
	w := &winograd{ConvSpec: s, kern: kern, k: pickGemm(l, true), tw: ceilDiv(s.OW, 2)}
	w.fin = newFinisher(s.Out, s.Mult, s.bound(), s.Residual, s.Table, l)
	whole := s // with all results of the last tiles
	whole.OH, whole.OW = 2*ceilDiv(s.OH, 2), 2*w.tw
	w.in = newInput(whole, 2, l)
	w.packBlocks()
	w.cutBands()
	w.Weights, w.Bias, w.WZero, w.Mult = nil, nil, nil, nil
	tiles := float64(s.N * w.tw * ceilDiv(s.OH, 2))
	cost := tiles * (winogradPlaces*float64(s.C*s.K)/w.k.speed() + 0.5*float64(s.C) + 0.8*float64(s.K))
	units := len(w.bands) * len(w.blocks)
	return &op{
		name: fmt.Sprintf("conv_%s_%s", s.dims(), kern.name), tiles: units, cost: cost / float64(units), run: w.run,
		scratch: w.imgBytes + w.tileBytes + w.placeBytes + align64(4*w.tw*w.k.cols*4) + sumSlack,
		weights: w, choices: choices,
	}
}

// packBlocks lays out the transformed weights, [position][pair of channels][column].
func (w *winograd) packBlocks() {
	for col := 0; col < w.K; {
		k := w.k.fit(w.K - col)
		b := block{k: k, col: col, cols: min(k.cols, w.K-col), w: aligned[byte](winogradPlaces * w.C / 2 * k.stepBytes()), init: aligned[int32](k.cols)}
		w.packBlock(&b)
		if w.Bias != nil {
			copy(b.init, w.Bias[col:][:b.cols])
		}
		w.blocks = append(w.blocks, b)
		col += k.cols
	}
}

// packBlock computes (2G)·w·(2G)ᵀ of two channels at once: one in the lower half
// of a word, one in the upper, which a negative lower one takes 1 from.
func (w *winograd) packBlock(b *block) {
	out := words[int32](b.w)
	place := len(out) / winogradPlaces
	for c := 0; c < w.C; c += 2 {
		var rows [9][2][]int8
		for t := range rows {
			for i := range rows[t] {
				rows[t][i] = w.Weights[(t*w.C+c+i)*w.K+b.col:][:b.cols]
			}
		}
		for j := range b.cols {
			var zero int32
			if w.WZero != nil {
				zero = w.WZero[b.col+j] * (1<<16 + 1)
			}
			var half [4][3]int32
			for kw := range 3 {
				var t [3]int32
				for kh := range t {
					r := &rows[kh*3+kw]
					t[kh] = int32(r[0][j]) + int32(r[1][j])<<16 - zero
				}
				half[0][kw], half[1][kw], half[2][kw], half[3][kw] = twiceG(t[0], t[1], t[2])
			}
			o := out[c/2*b.k.cols+j:]
			for i := range half {
				v0, v1, v2, v3 := twiceG(half[i][0], half[i][1], half[i][2])
				for q, v := range [4]int32{v0, v1, v2, v3} {
					o[(4*i+q)*place] = v + v&0x8000<<1
				}
			}
		}
	}
}

// twiceG is 2G times three weights.
func twiceG(a, b, c int32) (int32, int32, int32, int32) {
	return 2 * a, a + b + c, a - b + c, 2 * c
}

// cutBands splits the rows of tiles so that a band's transformed tiles stay in
// cache and several workers find units.
func (w *winograd) cutBands() {
	th := ceilDiv(w.OH, 2)
	row := winogradPlaces * 2 * w.C * w.tw // bytes of a row of tiles
	parts := ceilDiv(th*row, bandBytes)
	if w.N%2 != 0 && len(w.blocks)%2 != 0 {
		parts = evened(max(2, parts))
	}
	parts = min(parts, th)
	for n := range w.N {
		for i := range parts {
			b := band{n, 2 * cut(th, parts, i), 2 * cut(th, parts, i+1), 0, 2 * w.tw}
			w.bands = append(w.bands, b)
			tiles := (b.oy1 - b.oy0) / 2 * w.tw
			w.imgBytes = max(w.imgBytes, w.in.bytes(b))
			w.tileBytes = max(w.tileBytes, align64(winogradPlaces*2*w.C*tiles))
			w.placeBytes = max(w.placeBytes, align64(winogradPlaces*4*w.k.cols*tiles))
		}
	}
}

func (w *winograd) run(lo, hi int, a *Args) {
	r := winogradPool.Get().(*winogradRun)
	for u := lo; u < hi; u++ {
		bi := u / len(w.blocks)
		b := &w.bands[bi]
		if a.Held != bi+1 {
			w.in.copy(&r.convert, a, b)
			w.transform(&r.args, a, b)
			a.Held = bi + 1
		}
		w.band(r, a, b, &w.blocks[u%len(w.blocks)])
	}
	*r = winogradRun{}
	winogradPool.Put(r)
}

// transform writes a band's tiles.
func (w *winograd) transform(g *winogradArgs, a *Args, b *band) {
	pixel := 2 * w.C
	rows := (b.oy1 - b.oy0) / 2
	pos := rows * w.tw * pixel
	most := max(1, winogradVecs/w.tw)
	for ty := range rows {
		for v := 0; v < w.C/winogradLanes; v += most {
			at := v * 2 * winogradLanes
			*g = winogradArgs{
				x: unsafe.Pointer(&a.Scratch[2*ty*w.in.pw*pixel+at]), y: unsafe.Pointer(&a.Scratch[w.imgBytes+ty*w.tw*pixel+at]),
				row: uintptr(w.in.pw * pixel), step: uintptr(pixel), tile: uintptr(pixel), pos: uintptr(pos),
				n: w.tw, vecs: min(most, w.C/winogradLanes-v),
			}
			w.kern.input(g)
		}
	}
}

// band computes a block's channels of a band.
func (w *winograd) band(r *winogradRun, a *Args, b *band, blk *block) {
	k, rows := blk.k, (b.oy1-b.oy0)/2
	tiles := rows * w.tw
	x, places := base(a.Scratch[w.imgBytes:]), base(a.Scratch[w.imgBytes+w.tileBytes:])
	place := tiles * k.cols * 4 // bytes of a position's sums
	g := &r.gemm
	for p := range winogradPlaces {
		*g = gemmArgs{
			x: unsafe.Add(x, p*tiles*2*w.C), xStep: uintptr(2 * w.C), runs: base(noOffset[:]), numRuns: 1, quads: w.C / 2,
			w: base(blk.w[p*len(blk.w)/winogradPlaces:]), init: base(noSums[:]), sumStep: uintptr(k.cols * 4),
		}
		k.rowsOf(g, unsafe.Add(places, p*place), tiles)
	}
	pixel, size := k.cols*4, w.fin.out.bytes()
	line := 2 * w.tw * pixel
	sums := base(a.Scratch[w.imgBytes+w.tileBytes+w.placeBytes:])
	for ty := range rows {
		r.args = winogradArgs{
			x: unsafe.Add(places, ty*w.tw*pixel), y: sums, bias: base(blk.init), row: uintptr(line), step: uintptr(pixel), pos: uintptr(place),
			n: w.tw, vecs: k.cols / 8,
		}
		w.kern.output(&r.args)
		for i := range 2 {
			oy := b.oy0 + 2*ty + i
			if oy == w.OH {
				break
			}
			at := (b.n*w.OH+oy)*w.OW*w.K + blk.col
			var x2 unsafe.Pointer
			if w.Residual != nil {
				x2 = unsafe.Pointer(&a.X2[at])
			}
			w.fin.apply(&r.finish, unsafe.Add(sums, i*line), uintptr(pixel), w.OW, blk.cols, blk.col, unsafe.Pointer(&a.Y[at*size]), x2, w.K)
		}
	}
}

// readNext is of kernels that fetch what comes after them.
func (w *winograd) readNext([]byte) {}
