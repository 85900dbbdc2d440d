package latency

import (
	"fmt"
	"math"

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
	Source string  `json:"source"` // Hit, Interpolated or Modelled
}

// Where a step's time comes from.
const (
	Hit          = "hit"          // its kernel has a row
	Interpolated = "interpolated" // rows of the same kernel and form lie around its sizes
	Modelled     = "modelled"     // the model of its family
)

// Prediction is what a network is predicted to take, in ms, with a 90 %
// interval. Overhead is what a run takes beside its steps.
type Prediction struct {
	Total    float64    `json:"total_ms"`
	Lo       float64    `json:"lo_ms"`
	Hi       float64    `json:"hi_ms"`
	Overhead float64    `json:"overhead_ms"`
	Arena    int64      `json:"arena_bytes"` // of intermediate values of one run, exactly
	File     int64      `json:"file_bytes"`  // of the .nasc file, exactly; 0: not asked
	Joules   *float64   `json:"joules,omitempty"`
	Hits     int        `json:"hits"`
	PerNode  []NodeTime `json:"per_node"`
}

// learned gives the table's models, made when they are first needed.
func (t *Table) learned() *model {
	t.fitted.Do(func() { t.model = newModel(t) })
	return t.model
}

// kernelTime is the time of one kernel in µs, as the table or its models say.
func (t *Table) kernelTime(key string, macs, bytes int64) (e estimate, source string, ok bool) {
	if i, found := t.index[key]; found && t.Rows[i].Median > 0 {
		s := t.learned().rows[i]
		e := estimate{t: s.t, lo: s.t * math.Exp(-s.off), hi: s.t * math.Exp(s.off), settled: len(s.seen) >= enough}
		if t.Rows[i].Runs == 0 {
			return e, Modelled, true
		}
		return e, Hit, true
	}
	p, err := newPoint(key, macs, bytes)
	if err != nil {
		return e, "", false
	}
	e, ok = t.learned().estimate(p)
	if e.between {
		return e, Interpolated, ok
	}
	return e, Modelled, ok
}

// sameFamily is how alike the errors of different kernels of one family are.
const sameFamily = 0.3

// Predict sums the steps of a plan. A kernel that is not in the table comes
// from the model of its family; one of which the table has no relative is an
// error that names it.
func (t *Table) Predict(p backends.Planned) (*Prediction, error) {
	out, err := t.PredictSteps(p.Steps())
	if out != nil {
		out.Arena = p.ArenaBytes()
	}
	return out, err
}

// PredictSteps is Predict for the steps alone.
func (t *Table) PredictSteps(steps []backends.Step) (*Prediction, error) {
	out := &Prediction{PerNode: []NodeTime{}}
	var missing []*missingKind
	sum := 0.0
	off := map[string]float64{}    // by key: what its steps may be off by, in ms
	uses := map[string]*blockUse{} // by key
	var order []string
	c, w := t.network(), t.learned().within
	for _, s := range steps {
		key := Key(s)
		e, source, ok := t.kernelTime(key, s.MACs, s.Bytes)
		if !ok {
			missing = addMissing(missing, s, key)
			continue
		}
		if source == Hit {
			out.Hits++
		}
		out.PerNode = append(out.PerNode, NodeTime{Node: s.Label, Op: s.Op, Kernel: s.Kernel, MS: e.t / 1000, Lo: e.lo / 1000, Hi: e.hi / 1000, Source: source})
		sum += e.t / 1000
		if w != nil {
			if uses[key] == nil {
				uses[key] = t.blockUse(key, e)
				order = append(order, key)
			}
			uses[key].n++
			if uses[key].row < 0 {
				off[key] += (e.hi - e.lo) / 2 / 1000
			}
			continue
		}
		if !e.settled || !c.known() { // of the others the correction's interval tells
			off[key] += (e.hi - e.lo) / 2 / 1000
		}
	}
	if err := missingError(missing); err != nil {
		return nil, err
	}
	out.Total = (c.a + float64(len(steps))*c.c) / 1000
	out.Total += c.b * sum
	if out.Total <= 0 && sum > 0 {
		out.Total = t.level() * sum
	}
	out.Overhead = out.Total - sum
	families, alone := map[string]float64{}, 0.0
	for key, o := range off {
		alone += o * o
		if k, err := parseKey(key); err == nil {
			families[k.family] += o
		}
	}
	together := 0.0
	for _, o := range families {
		together += o * o
	}
	h := c.off
	if w != nil && out.Total > 0 {
		var list []blockUse
		for _, k := range order {
			list = append(list, *uses[k])
		}
		const sd = 1.645 // of 90 %
		h = math.Hypot(max(h, leastOff), w.off(out.Total*1000, list, (sameFamily*together+(1-sameFamily)*alone)/(sd*sd*out.Total*out.Total)))
	} else if out.Total > 0 {
		h = math.Sqrt(h*h + (sameFamily*together+(1-sameFamily)*alone)/(out.Total*out.Total))
	}
	h *= t.width()
	out.Lo, out.Hi = out.Total*math.Exp(-h), out.Total*math.Exp(h)
	return out, nil
}

// blockUse is a kernel of a network that is predicted.
func (t *Table) blockUse(key string, e estimate) *blockUse {
	if i, ok := t.index[key]; ok && t.Rows[i].Median > 0 {
		return &blockUse{row: i, family: KeyFamily(key)}
	}
	return &blockUse{row: -1, family: KeyFamily(key), us: e.t}
}

// missingKind is a kind of kernels that a table has none of.
type missingKind struct {
	family string
	first  backends.Step
	key    string
	more   int
}

func addMissing(list []*missingKind, s backends.Step, key string) []*missingKind {
	family := KeyFamily(key)
	for _, m := range list {
		if m.family == family {
			m.more++
			return list
		}
	}
	return append(list, &missingKind{family: family, first: s, key: key})
}

// missingError names the first step of each kind.
func missingError(list []*missingKind) error {
	var errs diag.List
	for _, m := range list {
		place := m.first.Op + " " + m.first.Label
		if m.more > 0 {
			place += fmt.Sprintf(" and %d more", m.more)
		}
		errs.Add(&diag.Error{Place: place, Found: "its kernel is not in the table, nor any of its kind: " + m.key, Fix: "profile a model that has it (nasc profile --models)"})
	}
	return errs.Err()
}

// Family names the kind of work that a step is, as the models tell them apart.
func Family(s backends.Step) string {
	return KeyFamily(Key(s))
}

// KeyFamily is Family by the key of a row.
func KeyFamily(key string) string {
	k, err := parseKey(key)
	if err != nil {
		return key
	}
	return k.family
}

// StepCost is what a step of ms adds to a network's time, RunCost what every run
// takes beside its steps: a network's time is RunCost and the StepCosts.
func (t *Table) StepCost(ms float64) float64 {
	c := t.network()
	return c.b*ms + c.c/1000
}

// RunCost is the fixed part of a network's time, in ms.
func (t *Table) RunCost() float64 { return t.network().a / 1000 }

// network is how a network's time follows from its steps', at the table's level.
func (t *Table) network() correction {
	c, k := t.learned().net, t.level()
	c.a, c.b, c.c = k*c.a, k*c.b, k*c.c
	return c
}
