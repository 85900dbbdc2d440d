//go:build !amd64

package int8

func gatherPieces(*gatherArgs) { panic("BUG: windows gathered without tile registers") }
