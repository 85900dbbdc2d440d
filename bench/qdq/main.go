// Qdq takes a compiled model apart for compare.py: each quantized node as an
// ONNX file of its own, with the inputs that it has when the interpreter runs
// the model on seeded random inputs, and the results it gives.
//
// usage: qdq MODEL.nasc OUT_DIR
// OUT_DIR gets whole.onnx, the model's own in0.npy … and out0.npy …, and a folder
// for each node: name, model.onnx, in0.npy …, out0.npy …; error where export
// refuses it.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/nasc-dev/nasc/export/onnx"
	"github.com/nasc-dev/nasc/internal/difftest"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/internal/npy"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: qdq MODEL.nasc OUT_DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path, dir string) error {
	f, err := nascfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	g, err := ir.Specialize(f.Module.Graphs[0], 1)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 2))
	in := make([]*ir.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		in[i] = graphgen.Tensor(r, v.Type)
		if v.Type.DType.IsInt() { // ids below what any vocabulary has, masks of ones
			for k := range in[i].Len() {
				in[i].Set(k, 1)
				if i == 0 {
					in[i].Set(k, float64(r.IntN(900)))
				}
			}
		}
	}
	count := 0
	result, err := eval.Run(context.Background(), g, in, eval.Options{Each: func(n *ir.Node, in, out []*ir.Tensor) error {
		if n.Op.Class != ir.Quantized {
			return nil
		}
		count++
		return node(filepath.Join(dir, fmt.Sprintf("%04d", count)), n, in, out)
	}})
	if err != nil {
		return err
	}
	return write(dir, "whole.onnx", g, in, result.Outputs)
}

// node writes a node as a graph whose inputs are its computed operands.
func node(dir string, n *ir.Node, in, out []*ir.Tensor) error {
	g, feeds, err := difftest.Alone(n, in)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "name"), []byte(n.Op.Name+" "+n.Label()), 0o644); err != nil {
		return err
	}
	return write(dir, "model.onnx", g, feeds, out)
}

func write(dir, name string, g *ir.Graph, in, out []*ir.Tensor) error {
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	refused := onnx.Write(f, g)
	if err := f.Close(); err != nil {
		return err
	}
	if refused != nil {
		return os.WriteFile(filepath.Join(dir, "error"), []byte(refused.Error()), 0o644)
	}
	for i, t := range in {
		if err := npy.Write(filepath.Join(dir, fmt.Sprintf("in%d.npy", i)), t); err != nil {
			return err
		}
	}
	for i, t := range out {
		if err := npy.Write(filepath.Join(dir, fmt.Sprintf("out%d.npy", i)), t); err != nil {
			return err
		}
	}
	return nil
}
