package evaluate

import (
	"sync"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

// Memory is a search.Store of one process.
type Memory struct {
	mu    sync.Mutex
	files map[string][]byte
}

// Put keeps a file.
func (m *Memory) Put(file []byte) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files == nil {
		m.files = map[string][]byte{}
	}
	d := search.Digest(file)
	m.files[d] = file
	return d, nil
}

// Get gives a file that was put.
func (m *Memory) Get(digest string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[digest]
	if !ok {
		return nil, &diag.Error{Place: "weights " + digest, Found: "nothing of that name", Wanted: "a file that a trial of this process left"}
	}
	return f, nil
}
