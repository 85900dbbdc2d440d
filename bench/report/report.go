// Package report is what the benches' reports share: where they go, and what names
// the machine.
package report

import (
	"fmt"
	"os"
	"strings"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/latency"
)

// Write writes a report to the file, to stdout where none is named.
func Write(file, text string) error {
	if file == "" {
		_, err := fmt.Print(text)
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// Machine names the processor, its cores, the instruction set and Go's version.
func Machine() string {
	var parts []string
	for _, f := range latency.Fingerprint(nasc.Version(), "", "", 1, 1) {
		switch f.Name {
		case "cpu", "go":
			parts = append(parts, f.Value)
		case "cores", "isa":
			parts = append(parts, f.Name+" "+f.Value)
		}
	}
	return strings.Join(parts, ", ")
}

// CPU names the processor.
func CPU() string {
	for _, f := range latency.Fingerprint("", "", "", 1, 1) {
		if f.Name == "cpu" {
			return f.Value
		}
	}
	panic("BUG: a fingerprint without cpu")
}
