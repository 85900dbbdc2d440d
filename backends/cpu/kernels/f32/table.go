package f32

import (
	"fmt"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

//go:generate go run ./gen -family gemm -out gemm_amd64.s
//go:generate go run ./gen -family depthwise -out depthwise_amd64.s
//go:generate go run ./gen -family dwrow -out dwrow_amd64.s
//go:generate go run ./gen -family unary -out unary_amd64.s
//go:generate go run ./gen -family binary -out binary_amd64.s
//go:generate go run ./gen -family rows -out rows_amd64.s
//go:generate go run ./gen -family grad -out grad_amd64.s
//go:generate go run ./gen -family fake -out fake_amd64.s
//go:generate go run ./gen -family split -out split_amd64.s
//go:generate go run ./gen -family winograd -out winograd_amd64.s
//go:generate go run ./gen -family gemm_neon
//go:generate go run ./gen -family depthwise_neon
//go:generate go run ./gen -family unary_neon
//go:generate go run ./gen -family rows_neon

// Micro is a row of the kernel table: a micro-kernel, the instructions it is
// written in and the tile it computes (rows x columns; 1 x lanes where it walks
// a row).
type Micro struct {
	Name, ISA  string
	Rows, Cols int
}

// Table lists the micro-kernels of a level, as dispatch picks them.
func Table(l isa.Level) []Micro {
	g := gemmFor(l)
	var ms []Micro
	add := func(name string, rows, cols int) {
		ms = append(ms, Micro{fmt.Sprintf("%s_f32_%dx%d_%s", name, rows, cols, g.name), g.name, rows, cols})
	}
	for v, run := range g.run {
		for r := range run {
			add("gemm", r+1, (v+1)*g.lanes)
		}
	}
	for _, m := range []int{2, 4} {
		if g == &portableGemm || vectorWinograd(m, l).input != nil {
			add(fmt.Sprintf("winograd%d_input", m), 1, g.lanes)
			add(fmt.Sprintf("winograd%d_output", m), 1, g.lanes)
		}
	}
	for _, name := range []string{"depthwise", "max_pool", "sum_pool", "sum16", "softmax", "layer_norm"} {
		add(name, 1, g.lanes)
	}
	if vectorSplit(l) != nil {
		for i := range tileSplitRows {
			ms = append(ms, Micro{fmt.Sprintf("split_bf16x3_%dx%d_amx", (i+1)*splitSide, splitSide), "amx", (i + 1) * splitSide, splitSide})
		}
	}
	for _, u := range unaries {
		if g == &portableGemm || vectorUnary(u.name, Params{}, l) != nil {
			add(u.name, 1, g.lanes)
		}
	}
	for _, b := range binaries {
		if g == &portableGemm || vectorBinary(b.name, l) != nil {
			add(b.name, 1, g.lanes)
		}
	}
	return ms
}
