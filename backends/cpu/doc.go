// Package cpu is nasc's own engine: it turns a static graph into a plan, a
// list of fused kernel calls over one memory arena, and runs the plan on a few
// pinned threads without allocating.
//
// It owns the plan (which nodes one kernel computes, in which order, where
// each value lies), the movement of bytes between layouts, the worker pool,
// and the two targets cpu-f32 and cpu-int8, which share all of it. Arithmetic
// is in the kernel packages below it. Float functions of large tensors, one after
// the other, are one step that takes all of them over a block of rows at a time.
// What has no kernel runs through the op table's own evaluation: right, slow, and
// marked in the plan.
//
// It may import backends, ir, internal/diag and its kernels, and from outside
// the standard library and x/sys: services embed it.
package cpu
