package int8

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa/isatest"
)

func TestDynamicLayouts(t *testing.T) {
	var g rangeArgs
	var r rowsArgs
	for _, v := range []struct {
		name      string
		got, want uintptr
	}{
		{"range.x", unsafe.Offsetof(g.x), 0},
		{"range.n", unsafe.Offsetof(g.n), 8},
		{"range.lo", unsafe.Offsetof(g.lo), 16},
		{"range.hi", unsafe.Offsetof(g.hi), 20},
		{"range.top", unsafe.Offsetof(g.top), 24},
		{"rows.sums", unsafe.Offsetof(r.sums), 0},
		{"rows.sumStep", unsafe.Offsetof(r.sumStep), 8},
		{"rows.y", unsafe.Offsetof(r.y), 16},
		{"rows.yStep", unsafe.Offsetof(r.yStep), 24},
		{"rows.rows", unsafe.Offsetof(r.rows), 32},
		{"rows.cols", unsafe.Offsetof(r.cols), 40},
		{"rows.mult", unsafe.Offsetof(r.mult), 48},
		{"rows.bias", unsafe.Offsetof(r.bias), 56},
		{"rows.colSums", unsafe.Offsetof(r.colSums), 64},
		{"rows.params", unsafe.Offsetof(r.params), 72},
		{"rowParams.zero", unsafe.Offsetof(rowParams{}.zero), 4},
		{"rowParams", unsafe.Sizeof(rowParams{}), 8},
	} {
		if v.got != v.want {
			t.Errorf("%s lies at %d, gen says %d", v.name, v.got, v.want)
		}
	}
}

// rowValues draws float32 of one magnitude, zeros and, odd, what is no number.
func (r rng) rowValues(n int, odd bool) []byte {
	b := make([]byte, 4*n)
	size := math.Exp2(float64(r.in(-20, 20)))
	shift := r.NormFloat64() * float64(r.in(0, 2))
	for i := range n {
		v := float32((r.NormFloat64() + shift) * size)
		if r.IntN(15) == 0 {
			v = float32(math.Copysign(0, float64(r.IntN(2))-1))
		}
		if odd && r.IntN(20) == 0 {
			v = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 1e-44, -math.MaxFloat32}[r.IntN(5)]
		}
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	return b
}

func half(v float64) float64 { return math.RoundToEven(v) }

// refQuantizeRow is the definition: of one row, or of a tensor by ONNX's rule.
func refQuantizeRow(x []float32, tensor bool) (q []int32, scale float32, zero int32) {
	lo, hi := float32(0), float32(0)
	for _, v := range x {
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	q = make([]int32, len(x))
	if tensor {
		if scale = (hi - lo) / 255; scale == 0 {
			scale = 1
		}
		zero = int32(min(max(half(float64(-lo/scale)), 0), 255))
		for i, v := range x {
			q[i] = int32(min(max(half(float64(v/scale))+float64(zero), 0), 255))
		}
		return q, scale, zero
	}
	scale = float32(hi-lo) * (1.0 / 255)
	scale = min(max(scale, 0x1p-100), 0x1p100)
	inv := float32(1 / float64(scale))
	zero = int32(half(float64(min(-lo*inv, 255))))
	for i, v := range x {
		q[i] = zero
		if v == v {
			q[i] += int32(half(float64(min(max(v*inv, -float32(zero)), float32(255-zero)))))
		}
	}
	return q, scale, zero
}

func TestDotRows(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		for seed := range uint64(120) {
			r := newRNG(seed)
			rows := RowsSpec{M: r.in(1, 60), K: r.in(1, 150), PerTensor: r.bool()}
			s := DotRowsSpec{N: r.in(1, 170)}
			if r.IntN(5) == 0 {
				rows.M, rows.K = r.in(100, 240), r.in(200, 500)
			}
			if rows.Wide = r.IntN(4) == 0; rows.Wide {
				s.WZero = make([]int32, s.N)
				for i := range s.WZero {
					s.WZero[i] = r.zero(true)
				}
			}
			s.Rows, s.Weights, s.Mult = rows, r.int8s(rows.K*s.N), make([]float32, s.N)
			for i := range s.Mult {
				s.Mult[i] = float32(math.Exp2(r.Float64()*8 - 12))
			}
			if r.bool() {
				s.Bias = words[float32](r.rowValues(s.N, false))
			}
			x := r.rowValues(rows.M*rows.K, !rows.PerTensor && r.IntN(3) == 0)
			qk, err := QuantizeRows(rows, l)
			must(t, qk, err)
			dk, err := DotRows(s, l)
			must(t, dk, err)
			got := words[float32](runAll(t, r, dk, runAll(t, r, qk, x, nil, rows.Bytes()), nil, rows.M*s.N*4))
			checkDotRows(t, qk.Name()+" "+dk.Name(), s, words[float32](x), got)
		}
	})
}

