//go:build cgo && !noxla

package stablehlo

import (
	"context"
	"fmt"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/go-xla/pjrt"

	"github.com/nasc-dev/nasc/internal/xlaplugin"
	"github.com/nasc-dev/nasc/ir"
)

var pjrtTypes = map[ir.DType]dtypes.DType{
	ir.F32: dtypes.Float32, ir.F64: dtypes.Float64, ir.I64: dtypes.Int64, ir.I32: dtypes.Int32,
	ir.U8: dtypes.Uint8, ir.S8: dtypes.Int8, ir.Bool: dtypes.Bool, ir.F16: dtypes.Float16, ir.BF16: dtypes.BFloat16,
}

var clients xlaplugin.Clients[*pjrt.Client]

func client(threads int) (*pjrt.Client, error) {
	return clients.Get(threads, func(path string) (c *pjrt.Client, err error) {
		pjrt.SuppressAbseilLoggingHack(func() {
			var p *pjrt.Plugin
			if p, err = pjrt.GetPlugin(path); err == nil {
				c, err = p.NewClient(nil)
			}
		})
		return c, err
	})
}

func available() error {
	_, err := client(1)
	return err
}

// program is a compiled module. PJRT executables are safe for concurrent runs.
type program struct {
	client  *pjrt.Client
	threads int
	exec    *pjrt.LoadedExecutable
	in, out []ir.Type
}

func compile(text string, g *ir.Graph, threads int) (*program, error) {
	c, err := client(threads)
	if err != nil {
		return nil, err
	}
	exec, err := c.Compile().WithStableHLO([]byte(text)).Done()
	if err != nil {
		return nil, fmt.Errorf("XLA refused the module: %w", err)
	}
	p := &program{client: c, threads: max(threads, 1), exec: exec}
	for _, v := range g.Inputs {
		p.in = append(p.in, v.Type)
	}
	for _, v := range g.Outputs {
		p.out = append(p.out, v.Type)
	}
	return p, nil
}

// Run copies the inputs in, executes, and copies the results out. The buffers
// are destroyed here: Go's collector does not see their memory.
func (p *program) Run(ctx context.Context, in, out []*ir.Tensor) error {
	err := ctx.Err()
	if err == nil {
		xlaplugin.OnProcessors(p.threads, func() { err = p.run(in, out) })
	}
	return err
}

func (p *program) run(in, out []*ir.Tensor) (err error) {
	bufs := make([]*pjrt.Buffer, len(in))
	defer destroy(bufs)
	for i, t := range in {
		if bufs[i], err = p.client.BufferFromHost().FromRawData(t.RawBytes(), pjrtTypes[t.DType], t.Shape).Done(); err != nil {
			return fmt.Errorf("input %d to XLA: %w", i, err)
		}
	}
	results, err := p.exec.Execute(bufs...).DonateNone().Done()
	if err != nil {
		return fmt.Errorf("XLA: %w", err)
	}
	defer destroy(results)
	for i, b := range results {
		if out[i].Len() == 0 {
			continue
		}
		if err := b.ToHost(out[i].RawBytes()); err != nil {
			return fmt.Errorf("output %d from XLA: %w", i, err)
		}
	}
	return nil
}

func destroy(bufs []*pjrt.Buffer) {
	for _, b := range bufs {
		if b != nil {
			_ = b.Destroy() // nothing is left to do with a buffer that will not go
		}
	}
}

// Close frees the executable.
func (p *program) Close() error { return p.exec.Destroy() }
