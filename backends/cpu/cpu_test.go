package cpu

import (
	"flag"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/backendtest"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

var graphs = flag.Int("graphs", 0, "random graphs of each kind in the suite; 0 is the usual number")

// Both targets, on every instruction set of this machine and with one thread
// and two, give the reference's bits.
func TestSuite(t *testing.T) {
	for _, l := range isa.Available() {
		for _, threads := range []int{1, 2} {
			o := backends.Options{ISA: l.String(), Threads: threads}
			t.Run(l.String(), func(t *testing.T) {
				t.Run("cpu-f32", func(t *testing.T) {
					backendtest.Run(t, F32(), backendtest.Config{Options: o, Float: true, Graphs: *graphs})
				})
				t.Run("cpu-int8", func(t *testing.T) {
					backendtest.Run(t, Int8(), backendtest.Config{Options: o, Quantized: true, Graphs: *graphs})
				})
			})
		}
	}
}
