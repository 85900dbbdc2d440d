// Package isa names the instruction sets that the CPU engine has kernels for,
// finds those of this machine, and lets NASC_ISA force one.
//
// It owns detection and nothing else; it may import internal/diag, x/sys/cpu
// and the standard library.
package isa

import (
	"os"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Level is an instruction set, or a family of them that kernels need together.
type Level uint8

// The levels, slower ones first.
const (
	Portable Level = iota // plain Go
	AVX2                  // AVX2 and FMA
	AVXVNNI               // AVX2 with VPDPBUSD on 256 bits (VEX)
	VNNI                  // AVX-512 F, BW, DQ, VL and VNNI
	AMX                   // VNNI and tile registers with 8-bit products
	NEON                  // arm64's vectors
	NEONDot               // NEON with products of four bytes (SDOT)
)

// Env is the environment variable that forces a level.
const Env = "NASC_ISA"

var names = [...]string{Portable: "portable", AVX2: "avx2", AVXVNNI: "avxvnni", VNNI: "vnni", AMX: "amx", NEON: "neon", NEONDot: "neondot"}

// String is the name that Parse and NASC_ISA take.
func (l Level) String() string {
	if int(l) >= len(names) {
		return "unknown"
	}
	return names[l]
}

// Has says whether a kernel written for k runs at level l.
func (l Level) Has(k Level) bool {
	switch k {
	case Portable:
		return true
	case AVX2:
		return l >= AVX2 && l < NEON
	case VNNI:
		return l == VNNI || l == AMX
	case NEON:
		return l >= NEON
	}
	return l == k
}

// Parse gives the level of a name, whether or not this machine has it.
func Parse(name string) (Level, error) {
	if i := slices.Index(names[:], name); i >= 0 {
		return Level(i), nil
	}
	return Portable, &diag.Error{
		Found: "unknown instruction set " + quote(name), Wanted: "one of " + strings.Join(names[:], ", "),
		Fix: "this machine has " + Names(Available()),
	}
}

// Available lists the levels that this machine runs, best first.
func Available() []Level { return slices.Clone(available) }

var available = detect()

// Best is the level that NASC_ISA names, or else the best of this machine. A
// name that is unknown, or a level that this machine lacks, is an error.
func Best() (Level, error) { return choose(os.Getenv(Env)) }

func choose(name string) (Level, error) {
	if name == "" {
		return available[0], nil
	}
	l, err := Parse(name)
	if err != nil {
		return Portable, diag.At(Env, err)
	}
	if !slices.Contains(available, l) {
		return Portable, &diag.Error{
			Place: Env, Found: "this machine cannot run " + name,
			Wanted: "one of " + Names(available), Fix: "unset it to take the best",
		}
	}
	return l, nil
}

// Names lists levels, with commas.
func Names(ls []Level) string {
	s := make([]string, len(ls))
	for i, l := range ls {
		s[i] = l.String()
	}
	return strings.Join(s, ", ")
}

func quote(s string) string { return `"` + s + `"` }
