//go:build !cgo || noxla

package stablehlo

import (
	"context"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

func available() error {
	return &diag.Error{Place: "XLA", Found: "this nasc was built without cgo", Fix: "build it with CGO_ENABLED=1 and a C compiler"}
}

type program struct{}

func compile(string, *ir.Graph, int) (*program, error) { return nil, available() }

func (*program) Run(context.Context, []*ir.Tensor, []*ir.Tensor) error { return available() }

func (*program) Close() error { return nil }
