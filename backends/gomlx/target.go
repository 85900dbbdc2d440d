// Package gomlx runs float graphs through gomlx: target go on its pure-Go
// backend, target xla-cpu on XLA's CPU plugin. One lowering serves both; where
// the Go backend is slow or lacks an operation (convolutions, windows), it gets
// slices and products instead.
//
// gomlx reports errors by panicking: they become errors in compile and Run, and
// nowhere else. XLA needs cgo; built without it, xla-cpu says so. The package may
// import backends, ir, internal/xlaplugin and gomlx.
package gomlx

import (
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/gobackend"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/xlaplugin"
	"github.com/nasc-dev/nasc/ir"
)

// Go is the target go: gomlx's backend in pure Go.
func Go() backends.Target {
	open := sync.OnceValues(func() (compute.Backend, error) { return gobackend.New("") })
	return target{
		name: "go", doc: "gomlx's backend in pure Go (f32)", slices: true, own: true,
		open: func(int) (compute.Backend, error) { return open() },
	}
}

// XLA is the target xla-cpu: XLA's CPU plugin through gomlx.
func XLA() backends.Target {
	return target{name: "xla-cpu", doc: "XLA's CPU backend through gomlx (f32)", open: openXLA}
}

type target struct {
	name, doc string
	open      func(threads int) (compute.Backend, error)
	slices    bool // windows as slices, convolutions as matrix products
	own       bool // makes threads as it likes
}

// on gives what runs keep to a count of threads with.
func (t target) on(threads int) func(func()) {
	if t.own {
		return func(f func()) { f() }
	}
	return func(f func()) { xlaplugin.OnProcessors(max(threads, 1), f) }
}

func (t target) Name() string { return t.name }
func (t target) Doc() string  { return t.doc }

func (t target) Available() error {
	_, err := t.open(1)
	return err
}

// Compile lowers and compiles a static float graph. The Go backend's threads are
// its own: it takes no count.
func (t target) Compile(g *ir.Graph, o backends.Options) (backends.Executable, error) {
	if o.ISA != "" {
		return nil, &diag.Error{Place: t.name + "@" + o.ISA, Found: "an ISA", Wanted: "none: " + t.name + " chooses its own"}
	}
	if err := backends.CheckStatic(g); err != nil {
		return nil, err
	}
	b, err := t.open(o.Threads)
	if err != nil {
		return nil, err
	}
	p, err := compile(b, g, t.slices, t.on(o.Threads))
	if err != nil {
		return nil, diag.At(t.name, err)
	}
	return p, nil
}
