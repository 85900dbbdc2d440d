//go:build cgo && !noxla

package gomlx

import (
	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"

	"github.com/nasc-dev/nasc/internal/xlaplugin"
)

var clients xlaplugin.Clients[compute.Backend]

func openXLA(threads int) (compute.Backend, error) {
	return clients.Get(threads, func(path string) (compute.Backend, error) {
		xla.EnableAutoInstall(false) // nothing is fetched unasked
		return xla.New(path)
	})
}
