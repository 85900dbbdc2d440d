package cpu

import (
	"context"
	"sync"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// step is one entry of the plan.
type step struct {
	info   backends.Step
	work   work
	eval   *fallback // set instead of work where no kernel exists
	check  checker   // work's own check of its operands, where it has one
	recipe Recipe    // how work was made
	in     []operand
	out    []operand
	tiles  int
	share  bool    // worth more than one thread
	ns     float64 // a guess of its time on one
}

// operand is where a step finds one of its tensors; the zero operand is absent.
type operand struct {
	view
	typ ir.Type
}

// program is a compiled graph: the plan and the memories of its runs.
type program struct {
	inputs, outputs []*ir.Value
	steps           []step
	arena           int
	scratch         int
	level           isa.Level
	threads         int
	shares          bool // some step is worth more than one thread

	mu     sync.Mutex
	free   []*runMemory
	closed bool
}

// runMemory is what one run needs; runs side by side have one each, kept for later
// runs.
type runMemory struct {
	arena   []byte
	calls   []call
	patches []patch
	gang    *gang
	lent    []*helper
	room    []*helper
}

// patch puts a caller's tensor into a call when a run begins.
type patch struct {
	to     *[]byte
	output bool
	io     int
	off, n int
}

// Steps lists the plan.
func (p *program) Steps() []backends.Step {
	out := make([]backends.Step, len(p.steps))
	for i := range p.steps {
		out[i] = p.steps[i].info
	}
	return out
}

// ArenaBytes is the memory of intermediate values of one run.
func (p *program) ArenaBytes() int64 { return int64(p.arena) }

// Run computes out from in; see backends.Executable.
func (p *program) Run(ctx context.Context, in, out []*ir.Tensor) error {
	return p.run(ctx, in, out, nil, pauses{})
}

// RunTimed is Run that measures each step.
func (p *program) RunTimed(ctx context.Context, in, out []*ir.Tensor, took []time.Duration) error {
	if len(took) != len(p.steps) {
		return diag.Errorf("timed run", "found room for %d steps; the plan has %d", len(took), len(p.steps))
	}
	return p.run(ctx, in, out, took, pauses{})
}

// RunPaused is RunTimed, or Run where took is nil, that calls pause before the steps given.
func (p *program) RunPaused(ctx context.Context, in, out []*ir.Tensor, took []time.Duration, before []int, pause func(step int) error) error {
	if took != nil && len(took) != len(p.steps) {
		return diag.Errorf("timed run", "found room for %d steps; the plan has %d", len(took), len(p.steps))
	}
	return p.run(ctx, in, out, took, pauses{before, pause})
}

// pauses are the steps before which a run stops for a call.
type pauses struct {
	before []int
	call   func(step int) error
}

// Close ends the executable's use of the process's helpers.
func (p *program) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && p.threads > 1 {
		releaseHelpers()
	}
	p.closed = true
	p.free = nil
	return nil
}

func (p *program) run(ctx context.Context, in, out []*ir.Tensor, took []time.Duration, stop pauses) error {
	if err := backends.CheckTensors("input", p.inputs, in); err != nil {
		return err
	}
	if err := backends.CheckTensors("output", p.outputs, out); err != nil {
		return err
	}
	m, err := p.take()
	if err != nil {
		return err
	}
	for i := range m.patches {
		q := &m.patches[i]
		t := in
		if q.output {
			t = out
		}
		*q.to = rawBytes(t[q.io])[q.off : q.off+q.n]
	}
	p.borrow(m)
	err = p.execute(ctx, m, took, stop)
	giveBack(m.lent)
	m.lent = nil
	for i := range m.patches {
		*m.patches[i].to = nil // the caller's memory is the caller's
	}
	p.put(m)
	return err
}

// borrow calls in the process's helpers.
func (p *program) borrow(m *runMemory) {
	if p.shares {
		m.lent = lend(m.gang, m.room)
		m.gang.threads = 1 + len(m.lent)
	}
}

