package f32

import (
	"testing"
	"unsafe"
)

// The offsets of gen/neon_vec.go.
func TestVectorLayout(t *testing.T) {
	var v vectorArgs
	for i, o := range []uintptr{unsafe.Offsetof(v.y), unsafe.Offsetof(v.a), unsafe.Offsetof(v.b), unsafe.Offsetof(v.p), unsafe.Offsetof(v.n)} {
		if o != uintptr(8*i) {
			t.Errorf("field %d lies at %d, gen has %d", i, o, 8*i)
		}
	}
	if unsafe.Offsetof(v.c) != 40 || unsafe.Offsetof(v.d) != 44 {
		t.Errorf("c and d lie at %d and %d, gen has 40 and 44", unsafe.Offsetof(v.c), unsafe.Offsetof(v.d))
	}
}
