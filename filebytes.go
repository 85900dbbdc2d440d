package nasc

import (
	"context"
	"os"

	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// countWriter is a writer that keeps only the number of bytes.
type countWriter int64

func (c *countWriter) Write(b []byte) (int, error) {
	*c += countWriter(len(b))
	return len(b), nil
}

// FileBytes is the size of a model's .nasc file: the file's own, or what compile
// writes of a model that the target does not quantize.
func FileBytes(ctx context.Context, m *Model, target string, shapes []map[string]ir.Shape) (int64, error) {
	if m.Compiled {
		st, err := os.Stat(m.Path)
		if err != nil {
			return 0, err
		}
		return st.Size(), nil
	}
	fresh, err := Open(m.Path, shapes) // m's graphs may have been changed
	if err != nil {
		return 0, err
	}
	defer fresh.Close()
	man := *fresh.Manifest
	man.Producer, man.Target = "nasc "+Version(), target
	out := &ir.Module{}
	for i, g := range fresh.Module.Graphs {
		steps, err := passes.Canonicalize(ctx, g, passes.Options{})
		if err != nil {
			return 0, err
		}
		for _, s := range steps {
			if i == 0 && s.Changed {
				man.Passes = append(man.Passes, s.Name)
			}
		}
		g.TidyNames()
		out.Graphs = append(out.Graphs, g)
	}
	out.Dedup()
	var n countWriter
	if err := nascfile.Encode(&n, out, &man); err != nil {
		return 0, err
	}
	return int64(n), nil
}

// ForTiming gives a float model as compile --calib synthetic makes it for an int8
// target, and the size of the file that it writes: times are right, answers are
// not.
func (m *Model) ForTiming(ctx context.Context, target string, shapes []map[string]ir.Shape) (*Model, int64, error) {
	fresh, err := Open(m.Path, shapes) // m's graphs may have been changed
	if err != nil {
		return nil, 0, err
	}
	defer fresh.Close()
	r, err := Compile(ctx, fresh, CompileOptions{Target: target, Calib: "synthetic", Seed: 1, unmeasured: true})
	if err != nil {
		return nil, 0, err
	}
	var n countWriter
	if err := nascfile.Encode(&n, r.Module, r.Manifest); err != nil {
		return nil, 0, err
	}
	return &Model{Path: m.Path, Module: r.Module, Manifest: r.Manifest, Compiled: true}, int64(n), nil
}
