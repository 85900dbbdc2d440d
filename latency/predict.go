package latency

import (
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
)

// NodeTime is what one step of a plan is predicted to take, in ms.
type NodeTime struct {
	Node   string  `json:"node"`
	Op     string  `json:"op"`
	Kernel string  `json:"kernel"`
	MS     float64 `json:"ms"`
	Lo     float64 `json:"lo_ms"`
	Hi     float64 `json:"hi_ms"`
	Source string  `json:"source"` // hit
}

// Prediction is what a network is predicted to take, in ms. Lo and Hi are the
// sums of the rows' 10th and 90th percentiles.
type Prediction struct {
	Total   float64    `json:"total_ms"`
	Lo      float64    `json:"lo_ms"`
	Hi      float64    `json:"hi_ms"`
	PerNode []NodeTime `json:"per_node"`
}

// Predict sums the rows of a plan's steps. Every kernel that the table lacks
// is named in the error.
func (t *Table) Predict(p backends.Planned) (*Prediction, error) {
	out := &Prediction{PerNode: []NodeTime{}}
	var errs diag.List
	named := map[string]bool{}
	for _, s := range p.Steps() {
		key := Key(s)
		r, ok := t.Find(key)
		if !ok {
			if !named[key] {
				errs.Add(&diag.Error{Place: s.Op + " " + s.Label, Found: "its kernel is not in the table: " + key, Fix: "profile a model that has it (nasc profile --models)"})
			}
			named[key] = true
			continue
		}
		n := NodeTime{Node: s.Label, Op: s.Op, Kernel: s.Kernel, MS: r.Median / 1000, Lo: r.P10 / 1000, Hi: r.P90 / 1000, Source: "hit"}
		out.PerNode = append(out.PerNode, n)
		out.Total, out.Lo, out.Hi = out.Total+n.MS, out.Lo+n.Lo, out.Hi+n.Hi
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return out, nil
}
