// Package isatest runs tests at the instruction sets of the machine.
package isatest

import (
	"os"
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// Levels runs f at every level of this machine, or at the one of NASC_ISA.
func Levels(t *testing.T, f func(t *testing.T, l isa.Level)) {
	ls := isa.Available()
	if os.Getenv(isa.Env) != "" {
		l, err := isa.Best()
		if err != nil {
			t.Fatal(err)
		}
		ls = []isa.Level{l}
	}
	for _, l := range ls {
		t.Run(l.String(), func(t *testing.T) { f(t, l) })
	}
}
