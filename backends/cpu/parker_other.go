//go:build !linux

package cpu

import "sync/atomic"

// parker puts one goroutine to sleep.
type parker struct {
	asleep atomic.Bool
	bell   chan struct{}
}

func (p *parker) init() { p.bell = make(chan struct{}, 1) }

// park sleeps until wake, unless ready says that there is work already.
func (p *parker) park(ready func() bool) {
	p.asleep.Store(true)
	if ready() {
		if !p.asleep.Swap(false) {
			<-p.bell // a wake came in between and has rung
		}
		return
	}
	<-p.bell
}

// wake ends the sleep.
func (p *parker) wake() {
	if p.asleep.Load() && p.asleep.Swap(false) {
		p.bell <- struct{}{}
	}
}
