package latency

import (
	"math/rand/v2"
	"slices"
)

// poolShare is the share of the networks that a seed lets Representatives choose
// from: different seeds give different networks.
const poolShare = 2.0 / 3

// Representatives chooses k of the table's networks that keep takes, by name,
// whose kernels are most of the time of all of these: each makes what is known of
// that time largest. A kernel that differs from one of theirs in size is known by
// a part that falls with the distance.
func (t *Table) Representatives(keep func(name string) bool, k int, seed uint64) []string {
	var nets []int
	gone := t.superseded()
	for i, n := range t.Nets {
		if len(n.Uses) > 0 && !gone[i] && keep(n.Name) {
			nets = append(nets, i)
		}
	}
	weight := make([]float64, len(t.Rows)) // of a kernel, in networks' times
	for _, i := range nets {
		total, part := 0.0, map[int]float64{}
		for _, u := range t.Nets[i].Uses {
			us := u.Time
			if us <= 0 {
				us = t.Rows[u.Row].Median
			}
			part[u.Row] += us * float64(u.N)
			total += us * float64(u.N)
		}
		for r, us := range part {
			if total > 0 {
				weight[r] += us / total
			}
		}
	}
	alike := t.alike(weight)
	r := rand.New(rand.NewPCG(seed, 0x72657072))
	r.Shuffle(len(nets), func(i, j int) { nets[i], nets[j] = nets[j], nets[i] })
	pool := nets[:max(min(k, len(nets)), int(poolShare*float64(len(nets))))]
	known := make([]float64, len(t.Rows))
	var names []string
	for len(names) < k && len(pool) > 0 {
		best, most := 0, -1.0
		for i, n := range pool {
			if gain := t.gain(n, alike, known, weight, false); gain > most {
				best, most = i, gain
			}
		}
		t.gain(pool[best], alike, known, weight, true)
		names = append(names, t.Nets[pool[best]].Name)
		pool = slices.Delete(pool, best, best+1)
	}
	return names
}

// similar is how well the kernel of a row is known by that of another.
type similar struct {
	row int
	by  float64
}

// alike lists, for each row, those that it tells about.
func (t *Table) alike(weight []float64) [][]similar {
	keys := make([]*kernelKey, len(t.Rows))
	for i, r := range t.Rows {
		keys[i], _ = parseKey(r.Key) // of one that is none, only itself is known
	}
	out := make([][]similar, len(t.Rows))
	for i, a := range keys {
		for j, b := range keys {
			switch {
			case weight[j] == 0:
			case i == j:
				out[i] = append(out[i], similar{j, 1})
			case a != nil && b != nil:
				if s := a.similar(b); s > 0 {
					out[i] = append(out[i], similar{j, s})
				}
			}
		}
	}
	return out
}

// gain is how much more of the networks' time would be known with net n; with
// take, it is from now on.
func (t *Table) gain(n int, alike [][]similar, known, weight []float64, take bool) float64 {
	sum, was := 0.0, map[int]float64{}
	for _, u := range t.Nets[n].Uses {
		for _, s := range alike[u.Row] {
			if s.by > known[s.row] {
				if _, ok := was[s.row]; !ok {
					was[s.row] = known[s.row]
				}
				sum += weight[s.row] * (s.by - known[s.row])
				known[s.row] = s.by
			}
		}
	}
	if !take {
		for r, v := range was {
			known[r] = v
		}
	}
	return sum
}
