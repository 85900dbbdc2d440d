//go:build !amd64 && !arm64

package peak

func vectorLoops() []Loop { return nil }

func read(b []byte) { readPortable(b) }
