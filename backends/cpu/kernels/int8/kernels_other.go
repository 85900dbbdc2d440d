//go:build !amd64 && !arm64

package int8

// Other processors run the portable kernels.

func vectorGemm() []gemmKernel             { return nil }
func vectorFinish() [][]finishKernel       { return nil }
func vectorDepthwise() []dwKernel          { return nil }
func vectorDepthwiseLines() []dwLineKernel { return nil }
func vectorLookup() []lookupKernel         { return nil }
func vectorAdd() [][]pairKernel            { return nil }
func vectorMultiply() [][]pairKernel       { return nil }
func vectorQuantize() []convertKernel      { return nil }
func vectorDequantize() []convertKernel    { return nil }
func vectorMax() []windowKernel            { return nil }
func vectorSum() []windowKernel            { return nil }
func vectorSoftmax() []softmaxKernel       { return nil }
func vectorWiden() []convertKernel         { return nil }
func vectorWinograd() []winogradKernel     { return nil }
func vectorNorm() []normKernel             { return nil }
