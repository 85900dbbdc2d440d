//go:build !amd64

package int8

// Other processors run the portable kernels.

func vectorGemm() []gemmKernel             { return nil }
func vectorFinish() [][]finishKernel       { return nil }
func vectorDepthwise() []dwKernel          { return nil }
func vectorLookup() []lookupKernel         { return nil }
func vectorAdd() [][]pairKernel            { return nil }
func vectorMultiply() [][]pairKernel       { return nil }
func vectorQuantize() []quantizeKernel     { return nil }
func vectorDequantize() []dequantizeKernel { return nil }
func vectorMax() []maxKernel               { return nil }
func vectorSum() []sumKernel               { return nil }
