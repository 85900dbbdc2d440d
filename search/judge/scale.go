package judge

import (
	"math"

	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/tabular"
)

// Scale is what hypervolumes are measured against: the worst figures of the
// table as the corner, and the table's own front as the whole.
type Scale struct {
	table            *tabular.Table
	goal             search.Goal
	corner           []float64
	whole, wholeTest float64
}

// NewScale gives nil for one objective.
func NewScale(t *tabular.Table, goal search.Goal) (*Scale, error) {
	if len(goal.Objectives) < 2 {
		return nil, nil
	}
	s := &Scale{table: t, goal: goal}
	var seen, test []*search.Trial
	for i := range t.Rows {
		r := &t.Rows[i]
		mean := 0.0
		for _, v := range r.Val {
			mean += v / float64(len(r.Val))
		}
		for _, of := range []struct {
			to       *[]*search.Trial
			accuracy float64
		}{{&seen, mean}, {&test, r.Test}} {
			trial := s.trial(r, of.accuracy)
			*of.to = append(*of.to, trial)
			for i, v := range trial.Values {
				if len(s.corner) <= i {
					s.corner = append(s.corner, v)
				}
				s.corner[i] = math.Min(s.corner[i], v)
			}
		}
	}
	s.whole, s.wholeTest = s.volume(search.Front(seen)), s.volume(search.Front(test))
	return s, nil
}

func (s *Scale) trial(r *tabular.Row, accuracy float64) *search.Trial {
	t := &search.Trial{}
	t.Genotype = r.Genotype
	t.Metrics = map[string]float64{"accuracy": accuracy}
	for k, v := range r.Metrics {
		t.Metrics[k] = v
	}
	t.Judge(s.goal)
	return t
}

func (s *Scale) volume(front []*search.Trial) float64 {
	points := make([][]float64, len(front))
	for i, t := range front {
		points[i] = t.Values
	}
	return search.Hypervolume(points, s.corner)
}

// Volumes are the shares that trials reach: as seen, and as their front tests.
func (s *Scale) Volumes(trials []*search.Trial) (seen, test float64, err error) {
	front := search.Front(trials)
	var tested []*search.Trial
	for _, t := range front {
		r, err := s.table.Row(t.Genotype)
		if err != nil {
			return 0, 0, err
		}
		tested = append(tested, s.trial(r, r.Test))
	}
	return s.volume(front) / s.whole, s.volume(tested) / s.wholeTest, nil
}
