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
// one are refused. Format 2 has sparse constants, format 3 constants of 4 bits; a
// file is of the least format that has what it holds, so that older readers take
// what they can.
const Version = 3

const (
	manifestPart = "manifest.toml"
	graphPart    = "graph.txt"
	weightsPart  = "weights.safetensors"
)
