package int8

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// runs says whether this machine has a kernel's instructions.
func (k kernel) runs() bool { return slices.Contains(isa.Available(), k.level) }

// Every row of the table of matrix kernels, with every number of rows.
func TestGemmKernels(t *testing.T) {
	r := newRNG(5)
	for i := range gemmKernels {
		k := &gemmKernels[i]
		if !k.runs() {
			t.Logf("%s: not on this machine", k.name)
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			for rows := 1; rows <= k.rows; rows++ {
				tiles, runs, quads := r.in(1, 3), r.in(1, 3), r.in(1, 9)
				length := quads*k.quad - r.IntN(k.quad)
				elem := k.format.elem()
				n := tiles * rows
				step := runs*quads*k.quad + r.IntN(5)*4 // elements from row to row
				x := aligned[byte](n*step*elem + 64)
				at := func(row, run, i int) int32 {
					j := row*step + run*quads*k.quad + i
					if elem == 1 {
						return int32(x[j]) - k.format.taken()
					}
					return int32(view[int16](base(x), n*step)[j])
				}
				for i := range n * step {
					if elem == 1 {
						x[i] = byte(r.Uint32())
					} else {
						view[int16](base(x), n*step)[i] = int16(r.in(-255, 255))
					}
				}
				w := r.int8s(runs * length * k.cols)
				packed := aligned[byte](runs * quads * k.stepBytes())
				k.pack(packed, w, k.cols, runs, length, k.cols, nil)
				init, offsets := aligned[int32](k.cols), make([]int64, runs)
				for i := range init {
					init[i] = int32(r.Uint32())
				}
				for i := range offsets {
					offsets[i] = int64(i * quads * k.quad * elem)
				}
				sums := aligned[int32](n*k.cols + 16)
				g := &gemmArgs{
					x: base(x), xStep: uintptr(step * elem), runs: base(offsets), numRuns: runs, quads: quads, w: base(packed),
					init: base(init), sums: base(sums), sumStep: uintptr(4 * k.cols), tiles: tiles, rows: rows,
				}
				rowAdd := make([]int32, n)
				if k.level == isa.VNNI && r.bool() {
					for i := range rowAdd {
						rowAdd[i] = int32(r.Uint32())
					}
					g.rowAdd = uintptr(base(rowAdd))
				}
				k.run[rows-1](g)
				runtime.KeepAlive(rowAdd)
				for row := range n {
					for c := range k.cols {
						want := init[c] + rowAdd[row]
						for run := range runs {
							for i := range length {
								want += at(row, run, i) * int32(w[(run*length+i)*k.cols+c])
							}
						}
						if got := sums[row*k.cols+c]; got != want {
							t.Fatalf("%d rows, %d tiles, %d runs of %d: sum %d,%d is %d, want %d", rows, tiles, runs, length, row, c, got, want)
						}
					}
				}
				if slices.Max(sums[n*k.cols:]) != 0 || slices.Min(sums[n*k.cols:]) != 0 {
					t.Fatalf("%d rows: wrote behind the last sum", rows)
				}
			}
		})
	}
}

// Every finishing kernel against the portable one of its kind.
func TestFinishKernels(t *testing.T) {
	r := newRNG(6)
	for kind, table := range finishKernels {
		portable := table[len(table)-1]
		for _, k := range table[:len(table)-1] {
			if !k.runs() {
				continue
			}
			t.Run(k.name, func(t *testing.T) {
				for range 200 {
					rows, cols := r.in(1, 9), r.in(1, 150)
					step := cols + r.in(0, 20)
					o := r.out(2)
					mult := make([]float32, cols)
					for i := range mult {
						mult[i] = r.Float32() / 4
					}
					res := &Residual{Signed: r.bool(), A: int32(r.in(0, 1<<14)), B: 1 << 14, Mult: r.Float32() / 1e4, Out: r.out(2)}
					if kind == finishFloats {
						o = Out{DType: F32}
					}
					if kind != finishResidual && kind != finishResidualAny {
						res = nil
					}
					f := newFinisher(o, mult, 1, res, nil, isa.Portable)
					sums := aligned[int32](rows*cols + 64)
					for i := range sums {
						sums[i] = int32(r.in(-2000, 2000))
						if kind == finishBytesAny || kind == finishResidualAny || kind == finishFloats {
							sums[i] = int32(r.Uint32())
						}
					}
					add := make([]int32, rows)
					for i := range add {
						add[i] = int32(r.in(-500, 500))
					}
					x2 := r.bytes(rows * step)
					run := func(fn func(*finishArgs)) []byte {
						y := make([]byte, rows*step*4)
						a := f.args
						a.sums, a.sumStep, a.rows, a.cols = base(sums), uintptr(4*cols), rows, cols
						a.mult, a.y, a.yStep = base(f.mult), base(y), uintptr(step*f.out.bytes())
						if kind != finishBytes && kind != finishResidual {
							a.rowAdd = base(add)
						}
						a.x2, a.x2Step = base(x2), uintptr(step)
						fn(&a)
						return y
					}
					compare(t, k.name, run(k.run), run(portable.run), f.args)
				}
			})
		}
	}
}

