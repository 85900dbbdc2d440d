package int8

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

//go:generate go run ./gen -set attend_vnni -out attend_vnni_amd64.s
//go:generate go run ./gen -set attend_amx -out attend_amx_amd64.s

func vectorAttention() []attentionKernel {
	vnni := attentionKernel{
		kernel: kernel{"attention_avx512", isa.VNNI}, rows: attentionRowsVNNI,
		bytes: [2]func(*attentionArgs){attentionBytesVNNI, attentionBiasedBytesVNNI}, keys: packKeysAVX2, values: packValuesAVX2, sums: sumRowsAVX2,
	}
	amx := vnni
	amx.kernel = kernel{"attention_amx", isa.AMX}
	amx.tiles, amx.starts = [2]func(*attendTileArgs){attentionAMX, attentionBiasedAMX}, columnStartsVNNI
	return []attentionKernel{amx, vnni}
}
