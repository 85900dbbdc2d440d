package main

import "fmt"

// gemmAVX2 writes the matrix kernels on 256 bits: bytes through VPDPBUSD, and
// 16-bit operands through VPMADDWD.
func gemmAVX2() {
	for _, s := range []struct{ vecs, rows int }{{2, 6}, {1, 12}} {
		for rows := 1; rows <= s.rows; rows++ {
			gemm(fmt.Sprintf("gemmAVXVNNI%dx%d", rows, 8*s.vecs), vnni256, rows, s.vecs)
			gemm(fmt.Sprintf("gemmAVX2%dx%d", rows, 8*s.vecs), words256, rows, s.vecs)
		}
	}
}