// The offsets of gen/layout.go.
func TestLayouts(t *testing.T) {
	var g gemmArgs
	var k packing
	var lt listedTile
	var pi pictureArgs
	var rp rowPairArgs
	var f finishArgs
	var d dwArgs
	var dl dwLineArgs
	var p pairArgs
	var c convertArgs
	var w windowArgs
	var l lookupArgs
	var s softmaxArgs
	var wi winogradArgs
	for _, v := range []struct {
		name      string
		got, want uintptr
	}{
		{"gemm.x", unsafe.Offsetof(g.x), 0},
		{"gemm.xStep", unsafe.Offsetof(g.xStep), 8},
		{"gemm.runs", unsafe.Offsetof(g.runs), 16},
		{"gemm.numRuns", unsafe.Offsetof(g.numRuns), 24},
		{"gemm.quads", unsafe.Offsetof(g.quads), 32},
		{"gemm.w", unsafe.Offsetof(g.w), 40},
		{"gemm.init", unsafe.Offsetof(g.init), 48},
		{"gemm.sums", unsafe.Offsetof(g.sums), 56},
		{"gemm.sumStep", unsafe.Offsetof(g.sumStep), 64},
		{"gemm.tiles", unsafe.Offsetof(g.tiles), 72},
		{"gemm.pack", unsafe.Offsetof(g.pack), 88},
		{"gemm.mult", unsafe.Offsetof(g.mult), 96},
		{"gemm.y", unsafe.Offsetof(g.y), 104},
		{"gemm.yStep", unsafe.Offsetof(g.yStep), 112},
		{"gemm.mask", unsafe.Offsetof(g.mask), 120},
		{"packing.zero", unsafe.Offsetof(k.zero), 0},
		{"packing.least", unsafe.Offsetof(k.least), 64},
		{"packing.most", unsafe.Offsetof(k.most), 128},
		{"packing.flip", unsafe.Offsetof(k.flip), 192},
		{"packing.order", unsafe.Offsetof(k.order), 256},
		{"gemm.residual", unsafe.Offsetof(g.residual), 128},
		{"gemm.rows", unsafe.Offsetof(g.rows), 80},
		{"gemm.delta", unsafe.Offsetof(g.delta), 136},
		{"gemm.config", unsafe.Offsetof(g.config), 144},
		{"gemm.tall", unsafe.Offsetof(g.tall), 152},
		{"gemm.sumTall", unsafe.Offsetof(g.sumTall), 160},
		{"gemm.move", unsafe.Offsetof(g.move), 168},
		{"gemm.lineTiles", unsafe.Offsetof(g.lineTiles), 176},
		{"gemm.lineSkip", unsafe.Offsetof(g.lineSkip), 184},
		{"gemm.lineLeft", unsafe.Offsetof(g.lineLeft), 192},
		{"gemm.runNow", unsafe.Offsetof(g.runNow), 200},
		{"gemm.runsLeft", unsafe.Offsetof(g.runsLeft), 208},
		{"gemm.xNow", unsafe.Offsetof(g.xNow), 216},
		{"gemm.ahead", unsafe.Offsetof(g.ahead), 224},
		{"gemm.aheadStep", unsafe.Offsetof(g.aheadStep), 232},
		{"gemm.aheadEnd", unsafe.Offsetof(g.aheadEnd), 240},
		{"gemm.list", unsafe.Offsetof(g.list), 248},
		{"gemm.stepMove", unsafe.Offsetof(g.stepMove), 256},
		{"gemm.rowAdd", unsafe.Offsetof(g.rowAdd), 264},
		{"gemm.finish", unsafe.Offsetof(g.finish), 272},
		{"gemm.table", unsafe.Offsetof(g.table), 280},
		{"picture.x", unsafe.Offsetof(pi.x), 0},
		{"picture.xStep", unsafe.Offsetof(pi.xStep), 8},
		{"picture.n", unsafe.Offsetof(pi.n), 16},
		{"picture.y", unsafe.Offsetof(pi.y), 24},
		{"picture.yStep", unsafe.Offsetof(pi.yStep), 32},
		{"picture.lines", unsafe.Offsetof(pi.lines), 40},
		{"picture.flip", unsafe.Offsetof(pi.flip), 48},
		{"rowPair.top", unsafe.Offsetof(rp.top), 0},
		{"rowPair.bottom", unsafe.Offsetof(rp.bottom), 8},
		{"rowPair.y", unsafe.Offsetof(rp.y), 16},
		{"rowPair.rounds", unsafe.Offsetof(rp.rounds), 24},
		{"rowPair.xStep", unsafe.Offsetof(rp.xStep), 32},
		{"rowPair.yStep", unsafe.Offsetof(rp.yStep), 40},
		{"rowPair.index", unsafe.Offsetof(rp.index), 48},
		{"rowPair.flip", unsafe.Offsetof(rp.flip), 56},
		{"listed.x", unsafe.Offsetof(lt.x), 0},
		{"listed.tall", unsafe.Offsetof(lt.tall), 8},
		{"listed.rows", unsafe.Offsetof(lt.rows), 16},
		{"listed.at", unsafe.Offsetof(lt.at), 24},
		{"listed", unsafe.Sizeof(lt), 280},
		{"packing.leastQ", unsafe.Offsetof(k.leastQ), 320},
		{"packing.mostQ", unsafe.Offsetof(k.mostQ), 384},
		{"packing.flipX2", unsafe.Offsetof(k.flipX2), 448},
		{"packing.zeroX2", unsafe.Offsetof(k.zeroX2), 512},
		{"packing.start", unsafe.Offsetof(k.start), 704},
		{"packing.pair", unsafe.Offsetof(k.pair), 576},
		{"packing.mult2", unsafe.Offsetof(k.mult2), 640},
		{"finish.sums", unsafe.Offsetof(f.sums), 0},
		{"finish.sumStep", unsafe.Offsetof(f.sumStep), 8},
		{"finish.y", unsafe.Offsetof(f.y), 16},
		{"finish.yStep", unsafe.Offsetof(f.yStep), 24},
		{"finish.rows", unsafe.Offsetof(f.rows), 32},
		{"finish.cols", unsafe.Offsetof(f.cols), 40},
		{"finish.mult", unsafe.Offsetof(f.mult), 48},
		{"finish.rowAdd", unsafe.Offsetof(f.rowAdd), 56},
		{"finish.lo", unsafe.Offsetof(f.lo), 64},
		{"finish.hi", unsafe.Offsetof(f.hi), 68},
		{"finish.zero", unsafe.Offsetof(f.zero), 72},
		{"finish.yFlip", unsafe.Offsetof(f.yFlip), 76},
		{"finish.x2", unsafe.Offsetof(f.x2), 80},
		{"finish.x2Step", unsafe.Offsetof(f.x2Step), 88},
		{"finish.flip", unsafe.Offsetof(f.flip), 96},
		{"finish.zeroX2", unsafe.Offsetof(f.zeroX2), 100},
		{"finish.pair", unsafe.Offsetof(f.pair), 104},
		{"finish.mult2", unsafe.Offsetof(f.mult2), 108},
		{"finish.lo2", unsafe.Offsetof(f.lo2), 112},
		{"finish.hi2", unsafe.Offsetof(f.hi2), 116},
		{"finish.zero2", unsafe.Offsetof(f.zero2), 120},
		{"finish.least", unsafe.Offsetof(f.least), 124},
		{"finish.most", unsafe.Offsetof(f.most), 128},
		{"finish.leastQ", unsafe.Offsetof(f.leastQ), 132},
		{"finish.mostQ", unsafe.Offsetof(f.mostQ), 136},
		{"depthwise.x", unsafe.Offsetof(d.x), 0},
		{"depthwise.taps", unsafe.Offsetof(d.taps), 8},
		{"depthwise.groups", unsafe.Offsetof(d.groups), 16},
		{"depthwise.n", unsafe.Offsetof(d.n), 24},
		{"depthwise.xStep", unsafe.Offsetof(d.xStep), 32},
		{"depthwise.w", unsafe.Offsetof(d.w), 40},
		{"depthwise.init", unsafe.Offsetof(d.init), 48},
		{"depthwise.mult", unsafe.Offsetof(d.mult), 56},
		{"depthwise.y", unsafe.Offsetof(d.y), 64},
		{"depthwise.yStep", unsafe.Offsetof(d.yStep), 72},
		{"depthwise.mask", unsafe.Offsetof(d.mask), 80},
		{"depthwise.lo", unsafe.Offsetof(d.lo), 88},
		{"depthwise.hi", unsafe.Offsetof(d.hi), 92},
		{"depthwise.zero", unsafe.Offsetof(d.zero), 96},
		{"depthwise.yFlip", unsafe.Offsetof(d.yFlip), 100},
		{"depthwise.least", unsafe.Offsetof(d.least), 104},
		{"depthwise.most", unsafe.Offsetof(d.most), 108},
		{"depthwise.yHalf", unsafe.Offsetof(d.yHalf), 112},
		{"depthwise.mask2", unsafe.Offsetof(d.mask2), 120},
		{"line.rows", unsafe.Offsetof(dl.rows), 0},
		{"line.xStep", unsafe.Offsetof(dl.xStep), 24},
		{"line.n", unsafe.Offsetof(dl.n), 32},
		{"line.w", unsafe.Offsetof(dl.w), 40},
		{"line.init", unsafe.Offsetof(dl.init), 48},
		{"line.first", unsafe.Offsetof(dl.first), 56},
		{"line.last", unsafe.Offsetof(dl.last), 64},
		{"line.mult", unsafe.Offsetof(dl.mult), 72},
		{"line.y", unsafe.Offsetof(dl.y), 80},
		{"line.yStep", unsafe.Offsetof(dl.yStep), 88},
		{"line.mask", unsafe.Offsetof(dl.mask), 96},
		{"line.zero", unsafe.Offsetof(dl.zero), 104},
		{"line.yFlip", unsafe.Offsetof(dl.yFlip), 108},
		{"line.least", unsafe.Offsetof(dl.least), 112},
		{"line.most", unsafe.Offsetof(dl.most), 116},
		{"line.lead", unsafe.Offsetof(dl.lead), 120},
		{"line.tail", unsafe.Offsetof(dl.tail), 124},
		{"pair.y", unsafe.Offsetof(p.y), 0},
		{"pair.a", unsafe.Offsetof(p.a), 8},
		{"pair.b", unsafe.Offsetof(p.b), 16},
		{"pair.n", unsafe.Offsetof(p.n), 24},
		{"pair.aFlip", unsafe.Offsetof(p.aFlip), 32},
		{"pair.bFlip", unsafe.Offsetof(p.bFlip), 36},
		{"pair.aZero", unsafe.Offsetof(p.aZero), 40},
		{"pair.bZero", unsafe.Offsetof(p.bZero), 44},
		{"pair.pair", unsafe.Offsetof(p.pair), 48},
		{"pair.mult", unsafe.Offsetof(p.mult), 52},
		{"pair.lo", unsafe.Offsetof(p.lo), 56},
		{"pair.hi", unsafe.Offsetof(p.hi), 60},
		{"pair.zero", unsafe.Offsetof(p.zero), 64},
		{"pair.scalarB", unsafe.Offsetof(p.scalarB), 68},
		{"convert.y", unsafe.Offsetof(c.y), 0},
		{"convert.x", unsafe.Offsetof(c.x), 8},
		{"convert.n", unsafe.Offsetof(c.n), 16},
		{"convert.scale", unsafe.Offsetof(c.scale), 24},
		{"convert.lo", unsafe.Offsetof(c.lo), 28},
		{"convert.hi", unsafe.Offsetof(c.hi), 32},
		{"convert.zero", unsafe.Offsetof(c.zero), 36},
		{"convert.flip", unsafe.Offsetof(c.flip), 40},
		{"window.y", unsafe.Offsetof(w.y), 0},
		{"window.x", unsafe.Offsetof(w.x), 8},
		{"window.n", unsafe.Offsetof(w.n), 16},
		{"window.ny", unsafe.Offsetof(w.ny), 24},
		{"window.nx", unsafe.Offsetof(w.nx), 32},
		{"window.yStep", unsafe.Offsetof(w.yStep), 40},
		{"window.xStep", unsafe.Offsetof(w.xStep), 48},
		{"window.flip", unsafe.Offsetof(w.flip), 56},
		{"window.count", unsafe.Offsetof(w.count), 64},
		{"window.xMove", unsafe.Offsetof(w.xMove), 72},
		{"window.yMove", unsafe.Offsetof(w.yMove), 80},
		{"lookup.y", unsafe.Offsetof(l.y), 0},
		{"lookup.x", unsafe.Offsetof(l.x), 8},
		{"lookup.n", unsafe.Offsetof(l.n), 16},
		{"lookup.table", unsafe.Offsetof(l.table), 24},
		{"lookup.step", unsafe.Offsetof(l.step), 32},
		{"lookup.rows", unsafe.Offsetof(l.rows), 40},
		{"softmax.y", unsafe.Offsetof(s.y), 0},
		{"softmax.x", unsafe.Offsetof(s.x), 8},
		{"softmax.rows", unsafe.Offsetof(s.rows), 16},
		{"softmax.k", unsafe.Offsetof(s.k), 24},
		{"softmax.planes", unsafe.Offsetof(s.planes), 32},
		{"softmax.factor", unsafe.Offsetof(s.factor), 40},
		{"softmax.lo", unsafe.Offsetof(s.lo), 44},
		{"softmax.hi", unsafe.Offsetof(s.hi), 48},
		{"softmax.zero", unsafe.Offsetof(s.zero), 52},
		{"softmax.flip", unsafe.Offsetof(s.flip), 56},
		{"softmax.yFlip", unsafe.Offsetof(s.yFlip), 60},
		{"winograd.x", unsafe.Offsetof(wi.x), 0},
		{"winograd.y", unsafe.Offsetof(wi.y), 8},
		{"winograd.bias", unsafe.Offsetof(wi.bias), 16},
		{"winograd.row", unsafe.Offsetof(wi.row), 24},
		{"winograd.step", unsafe.Offsetof(wi.step), 32},
		{"winograd.tile", unsafe.Offsetof(wi.tile), 40},
		{"winograd.pos", unsafe.Offsetof(wi.pos), 48},
		{"winograd.n", unsafe.Offsetof(wi.n), 56},
		{"winograd.vecs", unsafe.Offsetof(wi.vecs), 64},
	} {
		if v.got != v.want {
			t.Errorf("%s lies at %d; gen/layout.go says %d", v.name, v.got, v.want)
		}
	}
}

