package latency

import (
	"slices"
	"strings"
	"time"
)

// order is the one in which a source's networks are taken: the source's, or so
// that each group of them, such as a space's, gets as much time. Networks of one
// space take ten times as long to compile as another's, and a budget that ends
// early would leave the others with as few.
type order struct {
	groups []*group
	of     map[int]*group // of a network that was taken
}

type group struct {
	name  string // of its networks, before the first slash
	left  []int
	spent time.Duration
}

func newOrder(src Source, fair bool) *order {
	o := &order{of: map[int]*group{}}
	for i := range src.Len() {
		name := ""
		if fair {
			name, _, _ = strings.Cut(src.Name(i), "/")
		}
		k := slices.IndexFunc(o.groups, func(g *group) bool { return g.name == name })
		if k < 0 {
			k = len(o.groups)
			o.groups = append(o.groups, &group{name: name})
		}
		o.groups[k].left = append(o.groups[k].left, i)
	}
	return o
}

// next is the network to take, of the group that took least time so far, the
// first of equals; it is called no more often than there are networks.
func (o *order) next() int {
	var least *group
	for _, g := range o.groups {
		if len(g.left) > 0 && (least == nil || g.spent < least.spent) {
			least = g
		}
	}
	i := least.left[0]
	least.left = least.left[1:]
	o.of[i] = least
	return i
}

// back gives a network back that was taken and not measured: it is the next of its
// group.
func (o *order) back(i int) { o.of[i].left = slices.Insert(o.of[i].left, 0, i) }

// took tells how long it took to make a network ready.
func (o *order) took(i int, d time.Duration) { o.of[i].spent += d }
