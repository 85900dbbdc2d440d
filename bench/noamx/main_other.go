//go:build !linux || !amd64

// Noamx hides AMX from a command, on Linux and amd64 alone.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "noamx: found another system; wanted Linux on amd64, where AMX is asked for")
	os.Exit(1)
}
