package train

import (
	"context"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

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
