package latency

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
	"github.com/nasc-dev/nasc/backends/reference"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

func work(seeds ...uint64) List {
	var ws List
	for _, s := range seeds {
		g := graphgen.New(graphgen.Config{Seed: s, Quantized: true, Batch: 1})
		ws = append(ws, Work{Name: g.Name, Graph: g, In: graphgen.Inputs(g, 1)})
	}
	return ws
}

func options() Options {
	return Options{Target: cpu.Int8(), Facts: Fingerprint("test", "cpu-int8", "", 1, 1), CI: 0.5, Budget: 400 * time.Millisecond}
}

func plan(t *testing.T, w Work) backends.Planned {
	t.Helper()
	p, err := planned(w.Graph, options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// A profile measures every kernel once, goes on where a table stands, and
// predicts what it measured.
func TestProfileAndPredict(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.csv")
	ctx := context.Background()
	res, err := Profile(ctx, path, work(1, 3), options())
	if err != nil {
		t.Fatal(err)
	}
	table, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if res.Rows != len(table.Rows) || res.Measured != res.Rows || res.Rows < 5 {
		t.Errorf("%+v with %d rows in the file", res, len(table.Rows))
	}
	if _, err := os.Stat(path + ".partial"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the partial table is left: %v", err)
	}
	for _, r := range table.Rows {
		if !(r.P10 <= r.Median && r.Median <= r.P90) || r.Runs < minRuns || r.Anchor <= 0 {
			t.Errorf("row %+v", r)
		}
	}
	p, err := table.Predict(plan(t, work(1)[0]))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, n := range p.PerNode {
		sum += n.MS
	}
	if math.Abs(sum+p.Overhead-p.Total) > 1e-9 || p.Hits != len(p.PerNode) || !(p.Lo <= p.Total && p.Total <= p.Hi) || len(p.PerNode) == 0 {
		t.Errorf("prediction %+v", p)
	}

	again, err := Profile(ctx, path, work(1, 3, 5), options())
	if err != nil {
		t.Fatal(err)
	}
	if again.Measured != again.Rows-res.Rows || again.Measured == 0 {
		t.Errorf("a second profile measures %d rows and has %d, after %d", again.Measured, again.Rows, res.Rows)
	}
}

// A kernel that the table lacks is an error that names the node and the kernel.
func TestMissingKernel(t *testing.T) {
	table := &Table{}
	_, err := table.Predict(plan(t, work(1)[0]))
	if err == nil || !strings.Contains(err.Error(), "is not in the table, nor any of its kind") || !strings.Contains(err.Error(), "uniform_quantize") {
		t.Errorf("found %v", err)
	}
}

// A profile that is stopped keeps its rows, and the next one goes on.
func TestStoppedProfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.csv")
	ctx, cancel := context.WithCancel(context.Background())
	o := options()
	o.Progress = func(done, _ int) {
		if done >= 500 { // thousandths of two networks
			cancel()
		}
	}
	if _, err := Profile(ctx, path, work(1, 3), o); !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled profile gives %v", err)
	}
	part, _, err := read(path+".partial", true)
	if err != nil || len(part.Rows) == 0 {
		t.Fatalf("kept %v, %v", part, err)
	}
	res, err := Profile(context.Background(), path, work(1, 3), options())
	if err != nil {
		t.Fatal(err)
	}
	if res.Measured != res.Rows-len(part.Rows) {
		t.Errorf("%+v after %d rows kept", res, len(part.Rows))
	}
	table, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range part.Rows {
		if table.Rows[i] != r {
			t.Errorf("row %d was %+v and is %+v", i, r, table.Rows[i])
		}
	}
}

func sampleTable() []byte {
	b := header([]Fact{{"cpu", "X: \"quoted\""}, {"target", "cpu-int8"}})
	for i, k := range []string{"relu | f32[1,2] -> f32[1,2] | relu_f32", `odd "key", with = everything`, "third"} {
		b = append(b, Row{Key: k, Median: float64(i) + 0.5, P10: 0.25, P90: 3, Runs: 20, Outliers: 2, Interval: 0.0125, MACs: 5, Bytes: 1 << 40, Anchor: 7, Noisy: i == 1, Time: time.Unix(1e9, 0).UTC()}.line()...)
	}
	return b
}

