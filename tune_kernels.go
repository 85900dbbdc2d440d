package nasc

import (
	"context"
	"maps"
	"slices"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
)

// TunedKernel is a layer that another kernel than the engine's own choice computes
// faster on this device.
type TunedKernel struct {
	Layer  string  `json:"layer"`
	Kernel string  `json:"kernel"`
	MS     float64 `json:"ms"`
	OwnMS  float64 `json:"own_ms"` // by the engine's own choice
}

// worthwhile is how much faster another kernel must measure before it is taken: less
// is noise.
const (
	worthwhile = 0.97
	// onTheWhole is the same of the network.
	onTheWhole = 0.995
)

// tuneKernels measures each layer by each kernel that can compute it and keeps in
// the manifest, under this device's name, those that are faster than the engine's
// own choice, if the whole network is faster by them. All give the same bits.
func (o *CompileOptions) tuneKernels(ctx context.Context, g *ir.Graph, threads int, man *nascfile.Manifest, res *Result) error {
	e, _, err := Start(g, o.Target, 1, threads)
	if err != nil {
		return err
	}
	t, ok := e.(backends.Tunable)
	if !ok {
		return e.Close()
	}
	res.KernelsTuned = true
	if man.Tuned.Device == isa.Processor() {
		man.Tuned = nascfile.Tuned{} // of an earlier compile: what is measured now counts
	}
	choices := t.Choices()
	if err := e.Close(); err != nil {
		return err
	}
	times, err := o.kernelTimes(ctx, g, threads, choices)
	if err != nil {
		return err
	}
	found := chooseKernels(choices, times)
	if len(found) == 0 {
		return nil
	}
	kernels := map[string]string{}
	for _, k := range found {
		kernels[k.Layer] = k.Kernel
	}
	ms, err := alternate(ctx,
		plan{g, o.Target, backends.Options{Threads: threads}},
		plan{g, o.Target, backends.Options{Threads: threads, Kernels: kernels}})
	if err != nil {
		return err
	}
	if ms[1] < onTheWhole*ms[0] {
		man.Tuned = nascfile.Tuned{Device: isa.Processor(), Kernels: kernels}
		res.Kernels = found
		res.OwnKernelsMS, res.KernelsMS = ms[0], ms[1]
	}
	return nil
}

// kernelTimes measures each layer by each of its kernels: in one run of the
// network all layers take their n-th. Each is measured twice, in turns, and the
// faster time kept, since the clock of a machine wanders.
func (o *CompileOptions) kernelTimes(ctx context.Context, g *ir.Graph, threads int, choices map[string][]string) (map[string]map[string]float64, error) {
	most := 0
	times := map[string]map[string]float64{}
	for layer, names := range choices {
		most = max(most, len(names))
		times[layer] = map[string]float64{}
	}
	for turn := range 2 * most {
		kernels := map[string]string{}
		for layer, names := range choices {
			kernels[layer] = names[turn%most%len(names)]
		}
		ms, err := layerTimes(ctx, plan{g, o.Target, backends.Options{Threads: threads, Kernels: kernels}}, o.Progress)
		if err != nil {
			return nil, err
		}
		for layer, k := range kernels {
			if old, ok := times[layer][k]; !ok || ms[layer] < old {
				times[layer][k] = ms[layer]
			}
		}
	}
	return times, nil
}

// chooseKernels lists the layers that another kernel than the first of their
// choices computed clearly faster, with the fastest.
func chooseKernels(choices map[string][]string, times map[string]map[string]float64) []TunedKernel {
	var out []TunedKernel
	for _, layer := range slices.Sorted(maps.Keys(choices)) {
		own := times[layer][choices[layer][0]]
		best := TunedKernel{Layer: layer, MS: own * worthwhile, OwnMS: own}
		for _, k := range choices[layer][1:] {
			if ms, ok := times[layer][k]; ok && ms < best.MS {
				best.Kernel, best.MS = k, ms
			}
		}
		if best.Kernel != "" {
			out = append(out, best)
		}
	}
	return out
}
