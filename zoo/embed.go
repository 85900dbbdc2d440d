// Package zoo holds architecture files of known networks, and the weights of
// those that come trained. README.md explains the form; package frontend/arch
// reads it. It imports only the standard library.
package zoo

import "embed"

// FS holds the architecture files by name, the spaces under spaces/ and sweep/, and
// what they refer to.
//
//go:embed *.toml spaces/*.toml sweep/*.toml digits/weights.safetensors
var FS embed.FS
