package cpu

import "sync/atomic"

// maxThreads bounds the threads of one run.
const maxThreads = 64

// gang is the meeting place of one run's threads. The caller publishes a step;
// helpers that see it in time join and take units; when no unit is left the
// caller closes the step and waits only for those that joined. A helper that
// comes late, because it slept or lost its CPU, is never waited for.
type gang struct {
	// state is the step's number (high half), an open bit, and how many
	// helpers have joined.
	state atomic.Uint64
	_     [56]byte
	done  atomic.Int64 // helpers that joined and finished
	_     [56]byte
	parts [maxThreads]part

	// What the published step is; written while it is closed.
	work    work
	call    *call
	chunk   int64
	threads int
	scratch [maxThreads][]byte
}

// part is one thread's share of a step's units, from which others take when
// they have done their own.
type part struct {
	next atomic.Int64
	hi   int64
	own  call // the step's memory with this thread's scratch
	_    [40]byte
}

const (
	openBit    = 1 << 16
	joinedMask = openBit - 1
)

// share runs a step on up to g.threads threads and returns when it is done.
func (g *gang) share(w work, c *call, tiles int, helpers []*helper) {
	g.work, g.call = w, c
	t := g.threads
	g.chunk = int64(max(1, tiles/(t*4)))
	for i := range t {
		g.parts[i].next.Store(int64(tiles * i / t))
		g.parts[i].hi = int64(tiles * (i + 1) / t)
	}
	g.done.Store(0)
	epoch := g.state.Load()>>32 + 1
	g.state.Store(epoch<<32 | openBit)
	for _, h := range helpers {
		h.wake()
	}
	g.take(0)
	for {
		s := g.state.Load()
		if g.state.CompareAndSwap(s, s&^openBit) {
			for joined, spins := int64(s&joinedMask), 0; g.done.Load() < joined; spins++ {
				relax(spins)
			}
			return
		}
	}
}

// join takes part in the open step, if there is one that wants more hands and
// that is not the one numbered seen. It returns the number of the step.
func (g *gang) join(seen uint64) uint64 {
	for {
		s := g.state.Load()
		epoch := s >> 32
		if epoch == seen || s&openBit == 0 {
			return seen
		}
		ticket := int(s&joinedMask) + 1
		if ticket >= g.threads {
			return epoch
		}
		if g.state.CompareAndSwap(s, s+1) {
			g.take(ticket)
			g.done.Add(1)
			return epoch
		}
	}
}

// take runs units: first those of part me, then what others have left.
func (g *gang) take(me int) {
	own := &g.parts[me].own
	*own = *g.call
	own.Scratch = g.scratch[me]
	for k := range g.threads {
		p := &g.parts[(me+k)%g.threads]
		for {
			hi := p.next.Add(g.chunk)
			lo := hi - g.chunk
			if lo >= p.hi {
				break
			}
			g.work.Run(int(lo), int(min(hi, p.hi)), own)
		}
	}
}
