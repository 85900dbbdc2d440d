// Agreement imports ONNX models, runs them on given inputs and writes the
// outputs as .npy, for compare.py to hold against onnxruntime.
//
// usage: agreement -target cpu-f32 MODEL IN_DIR OUT_DIR
// IN_DIR holds one .npy per input (named by its position: 0.npy, 1.npy, …).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
	"github.com/nasc-dev/nasc/backends/reference"
	"github.com/nasc-dev/nasc/frontend/onnx"
	"github.com/nasc-dev/nasc/internal/npy"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

func main() {
	target := flag.String("target", "cpu-f32", "reference, cpu-f32 or cpu-int8")
	raw := flag.Bool("raw", false, "leave the passes out")
	print := flag.Bool("print", false, "print the graph")
	flag.Parse()
	if err := run(*target, *raw, *print, flag.Arg(0), flag.Arg(1), flag.Arg(2)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(target string, raw, print bool, model, in, out string) error {
	names, err := filepath.Glob(filepath.Join(in, "*.npy"))
	if err != nil {
		return err
	}
	inputs := make([]*ir.Tensor, len(names))
	for i := range inputs {
		if inputs[i], err = npy.Read(filepath.Join(in, fmt.Sprintf("%d.npy", i))); err != nil {
			return err
		}
	}
	inputNames, err := onnx.InputNames(model)
	if err != nil {
		return err
	}
	shapes := map[string]ir.Shape{}
	for i, name := range inputNames {
		shapes[name] = inputs[i].Shape
	}
	g, info, err := onnx.Import(model, onnx.Options{Shapes: shapes})
	if err != nil {
		return err
	}
	for i, v := range g.Inputs {
		inputs[i] = inputs[i].Converted(v.Type.DType)
	}
	before := len(g.Nodes)
	if !raw {
		if _, err := passes.Canonicalize(context.Background(), g, passes.Options{}); err != nil {
			return err
		}
	}
	if print {
		fmt.Fprintln(os.Stderr, g.Body())
	}
	t := map[string]backends.Target{"reference": reference.Target(), "cpu-f32": cpu.F32(), "cpu-int8": cpu.Int8()}[target]
	exe, err := t.Compile(g, backends.Options{Threads: 2})
	if err != nil {
		return err
	}
	results := backends.NewOutputs(g)
	if err := exe.Run(context.Background(), inputs, results); err != nil {
		return err
	}
	for i, r := range results {
		if err := npy.Write(filepath.Join(out, fmt.Sprintf("%d.npy", i)), r); err != nil {
			return err
		}
	}
	fmt.Printf("%d %d %d %d\n", info.Opset, info.Nodes, before, len(g.Nodes))
	return exe.Close()
}
