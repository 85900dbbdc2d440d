package cpu

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// helper is a thread of the process that runs lend. While lent and between
// steps it spins for some microseconds, then sleeps until it is woken.
type helper struct {
	gang   atomic.Pointer[gang] // whom it is lent to; nil when free
	stop   atomic.Bool
	sleep  parker
	cpu    atomic.Int32 // where it is pinned; −1 when it is not
	thread atomic.Int32 // its thread's number for the system, 0 before it runs
}

// helpers of the process: executables with more than one thread share them,
// so that several models side by side do not fight for cores.
var helpers struct {
	mu    sync.Mutex
	users int
	list  atomic.Pointer[[]*helper]
}

// retainHelpers makes sure that n helpers exist until releaseHelpers.
func retainHelpers(n int) {
	helpers.mu.Lock()
	defer helpers.mu.Unlock()
	helpers.users++
	var list []*helper
	if p := helpers.list.Load(); p != nil {
		list = slices.Clone(*p)
	}
	for len(list) < n {
		h := &helper{}
		h.sleep.init()
		h.cpu.Store(-1)
		go h.loop(len(list))
		list = append(list, h)
	}
	helpers.list.Store(&list)
}

// releaseHelpers ends the helpers with the last executable that needs them.
func releaseHelpers() {
	helpers.mu.Lock()
	defer helpers.mu.Unlock()
	helpers.users--
	if helpers.users > 0 {
		return
	}
	for _, h := range *helpers.list.Load() {
		h.stop.Store(true)
		h.wake()
	}
	helpers.list.Store(nil)
}

// lend fills into with free helpers, at most as many as fit, and returns those
// it got.
func lend(g *gang, into []*helper) []*helper {
	list := helpers.list.Load()
	if list == nil {
		return into[:0]
	}
	n := 0
	here := currentCPU()
	for _, h := range *list {
		if n == len(into) {
			break
		}
		if h.gang.CompareAndSwap(nil, g) {
			h.avoid(here)
			h.wake()
			into[n] = h
			n++
		}
	}
	return into[:n]
}

// giveBack frees lent helpers.
func giveBack(lent []*helper) {
	for _, h := range lent {
		h.gang.Store(nil)
	}
}

// wake ends the helper's sleep; it costs nothing when it is awake.
func (h *helper) wake() { h.sleep.wake() }

// How often a helper looks for work before it sleeps: with a pause in each
// round 1000 are some 20 to 50 µs. One that is lent goes on longer, over the
// steps that its user does alone: waking it takes about as long as they do.
const (
	spinRounds = 1000
	lentRounds = 6 * spinRounds
)

func (h *helper) loop(index int) {
	runtime.LockOSThread() // never unlocked: the thread and its affinity end with the goroutine
	h.pin(index)
	var g *gang
	const none = ^uint64(0)
	seen, idle := none, 0
	for !h.stop.Load() {
		if now := h.gang.Load(); now != g {
			g, seen, idle = now, none, 0
		}
		if g != nil {
			if e := g.join(seen); e != seen {
				seen, idle = e, 0
				continue
			}
		}
		idle++
		if idle < spinRounds || g != nil && idle < lentRounds {
			pause()
			continue
		}
		h.sleep.park(func() bool {
			return h.stop.Load() || h.gang.Load() != g || g != nil && g.state.Load()&openBit != 0 && g.state.Load()>>32 != seen
		})
		idle = 0
	}
}

// relax is one round of waiting for something that comes soon; in between it
// lets other threads of the CPU run, the one waited for perhaps.
func relax(spins int) {
	if spins%1024 == 1023 {
		yieldThread()
		return
	}
	pause()
}
