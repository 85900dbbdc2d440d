//go:build cgo && !noxla

package gomlx

import (
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/xlaplugin"
)

// openXLA makes the one client of the process: it starts XLA's threads.
var openXLA = sync.OnceValues(func() (compute.Backend, error) {
	path, err := xlaplugin.Find()
	if err != nil {
		return nil, err
	}
	xla.EnableAutoInstall(false) // nothing is fetched unasked
	b, err := xla.New(path)
	if err != nil {
		return nil, &diag.Error{Place: "XLA plugin " + path, Found: "it does not load", Err: err, Fix: "`make xla` brings one that does"}
	}
	return b, nil
})
