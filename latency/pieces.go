package latency

import (
	"context"
	"slices"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
)

// A long run seldom meets quiet from its beginning to its end, where a neighbour
// comes and goes within milliseconds. It is timed in pieces, with looks at the
// anchor between them: what it takes in quiet is the sum of what its pieces do.

// pieceTime is what a piece takes at least, and half of it the last.
const pieceTime = 2500 * time.Microsecond

// Pieces cuts a plan, whose steps took so long, in pieces: the first step of each.
func Pieces(took []time.Duration) []int {
	var rest, sum time.Duration
	for _, t := range took {
		rest += t
	}
	first := []int{0}
	for i, t := range took {
		if sum >= pieceTime && rest >= pieceTime/2 {
			first, sum = append(first, i), 0
		}
		sum, rest = sum+t, rest-t
	}
	return first
}

// Piece is what one piece of a run took.
type Piece struct {
	Took   time.Duration
	Anchor [2]float64 // before and after it, in µs
	Quiet  bool       // by Pace.Quiet
	Clean  bool       // the system gave the CPU to nobody else meanwhile
}

// RunPieces runs a network and waits for quiet before each of its pieces, which
// begin at the steps given. took, if not nil, gets what the steps take. look is
// the last look at the anchor.
func (p *Pace) RunPieces(ctx context.Context, plan backends.Planned, threads int, in, out []*ir.Tensor, took []time.Duration, first []int, look float64) ([]Piece, error) {
	done := make([]Piece, 0, len(first))
	var before float64
	var taken int64
	var start time.Time
	begin := func() (err error) {
		if before, err = p.Wait(ctx, look); err != nil {
			return err
		}
		taken, start = Switches(threads), time.Now()
		return nil
	}
	end := func() (err error) {
		d := Piece{Took: time.Since(start), Clean: Switches(threads) == taken}
		if look, err = p.Now(ctx); err != nil {
			return err
		}
		d.Anchor, d.Quiet = [2]float64{before, look}, p.Quiet(before, look)
		done = append(done, d)
		return nil
	}
	if err := begin(); err != nil {
		return nil, err
	}
	if err := plan.RunPaused(ctx, in, out, took, first[1:], func(int) error {
		if err := end(); err != nil {
			return err
		}
		return begin()
	}); err != nil {
		return nil, err
	}
	if err := end(); err != nil {
		return nil, err
	}
	return done, nil
}

// inPieces is a round of a long network: one run.
func (s *session) inPieces(ctx context.Context, before float64) (after float64, runs int, quiet bool, err error) {
	took := s.took
	if s.rounds%2 == 1 {
		took = nil
	}
	clear(took)
	s.rounds++
	pace := Pace{a: s.anchor, crowd: s.crowd}
	pieces, err := pace.RunPieces(ctx, s.p, s.o.Compile.Threads, s.in, s.out, took, s.first, before)
	if err != nil {
		return 0, 0, false, err
	}
	usual := s.anchor.usual()
	for i, p := range pieces {
		one := map[string]float64{}
		if took == nil {
			one[wholeRun] = float64((p.Took - s.clock.cost).Nanoseconds()) / 1000
		} else {
			end := len(took)
			if i+1 < len(s.first) {
				end = s.first[i+1]
			}
			one = s.means(s.first[i], end)
		}
		drift := usual / ((p.Anchor[0] + p.Anchor[1]) / 2)
		for k := range one {
			h := s.have[k]
			// One step of a broken run is longer, which a median bears; the run is.
			h.add(i, []map[string]float64{one}, k, p.Quiet && (p.Clean || k != wholeRun), drift)
			h.look(p.Quiet, p.Anchor[:]...)
		}
		after, quiet = p.Anchor[1], quiet || p.Quiet
	}
	return after, 1, quiet, nil
}

// means are the times of the steps of a piece by key, in µs.
func (s *session) means(from, to int) map[string]float64 {
	one := make(map[string]float64, len(s.have))
	for _, k := range s.order {
		steps := s.byKey[k]
		a, _ := slices.BinarySearch(steps, from)
		b, _ := slices.BinarySearch(steps, to)
		if a == b {
			continue
		}
		sum := time.Duration(0)
		for _, i := range steps[a:b] {
			sum += max(s.took[i]-s.clock.cost, 0)
		}
		one[k] = float64(sum.Nanoseconds()) / 1000 / float64(b-a)
	}
	return one
}

// cut gives each kernel a part for each piece that has steps of it, weighed by
// their number, and the whole run one for each piece.
func (s *session) cut(first []int) {
	s.first = first
	for k, h := range s.have {
		h.parts = make([]part, len(first))
		for i := range h.parts {
			h.parts[i].weight = 1
		}
		if k == wholeRun {
			continue
		}
		for i := range h.parts {
			end := len(s.took)
			if i+1 < len(first) {
				end = first[i+1]
			}
			a, _ := slices.BinarySearch(s.byKey[k], first[i])
			b, _ := slices.BinarySearch(s.byKey[k], end)
			h.parts[i].weight = float64(b-a) / float64(len(s.byKey[k]))
		}
	}
}
