// Command peak prints what this machine can do at most: the rate of each
// multiply-accumulate instruction out of registers, and how fast bytes come
// from the second level cache and from memory.
//
//	go run ./bench/peak -threads 2
//	go run ./bench/peak -level vnni -json      one figure of int8, for scripts
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/peak"
)

func main() {
	threads := flag.Int("threads", 1, "threads that run at once; the figures are of all together")
	level := flag.String("level", "", "only the int8 peak of this instruction set: amx, vnni, avxvnni, avx2, portable")
	d := flag.Duration("time", 100*time.Millisecond, "how long each figure is measured")
	asJSON := flag.Bool("json", false, "print JSON, a line a figure")
	flag.Parse()
	if *threads < 1 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "peak: wanted -threads 1 or more and no arguments")
		os.Exit(2)
	}
	loops := peak.Loops()
	if *level != "" {
		loops = []peak.Loop{peak.For(peak.Int8, *level)}
		if loops[0].Level != *level {
			fmt.Fprintf(os.Stderr, "peak: this machine has no int8 loop for %q\n", *level)
			os.Exit(2)
		}
	}
	for _, l := range loops {
		show(*asJSON, row{l.Level, l.Name, string(l.Kind), l.GOPS(*threads, *d), "GOPS"})
	}
	if *level == "" {
		l2, memory := peak.Bandwidth(*threads, 2**d)
		show(*asJSON, row{"", fmt.Sprintf("L2 cache, %d KiB a core", peak.L2Bytes()>>10), "bytes", l2, "GB/s"})
		show(*asJSON, row{"", "memory", "bytes", memory, "GB/s"})
	}
}

type row struct {
	Level string  `json:"level,omitempty"`
	Name  string  `json:"name"`
	Kind  string  `json:"kind"`
	Rate  float64 `json:"rate"`
	Unit  string  `json:"unit"`
}

func show(asJSON bool, r row) {
	if asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			fmt.Fprintln(os.Stderr, "peak:", err)
			os.Exit(1)
		}
		return
	}
	fmt.Printf("%-9s %-6s %-24s %8.0f %s\n", r.Level, r.Kind, r.Name, r.Rate, r.Unit)
}
