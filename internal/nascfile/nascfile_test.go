package nascfile

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"unsafe"

	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

func sample() (*ir.Module, *Manifest) {
	return &ir.Module{Graphs: []*ir.Graph{graphgen.New(graphgen.Config{Seed: 5, Quantized: true})}}, &Manifest{
		Producer: "nasc test", Source: `a "b"\c.onnx`, SourceSHA256: "00ff", Target: "cpu-int8", Passes: []string{"fold-bn", "quantize"},
		Calibration: Calibration{Data: "digits[0:100]", Samples: 100, Digest: "abc", Method: "mse"},
		Preprocess:  &Preprocess{Layout: "nchw", Order: "rgb", Height: 224, Width: 224, Scale: 1.0 / 255, Mean: []float64{0.485, 0.456, 1}, Std: []float64{0.229}, Assumed: true},
		Labels:      []string{"zero\n", "één", ""},
		Notes:       map[string]string{"tune.conv 1": "avx2"},
		Tuned:       Tuned{Device: "AMD EPYC family 26 model 2", Kernels: map[string]string{"conv 1": "gemm_8x48"}},
	}
}

func encode(t *testing.T) []byte {
	t.Helper()
	m, man := sample()
	var b bytes.Buffer
	if err := Encode(&b, m, man); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	m, man := sample()
	dir := t.TempDir()
	path := filepath.Join(dir, "m.nasc")
	if err := Write(path, m, man); err != nil {
		t.Fatal(err)
	}
	onDisk, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(onDisk, encode(t)) {
		t.Errorf("writing twice gives different bytes (%v)", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(f *File) {
		t.Helper()
		if f.Module.String() != m.String() {
			t.Error("the graphs differ")
		}
		for i, c := range m.Constants() {
			if !ir.SameData(f.Module.Constants()[i].Const, c.Const) {
				t.Errorf("constant %v differs", c)
			}
		}
		if !reflect.DeepEqual(f.Manifest, man) {
			t.Errorf("the manifest is\n%+v, wrote\n%+v", f.Manifest, man)
		}
	}
	check(f)
	for _, n := range f.Module.Tensors() {
		if w, ok := n.Tensor.Data.([]float32); ok && len(w) > 0 && uintptr(unsafe.Pointer(&w[0]))%alignment != 0 {
			t.Errorf("%s does not lie at a multiple of %d bytes", n.Name, alignment)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	g, err := OpenFS(fstest.MapFS{"m.nasc": {Data: onDisk}}, "m.nasc")
	if err != nil {
		t.Fatal(err)
	}
	check(g)
}

// Cut and damaged files are errors that name the file, never panics or other models.
func TestDamage(t *testing.T) {
	whole := encode(t)
	for n := 0; n < len(whole); n += 1 + len(whole)/997 {
		if _, err := Decode("m.nasc", whole[:n]); err == nil || !strings.Contains(err.Error(), "m.nasc") {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	want, err := Decode("m.nasc", whole)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(whole); i += 1 + len(whole)/1499 {
		b := bytes.Clone(whole)
		b[i] ^= 0x41
		if f, err := Decode("m.nasc", b); err == nil && f.Module.String() != want.Module.String() {
			t.Fatalf("byte %d changed: another model is read without an error", i)
		}
	}
}

func TestManifestErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "no format version"},
		{"format = 4", "update nasc"},
		{"format = 0", "1 or more"},
		{"format = 1\nlabels = 3", "a list"},
		{"format = 1\nlabels = [1]", "a string"},
		{"format = 1\nformat = 1", "twice"},
		{"format = 1\n[a]\n[a]", "twice"},
		{"format = 1\nx = \"a", "does not end"},
		{"format = 1\nx = \"\\q\"", "unknown escape"},
		{"format = 1\nx = [[1]]", "flat"},
		{"format = 1\nx = nan?", "wanted a string"},
		{"format = 1 2", "end of the line"},
		{"= 1", "wanted a key"},
	} {
		if _, err := decodeManifest("m.toml", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v; wanted an error with %q", c.text, err, c.want)
		}
	}
}

// A write that cannot finish leaves the old file and no temporary one.
func TestInterruptedWrite(t *testing.T) {
	m, man := sample()
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "none", "m.nasc"), m, man); err == nil {
		t.Error("a folder that is not there is not refused")
	}
	sub := filepath.Join(dir, "m.nasc")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(sub, m, man); err == nil {
		t.Error("a folder is overwritten")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// full is a disk with room for n bytes.
type full struct{ n int }

func (f *full) Write(b []byte) (int, error) {
	if len(b) > f.n {
		return f.n, syscall.ENOSPC
	}
	f.n -= len(b)
	return len(b), nil
}

// Wherever the disk fills up, the write fails.
func TestFullDisk(t *testing.T) {
	m, man := sample()
	size := len(encode(t))
	for n := 0; n < size; n += 1 + size/499 {
		if err := Encode(&full{n}, m, man); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("room for %d of %d bytes: %v", n, size, err)
		}
	}
	if err := Encode(&full{size}, m, man); err != nil {
		t.Errorf("room for all: %v", err)
	}
}

func TestPreprocess(t *testing.T) {
	for _, c := range []struct {
		change func(p *Preprocess)
		want   string
	}{
		{func(p *Preprocess) { p.Layout = "chwn" }, `layout: "chwn"; wanted nchw or nhwc`},
		{func(p *Preprocess) { p.Order = "" }, `order: ""; wanted rgb, bgr or gray`},
		{func(p *Preprocess) { p.Height = 1 << 40 }, "height: 1099511627776; wanted 1 to 16384"},
		{func(p *Preprocess) { p.Width = 0 }, "width: 0"},
		{func(p *Preprocess) { p.Resize = -1 }, "resize: -1"},
		{func(p *Preprocess) { p.Scale = math.NaN() }, "scale: NaN"},
		{func(p *Preprocess) { p.Mean = []float64{1, 2} }, "mean: 2 numbers; wanted 1 or 3"},
		{func(p *Preprocess) { p.Mean[0] = math.Inf(1) }, "mean: +Inf"},
		{func(p *Preprocess) { p.Std[0] = 0 }, "std: 0; wanted finite numbers; a std is not 0"},
	} {
		m, man := sample()
		c.change(man.Preprocess)
		text := man.encode(1)
		if _, err := decodeManifest("m.toml", text); err == nil || !strings.Contains(err.Error(), "m.toml: preprocess: "+c.want) {
			t.Errorf("reading: %v; wanted %q", err, c.want)
		}
		if err := Encode(&bytes.Buffer{}, m, man); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("writing: %v; wanted %q", err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	b := ir.NewBuilder("small")
	x := b.Input("x", ir.T(ir.F32, 1, 2))
	w := ir.NewTensor(ir.F32, 2, 20)
	for i := range w.F32() {
		w.F32()[i] = float32(i)
	}
	g, err := b.Graph(b.Op("dot", nil, x, b.Const("w", w)))
	if err != nil {
		f.Fatal(err)
	}
	var file bytes.Buffer
	if err := Encode(&file, &ir.Module{Graphs: []*ir.Graph{g}}, &Manifest{Target: "cpu-f32"}); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = Decode("fuzz", data) })
}

func FuzzManifest(f *testing.F) {
	_, man := sample()
	f.Add(man.encode(1))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := decodeManifest("fuzz", text)
		if err != nil {
			return
		}
		again, err := decodeManifest("fuzz", m.encode(1))
		if err != nil {
			t.Fatalf("%v\n%s", err, m.encode(1))
		}
		if !bytes.Equal(again.encode(1), m.encode(1)) {
			t.Fatalf("written and read again it is\n%s, was\n%s", again.encode(1), m.encode(1))
		}
	})
}

func TestTunedOn(t *testing.T) {
	tuned := Tuned{Device: "one", Kernels: map[string]string{"conv": "narrow"}}
	if got := tuned.On("one"); got["conv"] != "narrow" {
		t.Errorf("on its own device: %v", got)
	}
	for _, device := range []string{"another", ""} {
		if got := tuned.On(device); got != nil {
			t.Errorf("on device %q: %v; wanted its own choice", device, got)
		}
	}
}
