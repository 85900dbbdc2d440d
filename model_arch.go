package nasc

import (
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

func openArch(path string, _ []map[string]ir.Shape) (*Model, error) {
	return nil, &diag.Error{Place: path, Found: "an architecture file", Wanted: ".onnx or .nasc", Fix: "architecture files are not read yet"}
}
