// Package nascfile reads and writes .nasc files: a zip whose parts are stored
// as they are, so that weights can be mapped into memory:
//
//	manifest.toml        where the model came from, what was done, labels
//	graph.txt            the graphs as text IR
//	weights.safetensors  the constants that the text leaves out
//
// Every part begins at a multiple of 64 bytes. The same model gives the same
// bytes. The package is part of the runtime that services embed: it may import
// ir, internal/diag, internal/safetensors and x/sys only.
package nascfile

// Version is the greatest format that this package writes; files of a greater
// one are refused. Format 2 has sparse constants; a file without them is of
// format 1, which older readers take.
const Version = 2

const (
	manifestPart = "manifest.toml"
	graphPart    = "graph.txt"
	weightsPart  = "weights.safetensors"
)
