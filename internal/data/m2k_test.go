package data

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// idxPair writes n pictures of h×w with pixel p of picture i being i+p, and
// digits in turn.
func idxPair(t *testing.T, dir, part string, n, h, w int) {
	t.Helper()
	x := binary.BigEndian.AppendUint32(nil, 0x803)
	y := binary.BigEndian.AppendUint32(nil, 0x801)
	for _, v := range []int{n, h, w} {
		x = binary.BigEndian.AppendUint32(x, uint32(v))
	}
	y = binary.BigEndian.AppendUint32(y, uint32(n))
	for i := range n {
		for p := range h * w {
			x = append(x, byte(i+p))
		}
		y = append(y, byte(i%10))
	}
	write(t, filepath.Join(dir, part+"-images-idx3-ubyte"), x)
	write(t, filepath.Join(dir, part+"-labels-idx1-ubyte"), y)
}

func TestM2K(t *testing.T) {
	dir := t.TempDir()
	idxPair(t, dir, "train", 2500, 4, 2)
	idxPair(t, dir, "t10k", 3, 4, 2)
	s := open(t, "m2k:"+dir)
	got := labels(t, s)
	for k := range 10 {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(l int) bool { return l != k })); n != 200 {
			t.Errorf("%d pictures of %d", n, k)
		}
	}
	if slices.IsSorted(got[:10]) {
		t.Error("the classes come in order")
	}
	if again := labels(t, open(t, "m2k:"+dir)); !slices.Equal(got, again) {
		t.Error("two readings take different pictures")
	}
	test := open(t, "m2k-test:"+dir)
	if got := labels(t, test); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("test labels are %v", got)
	}
	p, err := test.Sample(2)
	if err != nil {
		t.Fatal(err)
	}
	// Rows 2 3, 4 5, 6 7, 8 9: means 3.5 and 7.5.
	if q := p.Picture; q.W != 1 || q.H != 2 || !slices.Equal(q.Pix, []byte{4, 8}) {
		t.Errorf("picture 2 is %+v", q)
	}
	idxPair(t, dir, "train", 1500, 4, 2)
	if _, err := Open("m2k:" + dir); err == nil || !strings.Contains(err.Error(), "150 training pictures of digit 0; wanted 200") {
		t.Errorf("too few: %v", err)
	}
	idxPair(t, dir, "train", 2500, 3, 2)
	if _, err := Open("m2k:" + dir); err == nil || !strings.Contains(err.Error(), "pictures of 3×2") {
		t.Errorf("odd: %v", err)
	}
}
