package cpu

import (
	"fmt"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/backendtest"
	"github.com/nasc-dev/nasc/internal/graphgen"
)

// Convolutions of many pictures behind each other, whose workers each copy their
// input: what an earlier step or run left in a worker's memory is not taken for it.
func TestPictures(t *testing.T) {
	for _, n := range []int{16, 19} {
		g := parse(t, fmt.Sprintf(`
const @w: s8[3,3,64,64]<0.01:0> = splat 3
const @v: s8[3,3,64,64]<0.01:0> = splat -2
const @m: f32[64] = splat 0.0004
const @b: i32[64] = splat 900
graph @g(%%x: u8[%d,7,7,64]<0.05:3>) {
  %%a = q_convolution %%x @w @b @m padding=[1,1,1,1] out_scale=0.02 out_zero=128
  %%c = q_convolution %%a @v @b @m padding=[1,1,1,1] out_scale=0.02 out_zero=121
  %%d = q_convolution %%c @w _ @m padding=[1,1,1,1] strides=[2,2] out_scale=0.02 out_zero=3
  %%e = q_convolution %%x @v @b @m padding=[1,1,1,1] out_scale=0.02 out_zero=9
  return %%d, %%e
}`, n))
		everyLevel(t, g)
		in := graphgen.Inputs(g, 1)
		want := backendtest.Reference(t, g, in)
		e, err := Int8().Compile(g, backends.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		out := backends.NewOutputs(g)
		for run := range 50 {
			if err := e.Run(t.Context(), in, out); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if string(rawBytes(out[i])) != string(rawBytes(want[i])) {
					t.Fatalf("%d pictures, run %d: output %d is another", n, run, i)
				}
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
