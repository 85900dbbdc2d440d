package cpu

import (
	"testing"
	"time"
)

// Going without a late helper costs about what waiting for it did, and more the
// sooner it is late again.
func TestLoneCostsWhatTheWaitDid(t *testing.T) {
	const step = time.Millisecond
	spent := func(l *lone) (d time.Duration) {
		for l.left > 0 {
			l.ran(step, 2)
			d += step / 2
		}
		return d
	}
	var l lone
	l.waited(late, late)
	if l.left > 0 {
		t.Fatalf("a wait within patience leaves helpers out for %v", l.left)
	}
	for _, want := range []time.Duration{4, 8, 16, 32, 64, 128, 256, 256} {
		l.waited(4*time.Millisecond, late)
		if got := spent(&l); got != want*time.Millisecond {
			t.Errorf("late again: %v forgone, want %v", got, want*time.Millisecond)
		}
	}
	for range maxStreak * forgivenIn {
		l.waited(0, late)
	}
	l.waited(4*time.Millisecond, late)
	if got := spent(&l); got != 4*time.Millisecond {
		t.Errorf("late after a good time: %v forgone, want 4ms", got)
	}
}