func checkDotRows(t *testing.T, name string, s DotRowsSpec, x, got []float32) {
	t.Helper()
	m, k := s.Rows.M, s.Rows.K
	per := k
	if s.Rows.PerTensor {
		per = m * k
	}
	var q []int32
	var scale []float32
	var zero []int32
	for at := 0; at < m*k; at += per {
		qs, sc, z := refQuantizeRow(x[at:at+per], s.Rows.PerTensor)
		q = append(q, qs...)
		for range per / k {
			scale, zero = append(scale, sc), append(zero, z)
		}
	}
	for i := range got {
		r, n := i/s.N, i%s.N
		acc := int32(0)
		for j := range k {
			w := int32(s.Weights[j*s.N+n])
			if s.WZero != nil {
				w -= s.WZero[n]
			}
			acc += (q[r*k+j] - zero[r]) * w
		}
		want := float32(acc) * float32(scale[r]*s.Mult[n])
		if s.Bias != nil {
			want = float32(want) + s.Bias[n]
		}
		if math.Float32bits(got[i]) != math.Float32bits(want) {
			t.Fatalf("%s: row %d, column %d is %v, want %v", name, r, n, got[i], want)
		}
	}
}

func TestQuantizeTensorRefusesWhatIsNotFinite(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		for seed := range uint64(60) {
			r := newRNG(seed)
			s := RowsSpec{M: r.in(1, 9), K: r.in(1, 40), PerTensor: true}
			b := r.rowValues(s.M*s.K, false)
			x := words[float32](b)
			want := "<nil>"
			if r.bool() {
				at := r.IntN(len(x))
				x[at] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}[r.IntN(3)]
				want = fmt.Sprintf("element %d is %v; wanted finite numbers", at, x[at])
			}
			k, err := QuantizeRows(s, l)
			must(t, k, err)
			if err := k.(Checker).Check(&Args{X: b}); fmt.Sprint(err) != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	})
}

func TestDotRowsAllocatesNothing(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := newRNG(1)
		rows := RowsSpec{M: 40, K: 70}
		q, err := QuantizeRows(rows, l)
		must(t, q, err)
		d, err := DotRows(DotRowsSpec{Rows: rows, N: 50, Weights: r.int8s(70 * 50), Mult: make([]float32, 50)}, l)
		must(t, d, err)
		a := &Args{X: r.rowValues(40*70, false), Y: make([]byte, rows.Bytes()), Scratch: aligned[byte](max(q.ScratchBytes(), d.ScratchBytes()))}
		b := &Args{X: a.Y, Y: make([]byte, 40*50*4), Scratch: a.Scratch}
		if n := testing.AllocsPerRun(20, func() { q.Run(0, q.Tiles(), a); d.Run(0, d.Tiles(), b) }); n != 0 {
			t.Errorf("a dense layer of quantized rows allocates %v times in a run", n)
		}
	})
}

func BenchmarkDotRows(b *testing.B) {
	for _, s := range []DotRowsSpec{{Rows: RowsSpec{M: 128, K: 384}, N: 384}, {Rows: RowsSpec{M: 128, K: 384}, N: 1536}, {Rows: RowsSpec{M: 128, K: 1536}, N: 384}} {
		r := newRNG(1)
		s.Weights, s.Mult = r.int8s(s.Rows.K*s.N), make([]float32, s.N)
		for _, l := range isa.Available() {
			if l == isa.Portable {
				continue
			}
			q, err := QuantizeRows(s.Rows, l)
			must(b, q, err)
			d, err := DotRows(s, l)
			must(b, d, err)
			a := &Args{X: r.rowValues(s.Rows.M*s.Rows.K, false), Y: make([]byte, s.Rows.Bytes()), Scratch: aligned[byte](max(q.ScratchBytes(), d.ScratchBytes()))}
			c := &Args{X: a.Y, Y: make([]byte, s.Rows.M*s.N*4), Scratch: a.Scratch}
			b.Run(q.Name(), func(b *testing.B) {
				for b.Loop() {
					q.Run(0, q.Tiles(), a)
				}
			})
			b.Run(d.Name(), func(b *testing.B) {
				for b.Loop() {
					d.Run(0, d.Tiles(), c)
				}
				b.ReportMetric(2*float64(s.Rows.M*s.Rows.K*s.N)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GOPS")
			})
		}
	}
}
