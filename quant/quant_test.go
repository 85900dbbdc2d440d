package quant

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

func normals(r *rand.Rand, n int, std float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * std)
	}
	return x
}

func TestObserverOrderAndMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var batches [][]float32
	for i := range 20 {
		batches = append(batches, normals(r, 500, math.Pow(1.7, float64(i-10))))
	}
	batches = append(batches, []float32{0, 0, 0}, []float32{1e-30}, []float32{float32(math.NaN()), 3, float32(math.Inf(1))})
	var a, b, left, right Observer
	for i, x := range batches {
		a.Add(x)
		if i%3 == 0 {
			left.Add(x)
		} else {
			right.Add(x)
		}
	}
	for _, x := range slices.Backward(batches) {
		b.Add(x)
	}
	left.Merge(&right)
	for name, o := range map[string]*Observer{"reversed": &b, "merged": &left} {
		if o.Min != a.Min || o.Max != a.Max || o.Count != a.Count || o.NonFinite != 2 || o.exp != a.exp {
			t.Errorf("%s: %v %v %d %d exp %d, wanted %v %v %d exp %d", name, o.Min, o.Max, o.Count, o.NonFinite, o.exp, a.Min, a.Max, a.Count, a.exp)
		}
		var x, y []float64
		a.Each(func(v float64, n int64) { x = append(x, v, float64(n)) })
		o.Each(func(v float64, n int64) { y = append(y, v, float64(n)) })
		if !slices.Equal(x, y) {
			t.Errorf("%s: another histogram", name)
		}
	}
	sum := int64(0)
	a.Each(func(_ float64, n int64) { sum += n })
	if sum != a.Count {
		t.Errorf("histogram holds %d of %d values", sum, a.Count)
	}
}

func TestRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var o Observer
	for range 50 {
		o.Add(normals(r, 4000, 1))
	}
	o.Add([]float32{100}) // one outlier
	width := map[Method]float64{}
	for _, m := range Methods {
		lo, hi := o.Range(m)
		if lo > 0 || hi < 0 {
			t.Errorf("%s: [%v, %v] leaves 0 out", m, lo, hi)
		}
		width[m] = hi
	}
	if width[MinMax] != 100 {
		t.Errorf("minmax ends at %v", width[MinMax])
	}
	for _, m := range []Method{Percentile, MovingAverage} {
		if width[m] > 10 {
			t.Errorf("%s keeps the outlier: %v", m, width[m])
		}
	}
	// One value in 200,000 at 100 costs more than rounding at that range
	// gains, so MSE may keep much of it; it must not do worse than minmax.
	errorOf := func(lo, hi float64) float64 {
		p, e := Affine(lo, hi, U8), 0.0
		o.Each(func(x float64, n int64) { d := x - p.Real(p.Quantize(x)); e += float64(n) * d * d })
		return e
	}
	lo, hi := o.Range(MSE)
	if a, b := errorOf(lo, hi), errorOf(o.Min, o.Max); a > b {
		t.Errorf("mse range has error %v, minmax %v", a, b)
	}
	lo, hi = o.Range(Entropy)
	if hi > 100 || lo < o.Min {
		t.Errorf("entropy range [%v, %v]", lo, hi)
	}
	// A range chosen for a function ignores what the function flattens.
	relu6 := func(x []float64) []float64 {
		y := make([]float64, len(x))
		for i, v := range x {
			y[i] = min(max(v, 0), 3)
		}
		return y
	}
	lo, hi = o.MSERange(relu6)
	if lo < -1 || hi > 8 {
		t.Errorf("range for a clamp to [0,3] is [%v, %v]", lo, hi)
	}
}

func TestAffine(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		lo, hi := r.NormFloat64()*5, r.NormFloat64()*5
		lo, hi = min(lo, hi), max(lo, hi)
		for _, d := range []ir.DType{U8, S8} {
			p := Affine(lo, hi, d)
			if p.Real(p.Quantize(0)) != 0 {
				t.Fatalf("[%v, %v]: 0 becomes %v", lo, hi, p.Real(p.Quantize(0)))
			}
			for _, x := range []float64{lo, hi, (lo + hi) / 2} {
				if d := math.Abs(p.Real(p.Quantize(x)) - x); d > float64(p.Scale)*1.0001 {
					t.Fatalf("[%v, %v]: %v is off by %v levels", lo, hi, x, d/float64(p.Scale))
				}
			}
			q := p.As(ir.U8 + ir.S8 - d)
			if q.Real(q.Quantize(hi)) != p.Real(p.Quantize(hi)) {
				t.Fatalf("As changes the levels")
			}
		}
	}
	if p := Affine(0, 0, U8); !(p.Scale > 0) {
		t.Errorf("scale of zeros is %v", p.Scale)
	}
	o := Affine(-1, 6, U8).Out(0, 3)
	if o.QMin != o.Zero || o.QMax <= o.QMin || o.QMax > 255 {
		t.Errorf("clamp gives %+v", o)
	}
}