// A table cut anywhere parses as a partial one with the rows that are whole,
// none doubled; a finished one that is cut or changed is refused.
func TestTornTables(t *testing.T) {
	whole := sampleTable()
	path := filepath.Join(t.TempDir(), "t.csv")
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(whole)
	full, err := Read(path)
	if err != nil || len(full.Rows) != 3 || full.Fact("cpu") != `X: "quoted"` || full.Rows[1].Key != `odd "key", with = everything` || !full.Rows[1].Noisy {
		t.Fatalf("%+v, %v", full, err)
	}
	body := bytes.Index(whole, []byte(columns)) + len(columns) + 1
	for n := body; n < len(whole); n++ {
		write(whole[:n])
		part, good, err := read(path, true)
		if err != nil {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
		if want := bytes.Count(whole[body:n], []byte("\n")); len(part.Rows) != want || int(good) > n {
			t.Fatalf("%d of %d bytes: %d rows, %d bytes good; wanted %d rows", n, len(whole), len(part.Rows), good, want)
		}
		if whole[n-1] != '\n' {
			if _, err := Read(path); err == nil {
				t.Fatalf("a finished table of %d of %d bytes is read", n, len(whole))
			}
		}
	}
	for n := body; n < len(whole)-80; n++ {
		b := bytes.Clone(whole)
		b[n] ^= 1
		write(b)
		if _, err := Read(path); err == nil {
			t.Fatalf("byte %d changed: read without an error", n)
		}
	}
	for _, text := range []string{"", "a,b\n", magic + "\n", magic + "\n# cpu\n"} {
		write([]byte(text))
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestForeignTable(t *testing.T) {
	here := Fingerprint("1", "cpu-int8", "", 1, 1)
	table := &Table{Facts: Fingerprint("1", "cpu-int8", "", 1, 1)}
	if err := table.Foreign(here); err != nil {
		t.Error(err)
	}
	if err := table.Foreign(Fingerprint("1", "cpu-int8", "", 2, 1)); err == nil || !strings.Contains(err.Error(), "threads") {
		t.Errorf("another thread count: %v", err)
	}
	path := filepath.Join(t.TempDir(), "device.csv")
	if err := os.WriteFile(path, header(table.Facts), 0o644); err != nil {
		t.Fatal(err)
	}
	o := options() // of nasc "test"
	if _, err := Profile(context.Background(), path, work(1), o); err == nil || !strings.Contains(err.Error(), "nasc") {
		t.Errorf("going on with a foreign table: %v", err)
	}
}

func TestTargetsWithoutAPlan(t *testing.T) {
	o := options()
	o.Target = reference.Target()
	if _, err := Profile(context.Background(), filepath.Join(t.TempDir(), "x.csv"), work(1), o); err == nil || !strings.Contains(err.Error(), "wanted cpu-int8 or cpu-f32") {
		t.Errorf("found %v", err)
	}
}

// Keys tell what changes a kernel's time and nothing else.
func TestKey(t *testing.T) {
	key := func(scale float32, stride int) string {
		b := ir.NewBuilder("k")
		x := b.Input("x", ir.QT(ir.U8, scale, 3, 1, 8, 8, 4))
		w := b.QConst("w", ir.NewTensor(ir.S8, 3, 3, 4, 8), &ir.Quant{Axis: -1, Scale: []float32{scale}, Zero: []int32{0}})
		m := ir.NewTensor(ir.F32, 8)
		for i := range m.F32() {
			m.F32()[i] = 0.01
		}
		y := b.Op("q_convolution", ir.Attrs{"strides": []int{stride, stride}, "out_scale": float64(scale)}, x, w, nil, b.Const("m", m))
		g, err := b.Graph(y)
		if err != nil {
			t.Fatal(err)
		}
		p, err := planned(g, options())
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		return Key(p.Steps()[0])
	}
	if a, b := key(0.5, 2), key(0.25, 2); a != b {
		t.Errorf("the scale changes the key:\n%s\n%s", a, b)
	}
	if a, b := key(0.5, 2), key(0.5, 1); a == b {
		t.Errorf("the stride does not change the key %s", a)
	}
	if k := key(0.5, 2); !strings.HasPrefix(k, "q_convolution[strides=[2,2]] | u8[1,8,8,4] w:s8[3,3,4,8]") {
		t.Errorf("key %s", k)
	}
}

func TestMedianInterval(t *testing.T) {
	x := make([]float64, 101)
	for i := range x {
		x[i] = float64(i)
	}
	if q := quantile(x, 0.5); q != 50 {
		t.Errorf("median %v", q)
	}
	if lo, hi := medianInterval(x); lo != 40 || hi != 61 {
		t.Errorf("interval %v to %v", lo, hi)
	}
}

// A profile of many networks measures them in turns: all get their rows, a
// second one has nothing left to do, and one that ends early keeps kernels.
func TestProfileInTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.csv")
	seeds := make([]uint64, manyNets+2)
	for i := range seeds {
		seeds[i] = uint64(2*i + 1)
	}
	ctx, stop := context.WithCancel(t.Context())
	o := options()
	o.Budget = 0
	o.Progress = func(done, _ int) {
		if done > 950 { // in the last visits
			stop()
		}
	}
	if _, err := Profile(ctx, path, work(seeds...), o); !errors.Is(err, context.Canceled) {
		t.Fatalf("found %v", err)
	}
	kept, _, err := read(path+".partial", true)
	if err != nil {
		t.Fatal(err)
	}
	if len(kept.Rows) < 20 {
		t.Errorf("%d rows are left of a profile that was stopped in the last visits", len(kept.Rows))
	}
	o.Progress = nil
	res, err := Profile(t.Context(), path, work(seeds...), o)
	if err != nil {
		t.Fatal(err)
	}
	if res.Networks != len(seeds) || res.Left != 0 {
		t.Errorf("%d networks of %d are in the table, %d left out", res.Networks, len(seeds), res.Left)
	}
	table, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range kept.Rows {
		if table.Rows[i] != r {
			t.Errorf("row %d was %+v and is %+v", i, r, table.Rows[i])
		}
	}
	for _, n := range table.Nets {
		if n.Runs < minRuns {
			t.Errorf("%s has %d runs", n.Name, n.Runs)
		}
	}
	again, err := Profile(t.Context(), path, work(seeds...), o)
	if err != nil || again.Measured != 0 {
		t.Errorf("again %d rows were measured, %v", again.Measured, err)
	}
}
