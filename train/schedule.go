package train

import (
	"math"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

// schedule gives the factor of the learning rate where the share at of the
// training (after warm-up) lies behind.
type schedule struct {
	name string
	at   func(at float64) float64
}

var schedules = []schedule{
	{"cosine", func(at float64) float64 { return 0.5 * (1 + math.Cos(math.Pi*at)) }},
	// sharpDARTS (Hundt et al. 2019) with p = 2: lower for longer.
	{"cosine-power", func(at float64) float64 {
		const p = 2
		return (math.Pow(p, 0.5*(1+math.Cos(math.Pi*at))+1) - p) / (p*p - p)
	}},
	{"constant", func(float64) float64 { return 1 }},
	{"step", func(at float64) float64 { // a tenth at 1/2, again at 3/4
		switch {
		case at < 0.5:
			return 1
		case at < 0.75:
			return 0.1
		}
		return 0.01
	}},
	// Smith 2018: up from 1/25 over 30 %, down to 1/10,000 of that.
	{"one-cycle", func(at float64) float64 {
		const up, low, end = 0.3, 1.0 / 25, 1e-4 / 25
		between := func(a, b, t float64) float64 { return b + (a-b)*0.5*(1+math.Cos(math.Pi*t)) }
		if at < up {
			return between(low, 1, at/up)
		}
		return between(1, end, (at-up)/(1-up))
	}},
}

// Schedules lists them.
func Schedules() []string {
	var names []string
	for _, s := range schedules {
		names = append(names, s.name)
	}
	return names
}

func findSchedule(name string) (*schedule, error) {
	i := slices.IndexFunc(schedules, func(s schedule) bool { return s.name == name })
	if i < 0 {
		return nil, &diag.Error{Place: "--schedule", Found: name, Wanted: strings.Join(Schedules(), ", ")}
	}
	return &schedules[i], nil
}

// rate is the factor at a step of total, the first warmup of which rise
// linearly.
func (s *schedule) rate(step, total, warmup int) float64 {
	if step < warmup {
		return float64(step+1) / float64(warmup+1)
	}
	return s.at(float64(step-warmup) / float64(max(total-warmup, 1)))
}
