package f32

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

// DotSpec is a dense layer: X [M,K] times Weights [K,N], a 1x1 convolution over
// M pixels; the order of sums and what follows is ConvSpec's.
type DotSpec struct {
	M, K, N  int
	Weights  []float32
	Bias     []float32
	Act      Act
	Residual bool
}

// Dot prepares a dense layer.
func Dot(s DotSpec, l isa.Level) (Kernel, error) {
	return Conv(ConvSpec{
		N: 1, H: 1, W: s.M, C: s.K, OH: 1, OW: s.M, K: s.N, KH: 1, KW: 1, SH: 1, SW: 1, DH: 1, DW: 1, Groups: 1,
		Weights: s.Weights, Bias: s.Bias, Act: s.Act, Residual: s.Residual,
	}, l)
}
