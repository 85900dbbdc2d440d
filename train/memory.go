package train

import (
	"fmt"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/memory"
	"github.com/nasc-dev/nasc/ir"
)

// room predicts the memory of the training and refuses one that this machine
// has not, before anything is allocated.
func (j *Job) room(s *step, teacher *ir.Graph) error {
	free := j.free
	if free == 0 {
		free = memory.Available()
	}
	if free == 0 {
		return nil // the system does not say
	}
	need, taught := j.predict(s), j.predictTeacher(teacher)
	if need+taught <= free {
		return nil
	}
	gb := func(n int64) string { return fmt.Sprintf("%.1f GB", float64(n)/1e9) }
	e := &diag.Error{
		Place: "memory", Found: "this training would take about " + gb(need+taught), Wanted: "at most " + gb(free) + ", which are free",
		Fix: fmt.Sprintf("a smaller --batch than %d", j.Batch),
	}
	if taught > 0 {
		e.Found += ", " + gb(taught) + " of them the teacher"
		e.Fix += ", or a smaller teacher"
	}
	return e
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
	for _, p := range j.trained {
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

// predictTeacher counts what a teacher's program keeps: its constants, once in
// the graph and once as kernels want them, the results of layers that are alive
// at a time, and its answers, as they are given and as they are kept.
func (j *Job) predictTeacher(g *ir.Graph) int64 {
	if g == nil {
		return 0
	}
	total := 2*g.ConstBytes() + alive(g)
	for _, v := range g.Outputs {
		total += v.Type.Bytes()
		if j.Teacher.Remembers(j.Config) {
			total += v.Type.Bytes() / int64(j.Batch) * int64(len(j.train.index))
		}
	}
	return total
}

// alive is the most bytes of nodes' results that are held at a time where each is
// freed after its last reader.
func alive(g *ir.Graph) int64 {
	left := map[*ir.Value]int{}
	for v, u := range g.Uses() {
		left[v] = len(u)
	}
	var now, most int64
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			now += v.Type.Bytes()
		}
		most = max(most, now)
		for _, v := range n.Outputs {
			if left[v] == 0 {
				now -= v.Type.Bytes()
			}
		}
		for _, v := range n.Inputs {
			if v == nil || v.Def == nil {
				continue
			}
			if left[v]--; left[v] == 0 {
				now -= v.Type.Bytes()
			}
		}
	}
	return most
}
