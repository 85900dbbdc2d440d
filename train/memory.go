package train

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

// room predicts the memory of the training and refuses one that this machine
// has not, before anything is allocated.
func (j *Job) room(s *step) error {
	free := j.free
	if free == 0 {
		free = available()
	}
	if free == 0 {
		return nil // the system does not say
	}
	need := j.predict(s)
	if need <= free {
		return nil
	}
	gb := func(n int64) string { return fmt.Sprintf("%.1f GB", float64(n)/1e9) }
	return &diag.Error{
		Place: "memory", Found: "this training would take about " + gb(need), Wanted: "at most " + gb(free) + ", which are free",
		Fix: fmt.Sprintf("a smaller --batch than %d", j.Batch),
	}
}

// predict counts what backward keeps of forward, the parameters with
// gradient, moments and average, and the samples in memory.
func (j *Job) predict(s *step) int64 {
	var activations, params int64
	for _, n := range s.graph.Nodes {
		for _, v := range n.Outputs {
			activations += v.Type.Bytes()
		}
	}
	for _, p := range j.Network.Params {
		params += 4 * int64(len(p.Value))
	}
	copies := int64(3 + j.opt.moments) // with the gradient and a copy for validation
	if j.EMA > 0 {
		copies++
	}
	total := activations + activations/2 + copies*params
	for _, x := range []*samples{j.train.samples, j.valid} {
		if x != nil && x.kept != nil {
			total += x.bytes * int64(len(x.index))
		}
	}
	return total
}

// available is the memory that a program may take without swapping; 0 where
// the system does not say.
func available() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}
