// Package fmath is nasc's float32 arithmetic, defined to the bit.
//
// Every function is a fixed sequence of IEEE 754 operations (add, multiply,
// divide, square root, fused multiply-add, conversions, selects), each rounded
// once to nearest even, so that the interpreter, the portable kernels and the
// vector kernels of every CPU give the same bits. Products are converted
// explicitly wherever the Go compiler would otherwise be free to fuse them with
// an addition.
//
// Decisions that hold for all of it:
//   - Subnormals are neither flushed on input nor on output.
//   - A NaN operand gives a NaN result (or the documented exception); which NaN
//     it is (sign, payload) is not defined.
//   - Exp and Log are within 2 units in the last place of the true value, the
//     other functions within 4; fmath_test.go proves it against package math.
//
// It owns no tensors and no names of operations. It may import only the
// standard library.
package fmath
