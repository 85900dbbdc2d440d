package f32

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

// gemmFor gives the matrix micro-kernels that a level uses.
func gemmFor(l isa.Level) *gemmSet {
	if g := vectorGemm(l); g != nil {
		return g
	}
	return &portableGemm
}

// rowsFor gives the row operations that a level uses.
func rowsFor(l isa.Level) *rowFuncs {
	if r := vectorRows(l); r != nil {
		return r
	}
	return &portableRows
}

// lerpFor gives the linear interpolation that a level uses.
func lerpFor(l isa.Level) func(y, a, b []float32, f float32) { return lerp }

// depthwiseFor gives the depthwise micro-kernel that a level uses.
func depthwiseFor(l isa.Level) func(*dwTile) {
	if f := vectorDepthwise(l); f != nil {
		return f
	}
	return depthwisePortable
}

// poolsFor gives the pool micro-kernels that a level uses.
func poolsFor(l isa.Level) (maximum, sum func(*dwTile)) {
	if m, a := vectorMaxPool(l), vectorAddPool(l); m != nil && a != nil {
		return m, a
	}
	return maxPoolPortable, addPoolPortable
}
