package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/internal/npy"
	"github.com/nasc-dev/nasc/ir"
)

func write(t *testing.T, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// idxFiles gives n pictures of 2×3 whose pixels count up, labels 0, 1, ….
func idxFiles(n int) (images, labels []byte) {
	for _, v := range []uint32{0x803, uint32(n), 2, 3} {
		images = binary.BigEndian.AppendUint32(images, v)
	}
	for _, v := range []uint32{0x801, uint32(n)} {
		labels = binary.BigEndian.AppendUint32(labels, v)
	}
	for i := range n {
		for k := range 6 {
			images = append(images, byte(10*i+k))
		}
		labels = append(labels, byte(i))
	}
	return images, labels
}

func open(t *testing.T, arg string) Source {
	t.Helper()
	s, err := Open(arg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func labels(t *testing.T, s Source) []int {
	t.Helper()
	var out []int
	for i := range s.Len() {
		x, err := s.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, x.Label)
	}
	return out
}

func TestIDX(t *testing.T) {
	dir := t.TempDir()
	x, y := idxFiles(4)
	write(t, filepath.Join(dir, "train-images-idx3-ubyte"), x)
	write(t, filepath.Join(dir, "train-labels-idx1-ubyte.gz"), zipped(t, y))
	x2, y2 := idxFiles(2)
	write(t, filepath.Join(dir, "t10k-images-idx3-ubyte.gz"), zipped(t, x2))
	write(t, filepath.Join(dir, "t10k-labels-idx1-ubyte"), y2)
	if got := labels(t, open(t, "mnist:"+dir)); !slices.Equal(got, []int{0, 1, 2, 3, 0, 1}) {
		t.Errorf("training and test labels are %v", got)
	}
	s := open(t, "idx:"+filepath.Join(dir, "train-images-idx3-ubyte")+","+filepath.Join(dir, "train-labels-idx1-ubyte.gz")+"[1:3]")
	if got := labels(t, s); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("[1:3] gives %v", got)
	}
	p, err := s.Sample(1)
	if err != nil {
		t.Fatal(err)
	}
	if w := (Picture{W: 3, H: 2, C: 1, Pix: []byte{20, 21, 22, 23, 24, 25}}); p.Picture.W != w.W || p.Picture.H != w.H || !bytes.Equal(p.Picture.Pix, w.Pix) {
		t.Errorf("picture 2 is %+v, wanted %+v", p.Picture, w)
	}
}

func TestCIFAR(t *testing.T) {
	rec := make([]byte, 2*(1+3*1024))
	rec[0], rec[3073] = 7, 3
	rec[1], rec[1+1024], rec[1+2048] = 11, 12, 13 // first pixel, red then green then blue
	path := write(t, filepath.Join(t.TempDir(), "c.bin.gz"), zipped(t, rec))
	s := open(t, "cifar10:"+path)
	if got := labels(t, s); !slices.Equal(got, []int{7, 3}) {
		t.Errorf("labels are %v", got)
	}
	x, err := s.Sample(0)
	if err != nil || !bytes.Equal(x.Picture.Pix[:6], []byte{11, 12, 13, 0, 0, 0}) {
		t.Errorf("the first pixels are %v (%v)", x.Picture.Pix[:6], err)
	}
}

// A sample is the same for a seed, differs between seeds, and keeps the order of the set.
func TestSelection(t *testing.T) {
	index := func(arg string) []int { return open(t, arg).(*part).index }
	a, b := index("digits?seed=7&n=100"), index("digits?seed=7&n=100")
	if !slices.Equal(a, b) || len(a) != 100 || !slices.IsSorted(a) {
		t.Errorf("seed 7 gives %v and %v", a, b)
	}
	if slices.Equal(a, index("digits?seed=8&n=100")) {
		t.Error("seeds 7 and 8 give the same sample")
	}
	for _, i := range index("digits[100:200]?seed=1&n=20") {
		if i < 100 || i >= 200 {
			t.Errorf("sample %d is outside the range", i)
		}
	}
	if n := len(index("digits")); n != 1797 {
		t.Errorf("digits has %d samples", n)
	}
	if n := len(index("digits[1790:]")); n != 7 {
		t.Errorf("digits[1790:] has %d samples", n)
	}
}

func TestNPY(t *testing.T) {
	dir := t.TempDir()
	x, y, m := filepath.Join(dir, "x.npy"), filepath.Join(dir, "y.npy"), filepath.Join(dir, "m.npy")
	for path, v := range map[string]*ir.Tensor{
		x: ir.From([]float64{1, 2, 3, 4, 5, 6}, 3, 2), y: ir.From([]int64{2, 0, 1}, 3), m: ir.From([]int64{1, 0, 1, 1, 0, 0}, 3, 2),
	} {
		if err := npy.Write(path, v); err != nil {
			t.Fatal(err)
		}
	}
	if got := labels(t, open(t, "npy:"+x+","+y)); !slices.Equal(got, []int{2, 0, 1}) {
		t.Errorf("labels are %v", got)
	}
	b := ir.NewBuilder("g")
	a := b.Input("a", ir.T(ir.F32, ir.Batch, 2))
	k := b.Input("mask", ir.T(ir.I64, ir.Batch, 2))
	g, err := b.Graph(a, k)
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFeed(open(t, "npy:a="+x+",mask="+m+",labels="+y), g.Inputs, nil)
	if err != nil {
		t.Fatal(err)
	}
	in, class, err := f.Labelled(1)
	if err != nil || class != 0 || !ir.SameData(in[0], ir.From([]float32{3, 4}, 1, 2)) || !ir.SameData(in[1], ir.From([]int64{1, 1}, 1, 2)) {
		t.Errorf("sample 1 is %v, class %d (%v)", in, class, err)
	}
	first, err := f.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := f.Digest(); err != nil || again != first {
		t.Errorf("digests %s and %s (%v)", first, again, err)
	}
	if _, err := NewFeed(open(t, "npy:b="+x), g.Inputs, nil); err == nil || !strings.Contains(err.Error(), "nothing for input a") {
		t.Errorf("an input that is missing: %v", err)
	}
	if _, err := NewFeed(open(t, "npy:a="+x+",c="+m), g.Inputs, nil); err == nil || !strings.Contains(err.Error(), "inputs that the model has not: c; wanted a f32[N,2], mask i64[N,2], and labels") {
		t.Errorf("an input too many: %v", err)
	}
	if err := npy.Write(x, ir.From([]float64{1, math.Inf(-1), 3, math.NaN(), 5, 6}, 3, 2)); err != nil {
		t.Fatal(err)
	}
	if f, err = NewFeed(open(t, "npy:a="+x+",mask="+m), g.Inputs, nil); err != nil { // an infinite number may be meant
		t.Fatal(err)
	}
	if _, err := f.At(1); err == nil || !strings.Contains(err.Error(), "sample 1, input a: element 1 is NaN; wanted numbers") {
		t.Errorf("data that is no number: %v", err)
	}
	if _, err := NewFeed(open(t, "npy:"+y), g.Inputs, nil); err == nil || !strings.Contains(err.Error(), "wanted [N, 2]") && !strings.Contains(err.Error(), "wanted [N,2]") {
		t.Errorf("a wrong shape: %v", err)
	}
}

// checker is a picture of 4×2 pixels: red, green, blue, white over gray steps.
func checker() image.Image {
	m := image.NewRGBA(image.Rect(0, 0, 4, 2))
	for x, c := range []color.RGBA{{255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {255, 255, 255, 255}} {
		m.SetRGBA(x, 0, c)
		g := uint8(60 * x)
		m.SetRGBA(x, 1, color.RGBA{g, g, g, 255})
	}
	return m
}

func TestPictures(t *testing.T) {
	dir := t.TempDir()
	var b bytes.Buffer
	if err := png.Encode(&b, checker()); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a.png"), b.Bytes())
	tsv := write(t, filepath.Join(dir, "labels.tsv"), []byte("file\tclass\r\na.png\t5\r\n# a remark\na.png\t6"))
	s := open(t, "images:"+tsv)
	if got := labels(t, s); !slices.Equal(got, []int{5, 6}) {
		t.Errorf("labels are %v", got)
	}
	if got := labels(t, open(t, "images:"+dir)); !slices.Equal(got, []int{-1}) {
		t.Errorf("a folder's labels are %v", got)
	}
	x, err := s.Sample(0)
	if err != nil {
		t.Fatal(err)
	}
	// The centre 2×2 of 4×2, (x/255 − 0.5)/0.25, planes of blue, green, red.
	in, err := x.Picture.Input(&nascfile.Preprocess{Layout: "nchw", Order: "bgr", Height: 2, Width: 2, Scale: 1.0 / 255, Mean: []float64{0.5, 0.5, 0.5}, Std: []float64{0.25}})
	if err != nil {
		t.Fatal(err)
	}
	g1, g2 := float32((60.0/255-0.5)/0.25), float32((120.0/255-0.5)/0.25)
	want := []float32{-2, 2, g1, g2, 2, -2, g1, g2, -2, -2, g1, g2}
	if !slices.EqualFunc(in.F32(), want, func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-6 }) || !in.Shape.Equal(ir.Shape{3, 2, 2}) {
		t.Errorf("the input is %v %v, wanted %v", in.Shape, in.F32(), want)
	}
	// Gray, NHWC: PIL's luma of pure red, green, blue.
	in, err = x.Picture.Input(&nascfile.Preprocess{Layout: "nhwc", Order: "gray", Height: 2, Width: 4, Scale: 1})
	if err != nil || !slices.Equal(in.F32()[:4], []float32{76, 150, 29, 255}) {
		t.Errorf("gray is %v (%v)", in, err)
	}
	// Smaller than the crop: resized first, aspect kept, constant areas stay.
	flat := &Picture{W: 3, H: 2, C: 1, Pix: bytes.Repeat([]byte{77}, 6)}
	in, err = flat.Input(&nascfile.Preprocess{Layout: "nhwc", Order: "gray", Height: 8, Width: 8, Scale: 1})
	if err != nil || slices.ContainsFunc(in.F32(), func(v float32) bool { return v != 77 }) {
		t.Errorf("a flat picture resized is %v (%v)", in, err)
	}
	if _, err := flat.Input(&nascfile.Preprocess{Layout: "nhwc", Order: "gray", Resize: 4, Height: 8, Width: 4, Scale: 1}); err != nil {
		t.Errorf("a resize below the crop takes the crop's size: %v", err)
	}
}

func TestAssume(t *testing.T) {
	for _, c := range []struct {
		shape  ir.Shape
		layout string
		order  string
		h, w   int
	}{
		{ir.Shape{ir.Batch, 3, 224, 192}, "nchw", "rgb", 224, 192},
		{ir.Shape{ir.Batch, 224, 192, 3}, "nhwc", "rgb", 224, 192},
		{ir.Shape{ir.Batch, 1, 28, 28}, "nchw", "gray", 28, 28},
		{ir.Shape{ir.Batch, 8, 8, 1}, "nhwc", "gray", 8, 8},
		{ir.Shape{ir.Batch, 5, 7, 9}, "", "", 0, 0},
		{ir.Shape{ir.Batch, 128}, "", "", 0, 0},
	} {
		p := Assume(ir.T(ir.F32, c.shape...))
		if c.layout == "" {
			if p != nil {
				t.Errorf("%v: %+v, wanted no picture", c.shape, p)
			}
			continue
		}
		if p == nil || p.Layout != c.layout || p.Order != c.order || p.Height != c.h || p.Width != c.w || !p.Assumed {
			t.Errorf("%v: %+v, wanted %s %s %d×%d", c.shape, p, c.layout, c.order, c.h, c.w)
			continue
		}
		if err := p.Check(); err != nil {
			t.Errorf("%v: %v", c.shape, err)
		}
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	x, y := idxFiles(3)
	ix, iy := write(t, filepath.Join(dir, "x.idx"), x), write(t, filepath.Join(dir, "y.idx"), y)
	short := write(t, filepath.Join(dir, "short.idx"), x[:len(x)-1])
	tsv := write(t, filepath.Join(dir, "l.tsv"), []byte("a.png\t1\nb.png\tx\n"))
	huge := write(t, filepath.Join(dir, "huge.npy"), []byte("\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 536870912000), }\n\n"))
	one := filepath.Join(dir, "one.npy")
	if err := npy.Write(one, ir.From([]float32{1, 2}, 2)); err != nil {
		t.Fatal(err)
	}
	gz := write(t, filepath.Join(dir, "bad.bin.gz"), []byte("no gzip"))
	cut := write(t, filepath.Join(dir, "cut.png"), []byte("\x89PNG\r\n\x1a\n"))
	for _, c := range []struct{ arg, want string }{
		{"digit", `"digit"; wanted digits, mnist:DIR`},
		{"digits:x", "wanted digits alone"},
		{"digits[3:2]", `range end "2"; wanted a whole number from 3 on`},
		{"digits[-1:2]", `range start "-1"; wanted a whole number from 0 on`},
		{"digits[5]", "a range without :"},
		{"digits5]", "a ] without ["},
		{"digits[5:5]", "no samples"},
		{"digits[2000:]", "a range from 2000; wanted less than 1797"},
		{"digits?n=0", "n=0; wanted 1 to 1797"},
		{"digits?n=9999", "n=9999; wanted 1 to 1797"},
		{"digits?seed=x", "seed=x"},
		{"digits?sed=1", `option "sed"`},
		{"idx:" + ix, "wanted idx:IMAGES,LABELS"},
		{"idx:" + iy + "," + ix, "no idx header of pictures"},
		{"idx:" + ix + "," + ix, "no idx header of labels"},
		{"idx:" + short + "," + iy, "as many bytes and labels"},
		{"mnist:" + dir, "train-images-idx3-ubyte: no such file or directory; wanted a folder of MNIST's four files"},
		{"cifar10:" + ix, "wanted records of 3073"},
		{"cifar10:" + gz, "bad.bin.gz: unexpected EOF"},
		{"images:" + tsv, "l.tsv:2: "},
		{"images:" + filepath.Join(dir, "none.tsv"), "no such file"},
		{"npy:" + huge, "the file is cut short"},
		{"npy:labels=" + huge, "the file is cut short"},
		{"npy:a=" + one + ",b=" + one + "," + one, "a third file without a name: " + one + "; wanted npy:NAME=A.npy,NAME=B.npy,labels=Y.npy"},
		{"npy:a=" + one + ",a=" + one, "a second file for a; wanted one for each input"},
	} {
		if _, err := Open(c.arg); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.arg) {
			t.Errorf("%s: %v; wanted an error with the argument and %q", c.arg, err, c.want)
		}
	}
	if _, err := ReadPicture(cut); err == nil || !strings.Contains(err.Error(), "cut.png: no picture that can be read") {
		t.Errorf("a cut picture: %v", err)
	}
}

// A number that an integer input does not hold is refused, not cut off.
func TestConvertKeepsNumbers(t *testing.T) {
	for _, c := range []struct {
		to   ir.DType
		x    float32
		fail string
	}{
		{ir.I64, -3, ""},
		{ir.I64, 1.5, "element 0 is 1.5; wanted whole numbers that i64 holds"},
		{ir.U8, 300, "element 0 is 300; wanted whole numbers that u8 holds"},
		{ir.U8, -1, "element 0 is -1"},
		{ir.F32, 0.5, ""},
		{ir.F64, 0.1, ""},
	} {
		y, err := Convert(ir.From([]float32{c.x}, 1), c.to)
		switch {
		case c.fail == "" && (err != nil || y.DType != c.to || y.At(0) != float64(c.x)):
			t.Errorf("%v as %v: %v, %v", c.x, c.to, y, err)
		case c.fail != "" && (err == nil || !strings.Contains(err.Error(), c.fail)):
			t.Errorf("%v as %v: %v", c.x, c.to, err)
		}
	}
}
