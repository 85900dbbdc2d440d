package search

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Metric is something an Evaluator finds out about a network.
type Metric struct {
	Name     string
	Maximize bool
	Unit     string
	Doc      string
}

// Metrics are those that objectives and limits may name.
var Metrics = []Metric{
	{"accuracy", true, "", "top-1 on the validation data, from 0 to 1"},
	{"ms", false, "ms", "median latency: predicted from a table, or measured"},
	{"macs", false, "", "multiplications and additions of one sample"},
	{"params", false, "", "trained numbers"},
	{"bytes", false, "B", "size of the compiled file"},
	{"arena", false, "B", "activation memory of the compiled plan"},
	{"loss", false, "", "validation loss"},
	{"train_macs", false, "", "multiplications and additions of its training, 3 forward passes a sample and one of a teacher"},
	{"reward", true, "", "of compressing: C(2−C) times accuracy over the teacher's, C the share of its parameters that is gone"},
	{"score", true, "", "a proxy's score, for strategies that do not train"},
}

// FindMetric gives a metric by name.
func FindMetric(name string) (Metric, error) {
	var names []string
	for _, m := range Metrics {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return Metric{}, &diag.Error{Place: "metric", Found: fmt.Sprintf("%q", name), Wanted: "one of " + strings.Join(names, ", ")}
}

// Limit bounds a metric from above, or from below where it is maximized.
type Limit struct {
	Metric Metric
	Bound  float64
}

// Goal is what is looked for: one objective or several, under limits.
type Goal struct {
	Objectives []Metric
	Limits     []Limit
}

// ParseGoal reads objectives such as "accuracy" or "accuracy,ms".
func ParseGoal(objectives string, limits ...Limit) (Goal, error) {
	g := Goal{Limits: limits}
	for name := range strings.SplitSeq(objectives, ",") {
		m, err := FindMetric(strings.TrimSpace(name))
		if err != nil {
			return Goal{}, err
		}
		if slices.ContainsFunc(g.Objectives, func(o Metric) bool { return o.Name == m.Name }) {
			return Goal{}, &diag.Error{Place: "--objective", Found: m.Name + " twice", Wanted: "each objective once"}
		}
		g.Objectives = append(g.Objectives, m)
	}
	return g, nil
}

// Values are an outcome's objectives, all to be maximized (those that are
// minimized are negated). A metric that is missing is the worst.
func (g Goal) Values(metrics map[string]float64) []float64 {
	out := make([]float64, len(g.Objectives))
	for i, o := range g.Objectives {
		v, ok := metrics[o.Name]
		switch {
		case !ok || math.IsNaN(v):
			out[i] = math.Inf(-1)
		case o.Maximize:
			out[i] = v
		default:
			out[i] = -v
		}
	}
	return out
}

// Violation is by how much an outcome breaks the limits: the sum of the
// relative excesses, 0 where all hold. Limits of metrics not known yet do not
// count.
func (g Goal) Violation(metrics map[string]float64) float64 {
	sum := 0.0
	for _, l := range g.Limits {
		v, ok := metrics[l.Metric.Name]
		if !ok {
			continue
		}
		over := v - l.Bound
		if l.Metric.Maximize {
			over = -over
		}
		if over > 0 {
			sum += over / math.Max(math.Abs(l.Bound), 1e-12)
		}
	}
	return sum
}

// Dominates says that a is nowhere worse than b and somewhere better, both to
// be maximized.
func Dominates(a, b []float64) bool {
	better := false
	for i := range a {
		if a[i] < b[i] {
			return false
		}
		better = better || a[i] > b[i]
	}
	return better
}
