package backends

import (
	"context"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/ir"
)

// Options are what a caller may choose when compiling for a target. The zero
// value is one thread with the best kernels of this machine.
type Options struct {
	Threads int    // how many threads one Run may use; 0 and 1 are one
	ISA     string // kernels of nasc's own engine: vnni, avxvnni, avx2, portable; "" is the best
	// Kernels names kernels for layers, by label, as they measured fastest
	// (Tunable); names that do not fit are passed over. The bits are the same.
	Kernels map[string]string
	// Parts lets the CPU engine compute large float products of computed
	// matrices, as those of training steps, by parts on tile registers where
	// that is faster: float32's accuracy, but bits that are no longer those of
	// the reference. They are the same for any number of threads.
	Parts bool
}

// Target turns graphs into programs for one kind of machine.
type Target interface {
	// Name is what users call it: cpu-int8, reference, …
	Name() string
	// Doc is one line for lists.
	Doc() string
	// Available says why the target cannot run here; nil when it can.
	Available() error
	// Compile makes a static graph (ir.Specialize) ready to run. The
	// executable may share the graph's constants: they must not change.
	Compile(g *ir.Graph, o Options) (Executable, error)
}

// Executable is a compiled graph. Run may be called from several goroutines
// at once.
type Executable interface {
	// Run computes out from in, in the order of the graph's inputs and
	// outputs. The caller allocates out (see NewOutputs); wrong types or
	// shapes are errors. After an error out's contents are undefined.
	// A cancelled ctx ends the run between two steps with ctx.Err().
	Run(ctx context.Context, in, out []*ir.Tensor) error
	// Close frees what the executable holds; no Run may be active or follow.
	Close() error
}

// Step describes one step of a plan: one kernel call that may compute several
// fused nodes.
type Step struct {
	Nodes    []*ir.Node // what it computes, of the compiled graph; the last gives the result
	Label    string     // the first node's label
	Op       string     // the ops, joined by "+"
	Kernel   string     // the kernel's name
	MACs     int64      // multiply-accumulates
	Bytes    int64      // read and written
	In, Out  []ir.Type  // what the kernel reads and writes; one without element type is absent
	Fallback bool       // runs through the op table's evaluation: right, but slow
}

// Planned is implemented by executables that run a list of steps.
type Planned interface {
	Executable
	// Steps lists the plan in the order of execution.
	Steps() []Step
	// ArenaBytes is the memory of intermediate values of one run.
	ArenaBytes() int64
	// RunTimed is Run that adds each step's wall time to took, which has one
	// entry a step.
	RunTimed(ctx context.Context, in, out []*ir.Tensor, took []time.Duration) error
	// RunPaused is RunTimed, or Run where took is nil, that calls pause before the
	// steps given, in order: no thread of the run is busy meanwhile, and it does not
	// count in took. The run ends with pause's error.
	RunPaused(ctx context.Context, in, out []*ir.Tensor, took []time.Duration, before []int, pause func(step int) error) error
}

// Placed is implemented by executables that keep inputs and results elsewhere
// than the caller's tensors are.
type Placed interface {
	Executable
	// Place brings inputs there once. run computes from them as often as it is
	// called; without out the results stay there, too, and are dropped. release
	// frees what Place took.
	Place(in []*ir.Tensor) (run func(ctx context.Context, out []*ir.Tensor) error, release func(), err error)
}

// Tunable is implemented by executables that could do some layers by other kernels.
type Tunable interface {
	Planned
	// Choices names the kernels of each layer that has several, by its label, the
	// engine's own choice first.
	Choices() map[string][]string
}

// SplitName cuts "cpu-int8@avx2" into the target's name and the ISA.
func SplitName(name string) (target, isa string) {
	target, isa, _ = strings.Cut(name, "@")
	return target, isa
}
