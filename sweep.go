package nasc

import (
	"path"
	"slices"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/zoo"
)

// SweepNets is how many networks a profile takes of each space of the sweep.
const SweepNets = 32

// Sweep gives the spaces whose kernels a profile measures when it is told of no
// others: small networks, each space for one family of kernels, with sizes that
// are dense where latency bends.
func Sweep() ([]*arch.Space, error) {
	entries, err := zoo.FS.ReadDir("sweep")
	if err != nil {
		return nil, err
	}
	var out []*arch.Space
	for _, e := range entries {
		s, err := arch.LoadSpaceFS(zoo.FS, path.Join("sweep", e.Name()), e.Name())
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return slices.Clip(out), nil
}