// The assembly in the tree is what gen writes.
func TestGenerated(t *testing.T) {
	var src []byte
	for _, name := range []string{"kernels_amd64.go", "dynamic_amd64.go", "attend_amd64.go", "generate.go"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		src = append(src, b...)
	}
	dir := t.TempDir()
	gen := filepath.Join(dir, "gen")
	if out, err := exec.Command("go", "build", "-o", gen, "./gen").CombinedOutput(); err != nil {
		t.Skipf("the generator does not build here: %s", out)
	}
	n := 0
	for line := range strings.Lines(string(src)) {
		args, ok := strings.CutPrefix(strings.TrimSpace(line), "//go:generate go run ./gen ")
		if !ok {
			continue
		}
		n++
		f := strings.Fields(args)
		file := f[len(f)-1]
		f[len(f)-1] = filepath.Join(dir, file)
		if out, err := exec.Command(gen, f...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %s", args, out)
		}
		for _, name := range []string{file, strings.TrimSuffix(file, ".s") + ".go"} {
			want, err1 := os.ReadFile(filepath.Join(dir, name))
			got, err2 := os.ReadFile(name)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			// The first line tells the command.
			_, want, _ = bytes.Cut(want, []byte("\n"))
			_, got, _ = bytes.Cut(got, []byte("\n"))
			if !bytes.Equal(got, want) {
				t.Errorf("%s is not what gen writes; run go generate", name)
			}
		}
	}
	if n == 0 {
		t.Error("no go:generate lines found")
	}
}

// Rows that lie apart, looked up in place, against plain Go; between them nothing
// changes.
func TestLookupRows(t *testing.T) {
	r := newRNG(7)
	for _, k := range lookupKernels {
		if !k.runs() {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			for range 300 {
				rows, cols := r.in(1, 40), r.in(1, 300)
				step := cols + r.in(0, 70)
				table := &lookupTable{table: *r.table(), lookupKernel: k}
				got := r.bytes(rows*step + 64)
				want := slices.Clone(got)
				for row := range rows {
					line := want[row*step:][:cols]
					lookupPortable(line, line, &table.table)
				}
				table.rows(base(got), step, rows, cols)
				compare(t, k.name, got, want, [3]int{rows, cols, step})
			}
		})
	}
}
