// Package train trains float graphs: it makes a training step of a network
// (forward, loss, gradient: a graph like any other, which a target runs),
// feeds it batches that depend on seed and step only, and updates the
// parameters. It owns optimizers, schedules, augmentation and checkpoints; it
// may import passes, internal/data and what stands below them.
package train
