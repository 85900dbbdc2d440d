package latency

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Rows that a new device has not measured are carried over as the shared ones
// changed, marked as not measured, and predict.
func TestAdapt(t *testing.T) {
	a := &Table{Facts: Fingerprint("1", "cpu-int8", "", 1, 1)}
	facts := Fingerprint("1", "cpu-int8", "", 2, 1)
	path := filepath.Join(t.TempDir(), "b.csv")
	b := header(facts)
	r := rand.New(rand.NewPCG(5, 6))
	faster := func(t float64) float64 { return 1.5 + t*0.55 }
	want := map[string]float64{}
	for i := range 150 {
		row, us := conv(7<<r.IntN(3), 16+8*r.IntN(40), 16+8*r.IntN(40))
		if _, ok := a.Find(row.Key); ok {
			continue
		}
		row.Median = us + 20
		if err := a.add(row); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			row.Median = faster(row.Median)
			b = append(b, row.line()...)
		} else {
			want[row.Key] = faster(row.Median)
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	res, err := a.Adapt(t.Context(), path, facts)
	if err != nil {
		t.Fatal(err)
	}
	table, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if res.Carried != len(want) || len(table.Rows) != len(a.Rows) || res.Shared+res.Carried != len(a.Rows) {
		t.Fatalf("%+v with %d rows of %d", res, len(table.Rows), len(a.Rows))
	}
	for key, w := range want {
		row, _ := table.Find(key)
		_, source, ok := table.kernelTime(key, row.MACs, row.Bytes)
		if row.Runs != 0 || !ok || source != Modelled || math.Abs(row.Median/w-1) > 0.05 {
			t.Errorf("%s: %+v (%s), wanted %.2f", key, row, source, w)
		}
	}
	again, err := a.Adapt(t.Context(), path, facts)
	if err != nil || again.Carried != 0 {
		t.Errorf("a second time carries %+v, %v", again, err)
	}
}

// Ten networks are enough to learn how families change.
func TestScale(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	draw := func() (map[string]float64, float64) {
		s := map[string]float64{"conv": 1 + 4*r.Float64(), "pool": r.Float64(), "dense": 0.1 + r.Float64()/2}
		return s, 0.3*s["conv"] + 0.9*s["pool"] + 0.5*s["dense"] + 0.05
	}
	var sums []map[string]float64
	var times []float64
	for range 10 {
		s, m := draw()
		sums, times = append(sums, s), append(times, m)
	}
	scale, err := FitScale(sums, times)
	if err != nil {
		t.Fatal(err)
	}
	var p, m []float64
	for range 200 {
		s, v := draw()
		p, m = append(p, scale.Predict(s)), append(m, v)
	}
	if a := Compare(p, m); a.Spearman < 0.98 || a.MAPE > 0.05 {
		t.Errorf("%+v", a)
	}
	if _, err := FitScale(nil, nil); err == nil {
		t.Error("no samples are taken")
	}
}

// The samples chosen tell about every family: a few that differ, not many alike.
func TestChooseSamples(t *testing.T) {
	sums := []map[string]float64{{"a": 1, "b": 1}, {"a": 1, "b": 1.01}, {"a": 4, "b": 1}, {"a": 1.01, "b": 1}, {"a": 1, "b": 5}, {"a": 0.1, "b": 0.1}}
	got := ChooseSamples(sums, 3)
	slices.Sort(got)
	if !slices.Equal(got, []int{2, 4, 5}) {
		t.Errorf("chosen %v", got)
	}
	if got := ChooseSamples(sums, 9); len(got) != len(sums) {
		t.Errorf("of %d networks %v are chosen", len(sums), got)
	}
}

func TestCompare(t *testing.T) {
	a := Compare([]float64{1, 2.08, 2.8, 4}, []float64{1, 2, 3, 5})
	if a.N != 4 || a.Within5 != 0.5 || math.Abs(a.Within10-0.75) > 1e-12 || math.Abs(a.Spearman-1) > 1e-12 || a.Kendall != 1 {
		t.Errorf("%+v", a)
	}
	if a = Compare([]float64{3, 2, 1}, []float64{1, 2, 3}); math.Abs(a.Spearman+1) > 1e-12 || a.Kendall != -1 {
		t.Errorf("%+v", a)
	}
	if a = Compare([]float64{1, 1, 1}, []float64{1, 2, 3}); a.Spearman != 0 || a.Kendall != 0 {
		t.Errorf("%+v", a)
	}
	// One swap of neighbours in five: ρ = 1 − 6·2/(5·24), τ = (9 − 1)/10.
	if a = Compare([]float64{1, 3, 2, 4, 5}, []float64{1, 2, 3, 4, 5}); math.Abs(a.Spearman-0.9) > 1e-12 || math.Abs(a.Kendall-0.8) > 1e-12 {
		t.Errorf("%+v", a)
	}
}

// Networks are chosen whose kernels take most of the time: the two kinds that
// differ, then sizes in between; another seed leaves others out.
func TestRepresentatives(t *testing.T) {
	table := &Table{}
	row := map[string]int{}
	use := func(hw, in, out, n int) Use {
		r, us := conv(hw, in, out)
		if _, ok := row[r.Key]; !ok {
			row[r.Key] = len(table.Rows)
			table.addKernel(r)
		}
		return Use{Row: row[r.Key], N: n, Time: us}
	}
	add := func(name string, uses ...Use) {
		t.Helper()
		if err := table.add(Row{Key: netKey(name, uses), Median: 1, Runs: 9}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 9 { // alike: most of their time is in one kernel
		add("a/"+string(rune('0'+i)), use(56, 128, 128, 4), use(14, 16+8*i, 16, 1))
	}
	for i := range 9 {
		add("b/"+string(rune('0'+i)), use(7, 512, 512, 9), use(14, 16, 24+8*i, 1))
	}
	add("c/0", use(28, 320, 320, 9))
	add("c/0", use(28, 320, 320, 9)) // measured again
	all := func(string) bool { return true }
	got := table.Representatives(all, 2, 1)
	kinds := map[byte]bool{}
	for _, n := range got {
		kinds[n[0]] = true
	}
	if len(got) != 2 || !kinds['a'] || !kinds['b'] {
		t.Errorf("of two kinds %v", got)
	}
	if again := table.Representatives(all, 2, 1); !slices.Equal(again, got) {
		t.Errorf("%v, then %v", got, again)
	}
	differ := false
	for seed := range uint64(8) {
		differ = differ || !slices.Equal(table.Representatives(all, 6, seed), table.Representatives(all, 6, 1))
	}
	if !differ {
		t.Error("all seeds choose the same")
	}
	every := table.Representatives(all, 99, 1)
	slices.Sort(every)
	if len(every) != 19 || len(slices.Compact(every)) != 19 {
		t.Errorf("of 19 networks %v", every)
	}
	only := table.Representatives(func(n string) bool { return n[0] == 'b' }, 20, 1)
	if len(only) != 9 || slices.ContainsFunc(only, func(n string) bool { return n[0] != 'b' }) {
		t.Errorf("of those of b %v", only)
	}
}
