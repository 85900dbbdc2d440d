package cpu

import (
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
)

// target is one of the engine's two names; both take any graph.
type target struct{ name, doc string }

// F32 is the target cpu-f32: float graphs.
func F32() backends.Target {
	return target{"cpu-f32", "nasc's own engine in float32: fused kernels in Go assembly (AVX-512, AVX2, NEON) or portable Go"}
}

// Int8 is the target cpu-int8: quantized graphs, with float islands.
func Int8() backends.Target {
	return target{"cpu-int8", "nasc's own engine for int8: fused kernels in Go assembly (AMX, AVX512-VNNI, AVX-VNNI, AVX2, NEON) or portable Go"}
}

func (t target) Name() string     { return t.name }
func (t target) Doc() string      { return t.doc }
func (t target) Available() error { return nil }

func (t target) Compile(g *ir.Graph, o backends.Options) (backends.Executable, error) {
	return compile(g, o, false, pointwiseBytes)
}