func TestWeightScalesAndBias(t *testing.T) {
	// Columns: plain, huge bias, all zero.
	l := &Layer{K: 2, N: 3, Groups: 1, W: []float32{1, 1e-12, 0, -2, 1e-12, 0}, Bias: []float32{0.5, 100, -7}}
	sx := float32(0.02)
	s := WeightScales(l, sx)
	if s[0] != float32(2.0/127) {
		t.Errorf("scale %v, wanted 2/127", s[0])
	}
	b := RoundBias(l.Bias, sx, s)
	for c, v := range b {
		if v > 1<<30+64 || v < -(1<<30)-64 {
			t.Errorf("bias %d is %d", c, v)
		}
		if got := float64(v) * float64(sx) * float64(s[c]); math.Abs(got-float64(l.Bias[c])) > 1e-4*math.Abs(float64(l.Bias[c]))+float64(sx)*float64(s[c]) {
			t.Errorf("bias %d stands for %v, wanted %v", c, got, l.Bias[c])
		}
	}
	q := RoundNearest(l, s)
	if err := CheckOverflow(q, 2, 3, b, U8, 128); err != nil {
		t.Error(err)
	}
	// Factors: brought into range from both sides.
	sw := []float32{1e-30, 0.01}
	RaiseScales(sx, sw, 0.05)
	for c, m := range Mults(sx, sw, 0.05) {
		if m < MinMult || m >= MaxMult {
			t.Errorf("factor %d is %v", c, m)
		}
	}
	if sy := FitOutScale(1, []float32{1}, 1e-5); Mult(1, 1, sy) >= MaxMult || Mult(1, 1, sy) < MaxMult/4 {
		t.Errorf("result scale %v", sy)
	}
}

func TestCheckOverflow(t *testing.T) {
	k := 70000
	q := make([]int8, k)
	for i := range q {
		q[i] = 127
	}
	if CheckOverflow(q, k, 1, nil, U8, 0) == nil {
		t.Error("70000·127·255 is said to fit")
	}
	if err := CheckOverflow(q[:60000], 60000, 1, nil, U8, 0); err != nil {
		t.Error(err)
	}
	if CheckOverflow(q[:60000], 60000, 1, []int32{1 << 30}, U8, 0) == nil {
		t.Error("the bias is left out")
	}
}

// correlated makes inputs with strong correlations and a mean, as activations
// have.
func correlated(r *rand.Rand, rows, k int) []float32 {
	mix := normals(r, k*8, 1)
	x := make([]float32, rows*k)
	for i := range rows {
		z := normals(r, 8, 1)
		for j := range k {
			v := float64(r.NormFloat64())*0.2 + 0.5
			for a := range 8 {
				v += float64(mix[j*8+a] * z[a])
			}
			x[i*k+j] = float32(max(v, 0))
		}
	}
	return x
}

// outputError is the mean squared error of the rounded layer on x, by running
// it.
func outputError(l *Layer, q []int8, s, bias, x []float32) float64 {
	rows := len(x) / l.K
	e := 0.0
	for r := range rows {
		for c := range l.N {
			d := float64(bias[c] - l.Bias[c])
			for k := range l.K {
				i := k*l.N + c
				d += float64(x[r*l.K+k]) * (float64(q[i])*float64(s[c]) - float64(l.W[i]))
			}
			e += d * d
		}
	}
	return e / float64(rows*l.N)
}

