// Package quant is the mathematics of quantization: observers that watch
// activations, scales and zero points, requantization factors, tables of unary
// functions, and the rounding of weights (nearest, GPTQ, AdaRound) with its
// corrections. README.md writes the integer arithmetic down.
//
// It knows tensors and layers as arrays of numbers: graphs are package passes'
// business. It imports ir and internal packages, and gonum for linear algebra.
package quant
