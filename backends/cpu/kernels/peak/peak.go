// Package peak measures what this machine can do at most: the rate of its
// widest multiply-accumulate instructions out of registers, and how fast bytes
// come from the second level cache and from memory. These are the roofs that
// bench --per-op holds steps to.
//
// It may import kernels/isa, x/sys and the standard library.
package peak

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

//go:generate go run ./gen

// Kind is what a loop counts.
type Kind string

// The kinds of loops.
const (
	Int8 Kind = "int8" // operations on 8-bit integers, sums in 32
	F32  Kind = "f32"  // operations on float32
)

// Loop is an instruction repeated on registers, with enough sums side by side
// that its latency does not show.
type Loop struct {
	Name  string // the instruction
	Kind  Kind
	Level string  // the instruction set, by the name of isa.Level
	Ops   float64 // multiplications and additions of one iteration
	run   func(n int)
}

var portableLoops = []Loop{
	{"go int32", Int8, isa.Portable.String(), 16, spin32},
	{"go float32", F32, isa.Portable.String(), 16, spinF32},
}

// Loops lists what this machine runs, widest first.
func Loops() []Loop { return append(vectorLoops(), portableLoops...) }

// levels orders the names of instruction sets, the widest first: a level
// without a loop of a kind has that of the next one.
var levels = []string{isa.AMX.String(), isa.VNNI.String(), isa.AVXVNNI.String(), isa.AVX2.String(), isa.NEONDot.String(), isa.NEON.String(), isa.Portable.String()}

// For gives the loop that speaks for kernels of a level.
func For(k Kind, level string) Loop {
	all := Loops()
	from := max(slices.Index(levels, level), 0)
	for _, name := range levels[from:] {
		for _, l := range all {
			if l.Kind == k && l.Level == name {
				return l
			}
		}
	}
	return portableLoops[0]
}

// GOPS runs the loop on so many threads at once for about d and gives 10^9
// operations a second of all together, of the fastest windows.
func (l Loop) GOPS(threads int, d time.Duration) float64 {
	return l.Ops * together(threads, d, func(int) func() float64 {
		n := 64
		for { // a call of some 20 µs: assembly cannot be preempted
			start := time.Now()
			l.run(n)
			if time.Since(start) > 20*time.Microsecond {
				break
			}
			n *= 2
		}
		return func() float64 { l.run(n); return float64(n) }
	})
}

// together runs a function again and again on each thread, in windows of a
// millisecond, and gives what it counted a nanosecond, summed over the threads:
// the fastest window of each.
func together(threads int, d time.Duration, prepare func(thread int) func() float64) float64 {
	var wg, ready sync.WaitGroup
	rates := make([]float64, threads)
	ready.Add(threads)
	for t := range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			f := prepare(t)
			ready.Done()
			ready.Wait()
			for end := time.Now().Add(d); time.Now().Before(end); {
				count, start := 0.0, time.Now()
				for time.Since(start) < time.Millisecond {
					count += f()
				}
				rates[t] = max(rates[t], count/float64(time.Since(start).Nanoseconds()))
			}
		})
	}
	wg.Wait()
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	return sum
}

var sink32 int32

func spin32(n int) {
	var a, b, c, d, e, f, g, h int32
	x := sink32
	for range n {
		a += x * 3
		b += x * 5
		c += x * 7
		d += x * 11
		e += x * 13
		f += x * 17
		g += x * 19
		h += x * 23
		x ^= a
	}
	sink32 = a + b + c + d + e + f + g + h
}

var sinkF32 float32

func spinF32(n int) {
	var a, b, c, d, e, f, g, h float32
	x := sinkF32
	for range n {
		a += x * 3
		b += x * 5
		c += x * 7
		d += x * 11
		e += x * 13
		f += x * 17
		g += x * 19
		h += x * 23
	}
	sinkF32 = a + b + c + d + e + f + g + h
}
