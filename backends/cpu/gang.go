package cpu

import (
	"sync/atomic"
	"time"
)

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

	alone lone
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

// lone decides when steps are run without helpers. A caller that waits long for a
// helper shares its CPUs with others: a helper that is put aside in the middle of
// a unit may cost more than it gives. So what helpers save is counted against
// what was waited for them. Where that is more, the caller goes without until this
// has cost it as much, then tries again; twice as long, and so on, where helpers
// have not saved a wait's time since. A hiccup of the system now and then costs
// little, and a CPU that is taken for good is asked for less and less.
type lone struct {
	left   time.Duration // what going without may still cost
	credit time.Duration // what helpers have saved lately, less the waits
	saved  time.Duration // what they have saved since the caller last went without
	streak uint          // doublings
}

const (
	late       = time.Millisecond
	maxStreak  = 6
	mostCredit = 4 * time.Millisecond
)

// ran notes a step of d that threads could have shared.
func (l *lone) ran(d time.Duration, threads int) {
	l.left -= d - d/time.Duration(threads)
}

// shared notes a step that one thread would take about d for.
func (l *lone) shared(d time.Duration, threads int) {
	d -= d / time.Duration(threads)
	l.saved += d
	l.credit = min(l.credit+d, mostCredit)
}

// waited notes a shared step at whose end the caller waited for d.
func (l *lone) waited(d, patience time.Duration) {
	if d <= patience {
		return
	}
	if l.credit -= d; l.credit >= 0 {
		return
	}
	if l.saved >= d {
		l.streak = 0
	}
	l.left = -l.credit << l.streak
	l.credit, l.saved, l.streak = 0, 0, min(l.streak+1, maxStreak)
}

// A helper takes units worth about pieceNS at a time, and not more than a
// quarter of its share.
const pieceNS = 50_000

// share runs a step on up to g.threads threads and returns when it is done. ns
// is a guess of its time on one.
func (g *gang) share(w work, c *call, tiles int, ns float64, helpers []*helper) {
	if g.alone.left > 0 {
		begun := time.Now()
		w.Run(0, tiles, c)
		g.alone.ran(time.Since(begun), g.threads)
		return
	}
	g.alone.shared(time.Duration(ns), g.threads)
	g.work, g.call = w, c
	t := g.threads
	each := ns / float64(tiles)
	g.chunk = int64(max(1, min(tiles/(t*4), int(pieceNS/max(each, 1)))))
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
			g.wait(int64(s&joinedMask), max(late, time.Duration(10*each)))
			return
		}
	}
}

// wait returns when all that joined are done.
func (g *gang) wait(joined int64, patience time.Duration) {
	var since time.Time
	for spins := 1; g.done.Load() < joined; spins++ {
		relax(spins)
		if spins == 1000 {
			since = time.Now()
		}
	}
	if since.IsZero() {
		g.alone.waited(0, patience)
		return
	}
	g.alone.waited(time.Since(since), patience)
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
