package main

import "fmt"

// gemmVNNI writes the matrix kernels on 512 bits: v vectors of 16 channels
// times up to 28 accumulators' worth of rows.
func gemmVNNI() {
	for _, s := range []struct{ vecs, rows int }{{4, 7}, {3, 8}, {2, 14}, {1, 14}} {
		for rows := 1; rows <= s.rows; rows++ {
			gemm(fmt.Sprintf("gemmVNNI%dx%d", rows, 16*s.vecs), vnni512, rows, s.vecs)
		}
	}
}
