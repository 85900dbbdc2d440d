package nasc

import (
	"strings"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/gomlx"
	"github.com/nasc-dev/nasc/backends/reference"
	"github.com/nasc-dev/nasc/backends/stablehlo"
	"github.com/nasc-dev/nasc/internal/diag"
)

// Targets is every target; adding one is a row here.
var Targets = []backends.Target{
	cpu.Int8(),
	cpu.F32(),
	reference.Target(),
	stablehlo.Target{},
	gomlx.XLA(),
	gomlx.Go(),
}

// Target finds a target by its name, of which "@isa" may be a part.
func Target(name string) (t backends.Target, level string, err error) {
	base, level := backends.SplitName(name)
	var names []string
	for _, t := range Targets {
		if t.Name() == base {
			return t, level, checkLevel(name, base, level)
		}
		names = append(names, t.Name())
	}
	return nil, "", &diag.Error{Place: "--target", Found: name, Wanted: "one of " + strings.Join(names, ", ")}
}

// checkLevel refuses an instruction set that does not exist, or one for a target
// that has no kernels to choose from.
func checkLevel(name, base, level string) error {
	if level == "" && !strings.Contains(name, "@") {
		return nil
	}
	if base != "cpu-int8" && base != "cpu-f32" {
		return &diag.Error{Place: "--target", Found: name, Wanted: base + ": instruction sets are for cpu-int8 and cpu-f32 to choose"}
	}
	_, err := isa.Parse(level)
	return diag.At("--target "+name, err)
}
