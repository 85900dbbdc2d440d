//go:build !linux

package latency

import "time"

// Switches counts how often the system took the CPU away; this one does not tell.
func Switches(int) int64 { return -1 }

// CPUTime is what the calling thread has run so far; this system does not tell.
func CPUTime() (time.Duration, bool) { return 0, false }

// ProcessTime is what all threads of the process have run so far; this system
// does not tell.
func ProcessTime() (time.Duration, bool) { return 0, false }