func TestSecondOrderRounding(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, k := range []int{9, 100} { // below and above smallK and a block
		l := &Layer{K: k, N: 12, Groups: 1, W: normals(r, k*12, 0.1), Bias: normals(r, 12, 1)}
		train := correlated(r, 2000, k)
		m := NewMoments(k, 1)
		for r := 0; r < 1000; r += 50 {
			if err := m.Add(0, 50, train[r*k:(r+50)*k]); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Finish(); err != nil {
			t.Fatal(err)
		}
		held := train[1000*k:]
		s := WeightScales(l, 0.01)
		for c := range s {
			s[c] *= 8 // 4 bit: rounding matters
		}
		near := RoundNearest(l, s)
		errNear := outputError(l, near, s, m.CorrectedBias(l, near, s), held)
		if plain := outputError(l, near, s, l.Bias, held); errNear > plain {
			t.Errorf("K=%d: bias correction raises the error from %v to %v", k, plain, errNear)
		}
		gptq, err := GPTQ(l, s, m, RoundOptions{})
		if err != nil {
			t.Fatal(err)
		}
		errGPTQ := outputError(l, gptq, s, m.CorrectedBias(l, gptq, s), held)
		polished, err := GPTQ(l, s, m, RoundOptions{Polish: 3, Damp: 1e-3})
		if err != nil {
			t.Fatal(err)
		}
		a, _ := m.Error(l, polished, s)
		fed, err := GPTQ(l, s, m, RoundOptions{Damp: 1e-3})
		if err != nil {
			t.Fatal(err)
		}
		b, _ := m.Error(l, fed, s)
		if a > b*1.02 { // polish counts the damping too
			t.Errorf("K=%d: polish raises the error from %v to %v", k, b, a)
		}
		ada, err := RoundAdaptively(l, s, m, RoundOptions{Iters: 600, Polish: 2})
		if err != nil {
			t.Fatal(err)
		}
		errAda := outputError(l, ada, s, m.CorrectedBias(l, ada, s), held)
		t.Logf("K=%d: nearest %.3g, GPTQ %.3g, AdaRound %.3g", k, errNear, errGPTQ, errAda)
		if errGPTQ > 0.85*errNear || errAda > 0.85*errNear {
			t.Errorf("K=%d: nearest %v, GPTQ %v, AdaRound %v", k, errNear, errGPTQ, errAda)
		}
	}
}

func TestGPTQDiagonal(t *testing.T) {
	// Uncorrelated inputs: nothing to feed forward, GPTQ is nearest rounding.
	l := &Layer{K: 4, N: 3, Groups: 1, W: normals(rand.New(rand.NewPCG(1, 1)), 12, 1)}
	m := NewMoments(4, 1)
	for i := range 4 {
		x := make([]float32, 4)
		x[i] = 2
		_ = m.Add(0, 1, x)
		x[i] = -2
		_ = m.Add(0, 1, x)
	}
	s := WeightScales(l, 1)
	q, err := GPTQ(l, s, m, RoundOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(q, RoundNearest(l, s)) {
		t.Error("GPTQ on uncorrelated inputs is not nearest rounding")
	}
}

// A depthwise layer is as many layers of one column.
func TestGroups(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	l := &Layer{K: 9, N: 3, Groups: 3, W: normals(r, 27, 1), Bias: normals(r, 3, 1)}
	m := NewMoments(9, 3)
	s := WeightScales(l, 0.01)
	for c := range s {
		s[c] *= 6
	}
	var want []int8
	for g := range 3 {
		x := correlated(r, 500, 9)
		if err := m.Add(g, 500, x); err != nil {
			t.Fatal(err)
		}
		one := &Layer{K: 9, N: 1, Groups: 1, Bias: l.Bias[g : g+1]}
		for k := range 9 {
			one.W = append(one.W, l.W[k*3+g])
		}
		mo := NewMoments(9, 1)
		_ = mo.Add(0, 500, x)
		q, err := GPTQ(one, s[g:g+1], mo, RoundOptions{Polish: 1})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, q...)
	}
	q, err := GPTQ(l, s, m, RoundOptions{Polish: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range q {
		if w := want[i%3*9+i/3]; v != w {
			t.Fatalf("weight %d is %d, alone %d", i, v, w)
		}
	}
}

func TestTables(t *testing.T) {
	in, out := Affine(-4, 4, U8), Affine(-1, 1, S8)
	tab := Table(in, out, func(x []float64) []float64 {
		y := make([]float64, len(x))
		for i, v := range x {
			y[i] = math.Tanh(v)
		}
		return y
	}).S8()
	for i, v := range tab {
		want := math.Tanh(in.Real(int32(i)))
		if math.Abs(out.Real(int32(v))-want) > float64(out.Scale)/2*1.001 {
			t.Fatalf("entry %d stands for %v, wanted %v", i, out.Real(int32(v)), want)
		}
	}
	for _, k := range []int{1, 2, 1000, 65536} {
		e := ExpTable(0.05, k).I32()
		if e[0] <= 0 || int64(e[0])*int64(k) > 1<<30 {
			t.Errorf("k=%d: first entry %d", k, e[0])
		}
		if !slices.IsSortedFunc(e, func(a, b int32) int { return int(b) - int(a) }) {
			t.Errorf("k=%d: not falling", k)
		}
	}
}