func (p *program) execute(ctx context.Context, m *runMemory, took []time.Duration, stop pauses) error {
	var last time.Time
	if took != nil {
		last = time.Now()
	}
	for i := range p.steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(stop.before) > 0 && stop.before[0] == i {
			stop.before = stop.before[1:]
			giveBack(m.lent)
			m.lent = nil
			if err := stop.call(i); err != nil {
				return err
			}
			p.borrow(m)
			last = time.Now()
		}
		s, c := &p.steps[i], &m.calls[i]
		c.held = 0
		if s.check != nil {
			if err := s.check.check(c); err != nil {
				return diag.At(s.info.Label, err)
			}
		}
		switch {
		case s.eval != nil:
			if err := s.eval.run(c); err != nil {
				return diag.At(s.info.Label, err)
			}
		case s.share && len(m.lent) > 0:
			m.gang.share(s.work, c, s.tiles, s.ns, m.lent)
		default:
			s.work.Run(0, s.tiles, c)
		}
		if took != nil {
			now := time.Now()
			took[i] += now.Sub(last)
			last = now
		}
	}
	return nil
}

// take gets the memory of a run, kept from an earlier one or new.
func (p *program) take() (*runMemory, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, diag.Errorf("run", "the executable is closed")
	}
	if n := len(p.free); n > 0 {
		m := p.free[n-1]
		p.free = p.free[:n-1]
		p.mu.Unlock()
		return m, nil
	}
	p.mu.Unlock()
	return p.newMemory(), nil
}

// keepFree is how many memories of runs are kept for later ones.
const keepFree = 16

func (p *program) put(m *runMemory) {
	p.mu.Lock()
	if !p.closed && len(p.free) < keepFree {
		p.free = append(p.free, m)
	}
	p.mu.Unlock()
}

func (p *program) newMemory() *runMemory {
	m := &runMemory{arena: guardedBytes(p.arena), calls: make([]call, len(p.steps))}
	var scratch []byte
	if p.threads > 1 {
		m.gang = &gang{}
		m.room = make([]*helper, p.threads-1)
		for i := range p.threads {
			m.gang.scratch[i] = alignedBytes(p.scratch)
		}
		scratch = m.gang.scratch[0]
	} else {
		scratch = alignedBytes(p.scratch)
	}
	for i := range p.steps {
		s, c := &p.steps[i], &m.calls[i]
		c.Scratch = scratch
		c.ops = make([][]byte, 0, len(s.in)+len(s.out))
		for _, o := range s.in {
			c.ops = append(c.ops, m.fixed(o))
		}
		for _, o := range s.out {
			c.ops = append(c.ops, m.fixed(o))
		}
		for k, o := range s.in {
			m.bind(&c.ops[k], o)
			switch k {
			case 0:
				c.X = c.ops[k]
				m.bind(&c.X, o)
			case 1:
				c.X2 = c.ops[k]
				m.bind(&c.X2, o)
			}
		}
		for k, o := range s.out {
			m.bind(&c.ops[len(s.in)+k], o)
			if k == 0 {
				c.Y = c.ops[len(s.in)]
				m.bind(&c.Y, o)
			}
		}
	}
	return m
}

// fixed gives the memory of an operand that is no tensor of the caller's.
func (m *runMemory) fixed(o operand) []byte {
	b := o.buf
	switch {
	case b == nil:
		return nil
	case b.where == inConst:
		return b.data[o.off : o.off+o.len]
	case b.where == inArena:
		at := b.offset + o.off
		return m.arena[at : at+o.len : at+o.len]
	}
	return nil
}

// bind notes that to is to be set to a tensor of the caller's at each run.
func (m *runMemory) bind(to *[]byte, o operand) {
	if o.buf != nil && (o.buf.where == inInput || o.buf.where == inOutput) {
		m.patches = append(m.patches, patch{to: to, output: o.buf.where == inOutput, io: o.buf.io, off: o.off, n: o.len})
	}
}
