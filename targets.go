package nasc

import (
	"strings"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
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
func Target(name string) (t backends.Target, isa string, err error) {
	base, isa := backends.SplitName(name)
	var names []string
	for _, t := range Targets {
		if t.Name() == base {
			return t, isa, nil
		}
		names = append(names, t.Name())
	}
	return nil, "", &diag.Error{Place: "--target", Found: name, Wanted: "one of " + strings.Join(names, ", ")}
}
