package cpu

import (
	"testing"
	"time"
)

// Going without late helpers costs about what waiting for them did beyond what
// they had saved; more the sooner they are late again, as long as they do not pay.
func TestLoneCostsWhatTheWaitDid(t *testing.T) {
	const ms = time.Millisecond
	spent := func(l *lone) (d time.Duration) {
		for l.left > 0 {
			l.ran(ms, 2)
			d += ms / 2
		}
		return d
	}
	var l lone
	l.waited(late, late)
	if l.left > 0 {
		t.Fatalf("a wait within patience leaves helpers out for %v", l.left)
	}
	for _, want := range []time.Duration{4, 8, 16, 32, 64, 128, 256, 256} {
		l.waited(4*ms, late)
		if got := spent(&l); got != want*ms {
			t.Errorf("late again: %v forgone, want %v", got, want*ms)
		}
	}
	// A hiccup of 10 ms for every 50 ms of shared work costs no more than itself.
	for i := range 5 {
		for range 50 {
			l.shared(2*ms, 2) // saves one
			l.waited(0, late)
		}
		l.waited(10*ms, late)
		if got := spent(&l); got != 10*ms-mostCredit {
			t.Errorf("hiccup %d: %v forgone, want %v", i, got, 10*ms-mostCredit)
		}
	}
	// A short one that helpers have saved before costs nothing more.
	for range 8 {
		l.shared(ms, 2)
	}
	if l.waited(3*ms, late); l.left > 0 {
		t.Errorf("a wait of less than was saved leaves helpers out for %v", l.left)
	}
}
