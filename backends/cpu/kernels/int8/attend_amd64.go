package int8

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

//go:generate go run ./gen -set attend_vnni -out attend_vnni_amd64.s

func vectorAttention() []attentionKernel {
	return []attentionKernel{{kernel{"attention_avx512", isa.VNNI}, attentionRowsVNNI, packKeysAVX2, packValuesAVX2}}
}
