//go:build !amd64 && !arm64

package int8

func vectorRange() []rangeKernel         { return nil }
func vectorQuantizeBy() []convertKernel  { return nil }
func vectorFinishRows() []rowsKernel     { return nil }
func vectorAttention() []attentionKernel { return nil }
