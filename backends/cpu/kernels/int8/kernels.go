package int8

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

// kernel is what every row of a kernel table says.
type kernel struct {
	name  string
	level isa.Level
}

func (k kernel) at() isa.Level { return k.level }

// pick gives the first row of a table, best first, that level l runs.
func pick[K interface{ at() isa.Level }](table []K, l isa.Level) K {
	for _, k := range table {
		if l.Has(k.at()) {
			return k
		}
	}
	panic("BUG: a kernel table without a portable row")
}

// The kernel tables: one row brings dispatch, test and benchmark.
var (
	gemmKernels = append(vectorGemm(), gemmKernel{
		kernel: kernel{"gemm_s16s8s32_1x8_portable", isa.Portable},
		cols:   portableCols, rows: 16, quad: 1, format: pairsFormat, run: everyRows(gemmPortable, 16),
	})
	finishKernels = withVectors(vectorFinish(), [][]finishKernel{
		finishBytes:       {{kernel{"finish_bytes_portable", isa.Portable}, finishBytesPortable}},
		finishResidual:    {{kernel{"finish_residual_portable", isa.Portable}, finishResidualPortable}},
		finishBytesAny:    {{kernel{"finish_bytes_any_portable", isa.Portable}, finishBytesPortable}},
		finishResidualAny: {{kernel{"finish_residual_any_portable", isa.Portable}, finishResidualPortable}},
		finishFloats:      {{kernel{"finish_f32_portable", isa.Portable}, finishFloatsPortable}},
		finishSums:        {{kernel{"finish_i32_portable", isa.Portable}, finishSumsPortable}},
	})
	dwKernels         = vectorDepthwise()
	dwLineKernels     = vectorDepthwiseLines()
	lookupKernels     = append(vectorLookup(), lookupKernel{kernel{"portable", isa.Portable}, lookupPortable, 1, nil})
	addKernels        = withVectors(vectorAdd(), pairPortable("add", (*pairArgs).sum))
	multiplyKernels   = withVectors(vectorMultiply(), pairPortable("multiply", (*pairArgs).product))
	quantizeKernels   = append(vectorQuantize(), convertKernel{kernel{"quantize_portable", isa.Portable}, quantizePortable})
	dequantizeKernels = append(vectorDequantize(), convertKernel{kernel{"dequantize_portable", isa.Portable}, dequantizePortable})
	maxKernels        = append(vectorMax(), windowKernel{kernel{"portable", isa.Portable}, maxPortable})
	sumKernels        = append(vectorSum(), windowKernel{kernel{"portable", isa.Portable}, sumPortable})
	widenKernels      = append(vectorWiden(), convertKernel{kernel{"widen_portable", isa.Portable}, widenPortable})
	winogradKernels   = vectorWinograd()
	softmaxKernels    = append(vectorSoftmax(), softmaxKernel{kernel{"portable", isa.Portable}, softmaxBytes})
)

// The kinds of finishing kernels. Those not called Any may convert scaled sums to
// int32 before they clamp them, and add nothing by rows.
const (
	finishBytes = iota
	finishResidual
	finishBytesAny
	finishResidualAny
	finishFloats
	finishSums
)

type finishKernel struct {
	kernel
	run func(*finishArgs)
}

// withVectors puts the rows of vector kernels in front of the portable ones.
func withVectors[K any](vectors [][]K, portable [][]K) [][]K {
	for i, v := range vectors {
		portable[i] = append(v, portable[i]...)
	}
	return portable
}

// everyRows is the list of a kernel that takes any number of rows up to n.
func everyRows(f func(*gemmArgs), n int) []func(*gemmArgs) {
	fs := make([]func(*gemmArgs), n)
	for i := range fs {
		fs[i] = f
	}
	return fs
}
