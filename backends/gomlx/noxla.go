//go:build !cgo || noxla

package gomlx

import (
	"github.com/gomlx/compute"

	"github.com/nasc-dev/nasc/internal/diag"
)

func openXLA(int) (compute.Backend, error) {
	return nil, &diag.Error{Place: "xla-cpu", Found: "a build without cgo", Fix: "build with CGO_ENABLED=1 and without the tag noxla"}
}
