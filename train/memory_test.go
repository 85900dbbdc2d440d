package train

import (
	"context"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nasc-dev/nasc/ir"
)

// A container's limit counts, of either version and of groups above, and what
// the kernel can drop is free.
func TestLeftToGroups(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	root := fstest.MapFS{
		"memory.max": file("max"), "memory.current": file("900"),
		"a/memory.max": file("5000"), "a/memory.current": file("2000"), "a/memory.stat": file("anon 7\ninactive_file 300\nslab 9"),
		"a/b/memory.max": file("9000"), "a/b/memory.current": file("1500"),
		"memory/memory.limit_in_bytes": file("9223372036854771712"), "memory/memory.usage_in_bytes": file("1000"),
		"memory/c/memory.limit_in_bytes": file("800"), "memory/c/memory.usage_in_bytes": file("900"),
	}
	for groups, want := range map[string]int64{
		"0::/a/b\n":                3300,
		"0::/\n":                   math.MaxInt64,
		"3:cpu:/x\n4:memory:/c\n":  1, // more than there is: 0 stands for not known
		"4:memory:/gone\n0::/a\n":  3300,
		"2:memory:/\nnot a line\n": 9223372036854770712,
		"":                         math.MaxInt64,
	} {
		if got := leftToGroups(root, groups); got != want {
			t.Errorf("%q leaves %d, wanted %d", groups, got, want)
		}
	}
}

// TestTeacherMemory: a teacher's weights and results count before it is
// compiled: what is room enough for the student alone is refused with it, and
// the message says whose the bytes are.
func TestTeacherMemory(t *testing.T) {
	b := ir.NewBuilder("wide")
	x := b.Op("reshape", ir.Attrs{"shape": ir.Shape{ir.Batch, 64}}, b.Input("x", ir.T(ir.F32, ir.Batch, 8, 8, 1)))
	h := b.Op("relu", nil, b.Op("dot", nil, x, b.Const("in", ir.NewTensor(ir.F32, 64, 2048))))
	h = b.Op("relu", nil, b.Op("dot", nil, h, b.Const("mid", ir.NewTensor(ir.F32, 2048, 2048))))
	wide, err := b.Graph(b.Op("dot", nil, h, b.Const("out", ir.NewTensor(ir.F32, 2048, 10))))
	if err != nil {
		t.Fatal(err)
	}
	const free = 20 << 20
	j := student(t, "logits")
	j.free = free
	if _, err := j.Run(context.Background()); err != nil {
		t.Fatalf("a teacher as small as the student: %v", err)
	}
	j = student(t, "logits")
	j.free, j.Teacher = free, &Teacher{Graph: wide}
	_, err = j.Run(context.Background())
	for _, w := range []string{"memory", "of them the teacher", "a smaller teacher"} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("a teacher of 17 MB of weights and %d bytes free: %v; wanted an error with %q", free, err, w)
		}
	}
	if j.teach != nil {
		t.Error("the teacher was compiled before its memory was looked at")
	}
	j.free = 80 << 20
	if _, err := j.Run(context.Background()); err != nil {
		t.Errorf("room for both: %v", err)
	}
}

// TestAlive: values are held from their node to their last reader.
func TestAlive(t *testing.T) {
	g, err := ir.ParseGraph("t.ir", `const @w: f32[8,8] = normal(1,1)
graph @main(%x: f32[2,8]) {
  %a = dot %x @w
  %b = relu %a
  %c = relu %b
  %d = add %c %a
  return %d
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := alive(g); got != 3*2*8*4 { // a, c and what is computed from them
		t.Errorf("%d bytes are alive at a time, wanted %d", got, 3*2*8*4)
	}
}
