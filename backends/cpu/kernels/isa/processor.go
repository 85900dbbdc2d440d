package isa

import (
	"os"
	"runtime"
	"strings"
)

// Processor names this machine's processor, with family and model where the
// system tells them: what measured fastest on one is kept under its name.
func Processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	return processorOf(string(b))
}

// processorOf reads the first processor of /proc/cpuinfo.
func processorOf(text string) string {
	first := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			if k = strings.TrimSpace(k); first[k] == "" {
				first[k] = strings.Join(strings.Fields(v), " ")
			}
		}
	}
	or := func(k string) string {
		if v := first[k]; v != "" {
			return v
		}
		return "unknown"
	}
	if first["model name"] == "" {
		return runtime.GOARCH
	}
	return first["model name"] + " family " + or("cpu family") + " model " + or("model")
}
