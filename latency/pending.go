package latency

import (
	"cmp"
	"math"
	"slices"
)

// pending holds rows back until their kernels were measured in several
// networks, minutes apart: a neighbour's burst of work that the anchor does not
// show spoils one measurement and not the row.
type pending struct {
	j     *journal
	res   *Result
	ci    float64
	wait  int // measurements of a kernel that make its row before the end
	rows  map[string][]Row
	order []string
	nets  []pendingNet
}

// pendingNet is a network whose kernels may not all have their row yet.
type pendingNet struct {
	row     Row
	name    string
	kernels []pendingUse
}

// pendingUse is a Use whose kernel has no place in the table yet.
type pendingUse struct {
	key string
	Use
}

// In a profile of many networks, enough measurements of a kernel are waited for;
// in one of few, rows are written at once, since a kill may come.
const enough, manyNets = 3, 12

func newPending(j *journal, res *Result, ci float64, nets int) *pending {
	p := &pending{j: j, res: res, ci: ci, wait: 1, rows: map[string][]Row{}}
	if nets >= manyNets {
		p.wait = enough
	}
	return p
}

// kernel takes one network's measurement of a kernel.
func (p *pending) kernel(r Row) error {
	if p.rows[r.Key] == nil {
		p.order = append(p.order, r.Key)
	}
	if p.rows[r.Key] = append(p.rows[r.Key], r); len(p.rows[r.Key]) < p.wait {
		return nil
	}
	return p.write(r.Key)
}

// write makes the row of a kernel.
func (p *pending) write(key string) error {
	if _, done := p.j.table.Find(key); done {
		return nil
	}
	r := combine(p.rows[key])
	p.res.Measured++
	p.res.Outliers += r.Outliers
	if r.Interval > p.ci {
		p.res.Wide++
	}
	return p.j.append(r)
}

// network writes the networks whose kernels all have their rows.
func (p *pending) network() error {
	var left []pendingNet
	for _, n := range p.nets {
		whole := true
		var uses []Use
		for _, k := range n.kernels {
			i, ok := p.j.table.index[k.key]
			whole = whole && ok
			k.Use.Row = i
			uses = append(uses, k.Use)
		}
		if !whole {
			left = append(left, n)
			continue
		}
		n.row.Key = netKey(n.name, uses)
		if err := p.j.append(n.row); err != nil {
			return err
		}
	}
	p.nets = left
	return nil
}

// flush writes what there is.
func (p *pending) flush() error {
	for _, k := range p.order {
		if err := p.write(k); err != nil {
			return err
		}
	}
	return p.network()
}

// combine takes the middle of several measurements, the lower of two; the quiet
// ones where there are some. They differ by no less than the interval says.
func combine(rows []Row) Row {
	quiet := slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Noisy })
	if len(quiet) == 0 {
		quiet = slices.Clone(rows)
	}
	slices.SortFunc(quiet, func(a, b Row) int { return cmp.Compare(a.Median, b.Median) })
	r := quiet[(len(quiet)-1)/2]
	r.Runs, r.Outliers = 0, 0
	for _, q := range quiet {
		r.Runs, r.Outliers = r.Runs+q.Runs, r.Outliers+q.Outliers
	}
	if len(quiet) > 1 && r.Median > 0 {
		r.Interval = max(r.Interval, math.Abs(quiet[1].Median-quiet[0].Median)/2/r.Median)
	}
	return r
}
