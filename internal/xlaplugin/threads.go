package xlaplugin

import (
	"sync"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Clients are XLA clients by how many threads run at once. A client starts its
// threads when it is made: on so many processors, which runs keep to with
// OnProcessors.
type Clients[C any] struct {
	mu   sync.Mutex
	made map[int]client[C]
}

type client[C any] struct {
	c   C
	err error
}

// Get gives the client with so many threads, 0 being one, as make makes it.
func (s *Clients[C]) Get(threads int, make func(path string) (C, error)) (C, error) {
	threads = max(threads, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.made[threads]; ok {
		return c.c, c.err
	}
	var c client[C]
	path, err := Find()
	if c.err = err; err == nil {
		OnProcessors(threads, func() { c.c, err = make(path) })
		if err != nil {
			c.err = &diag.Error{Place: "XLA plugin " + path, Found: "it does not load", Err: err, Fix: "`make xla` brings one that does"}
		}
	}
	if s.made == nil {
		s.made = map[int]client[C]{}
	}
	s.made[threads] = c
	return c.c, c.err
}
