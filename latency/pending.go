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
	for _, r := range j.waited { // what a run before was killed with
		if n, ok := parseWaitingNet(r); !ok {
			p.take(r)
		} else if !j.table.whole[n.name] && !slices.ContainsFunc(n.kernels, p.unknown) {
			p.nets = append(p.nets, n)
		}
	}
	return p
}

// unknown says that a network's kernel was not measured.
func (p *pending) unknown(k pendingUse) bool {
	_, ok := p.j.table.index[k.key]
	return !ok && p.rows[k.key] == nil
}

// has says that a network was measured and waits for its kernels' rows.
func (p *pending) has(name string) bool {
	return slices.ContainsFunc(p.nets, func(n pendingNet) bool { return n.name == name })
}

// take keeps one network's measurement of a kernel; n is how many there are.
func (p *pending) take(r Row) (n int) {
	if p.rows[r.Key] == nil {
		p.order = append(p.order, r.Key)
	}
	p.rows[r.Key] = append(p.rows[r.Key], r)
	return len(p.rows[r.Key])
}

// kernel takes one network's measurement of a kernel.
func (p *pending) kernel(r Row) error {
	if p.take(r) < p.wait {
		return p.j.wait(r)
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

// network takes a network as a whole.
func (p *pending) network(n pendingNet) error {
	p.nets = append(p.nets, n)
	if err := p.networks(); err != nil || !p.has(n.name) {
		return err
	}
	return p.j.waitNet(n)
}

// networks writes those whose kernels all have their rows.
func (p *pending) networks() error {
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
	return p.networks()
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
