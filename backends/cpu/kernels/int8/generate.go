package int8

// The assembly for arm64, which any machine can write.

//go:generate go run ./gen -set gemm_neon -out gemm_neon_arm64.s
//go:generate go run ./gen -set finish_neon -out finish_neon_arm64.s
//go:generate go run ./gen -set depthwise_neon -out depthwise_neon_arm64.s
//go:generate go run ./gen -set rows_neon -out rows_neon_arm64.s
//go:generate go run ./gen -set dynamic_neon -out dynamic_neon_arm64.s
