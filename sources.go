package nasc

import "embed"

// Sources holds what an exported Go package copies: the engine's kernels as
// source text, with the files that a module of its own needs.
//
//go:embed LICENSE go.mod go.sum backends/cpu/kernels/*/*.go backends/cpu/kernels/*/*.s internal/fmath/*.go internal/diag/*.go
var Sources embed.FS
