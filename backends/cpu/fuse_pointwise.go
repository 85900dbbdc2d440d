package cpu

import (
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

const (
	// pointwiseBytes is what a tensor must have for a pointwise group to pay: it
	// is no longer in the second level cache when the next step reads it.
	pointwiseBytes = 1 << 20
	// pointwiseReach is how many groups apart the members of one may be.
	pointwiseReach = 64
	// arenaSlack is the part of the arena by which it may grow for all groups together.
	arenaSlack = 64
)

// putPointwise makes one group of neighbouring float groups that compute row after
// row: unary and binary functions, softmax, norms and reductions along the last axis,
// what a batch norm and its gradient do to each value, and the gradient's sums. It
// comes after all other fusion and after lowering, on what was left alone.
//
// A group runs at the place of its last member. Between the first and the last
// nothing else is computed but views and small values; those of them that read a
// member's result come after the group, and no member may read them. Where that
// takes more memory all the same, the groups stay as they were.
func (c *compiler) putPointwise(threads int) {
	c.dropViews()
	alone := c.groups
	for at := 0; at < len(c.groups); at++ {
		f := c.newPointFinder(at)
		if f == nil {
			continue
		}
		f.grow()
		if len(f.members) < 2 {
			continue
		}
		if g, err := c.lowerPointwise(f); err == nil {
			at = f.replace(g)
		}
	}
	if len(c.groups) == len(alone) {
		return
	}
	together := c.groups
	bytes := c.arenaBytes(threads)
	c.groups = alone
	if most := c.arenaBytes(threads); bytes <= most+most/arenaSlack {
		c.groups = together
	}
}

// dropViews removes views that nobody reads: what they are of need not be written.
func (c *compiler) dropViews() {
	read := map[*ir.Value]bool{}
	for _, v := range c.g.Outputs {
		read[v] = true
	}
	var kept []*group
	for _, g := range slices.Backward(c.groups) {
		if g.alias && !slices.ContainsFunc(g.out, func(v *ir.Value) bool { return read[v] }) {
			continue
		}
		for _, v := range g.in {
			read[v] = true
		}
		kept = append(kept, g)
	}
	slices.Reverse(kept)
	c.groups = kept
}

// pointFinder gathers the members of a group.
type pointFinder struct {
	c *compiler
	pointDomain
	members map[int]*pointMember // by place
}

// pointDomain is the shape that all of a group's tensors have: rows of n values or
// of one.
type pointDomain struct{ rows, n int }

// newPointFinder begins with the group at a place; nil where it cannot be of one.
func (c *compiler) newPointFinder(at int) *pointFinder {
	g := c.groups[at]
	if len(g.out) != 1 {
		return nil
	}
	s := g.out[0].Type.Shape
	if len(s) < 2 || s[len(s)-1] < 2 || s[:len(s)-1].Elems() < 2 || s.Elems()*4 < c.pointwise {
		return nil
	}
	f := &pointFinder{c: c, pointDomain: pointDomain{s.Elems() / s[len(s)-1], s[len(s)-1]}, members: map[int]*pointMember{}}
	m := c.pointMember(g, f.pointDomain)
	if m == nil || m.width != f.n {
		return nil
	}
	f.members[at] = m
	return f
}

// span gives the places of the first member and the last.
func (f *pointFinder) span() (lo, hi int) {
	lo = len(f.c.groups)
	for at := range f.members {
		lo, hi = min(lo, at), max(hi, at)
	}
	return lo, hi
}

// grow takes in groups that read members' results or whose results members read,
// as long as there are some.
func (f *pointFinder) grow() {
	for grown := true; grown; {
		grown = false
		lo, hi := f.span()
		for at := max(0, lo-pointwiseReach); at < min(len(f.c.groups), hi+pointwiseReach); at++ {
			if f.members[at] == nil && f.connected(f.c.groups[at]) {
				grown = f.take(at) || grown
			}
		}
	}
}

// take makes a group a member, with what stands between, if that is possible.
func (f *pointFinder) take(at int) bool {
	lo, hi := f.span()
	var taken []int
	for i := min(lo, at); i <= max(hi, at); i++ {
		g := f.c.groups[i]
		if f.members[i] != nil || i != at && (g.alias || f.small(g)) {
			continue
		}
		if m := f.c.pointMember(g, f.pointDomain); m != nil {
			f.members[i] = m
			taken = append(taken, i)
		}
	}
	if _, ok := f.moved(); ok && f.members[at] != nil {
		return true
	}
	for _, i := range taken {
		delete(f.members, i)
	}
	return false
}

// connected says that a group reads a member's result or a member its.
func (f *pointFinder) connected(g *group) bool {
	for _, m := range f.members {
		if slices.Contains(g.in, m.g.out[0]) || slices.ContainsFunc(g.out, func(v *ir.Value) bool { return slices.Contains(m.g.in, v) }) {
			return true
		}
	}
	return false
}

// moved finds what stands between the members and must come after them; not ok
// where the members cannot be one group.
func (f *pointFinder) moved() (after map[int]bool, ok bool) {
	lo, hi := f.span()
	after = map[int]bool{}
	theirs, late := map[*ir.Value]bool{}, map[*ir.Value]bool{}
	for at := lo; at <= hi; at++ {
		g := f.c.groups[at]
		if f.members[at] != nil {
			if slices.ContainsFunc(g.in, func(v *ir.Value) bool { return late[v] }) {
				return nil, false
			}
			theirs[g.out[0]] = true
			continue
		}
		if !g.alias && !f.small(g) {
			return nil, false
		}
		if slices.ContainsFunc(g.in, func(v *ir.Value) bool { return theirs[v] || late[v] }) {
			after[at] = true
			for _, v := range g.out {
				late[v] = true
			}
		}
	}
	return after, true
}

// small says that what a group computes is little beside the members' tensors.
func (f *pointFinder) small(g *group) bool {
	n := 0
	for _, v := range g.out {
		n += int(v.Type.Bytes())
	}
	return g.dst == nil && n*16 <= f.rows*f.n*4
}

// replace puts a group in its members' place and gives that place.
func (f *pointFinder) replace(g *group) int {
	lo, hi := f.span()
	after, _ := f.moved()
	var before, behind []*group
	for at := lo; at <= hi; at++ {
		switch {
		case f.members[at] != nil:
		case after[at]:
			behind = append(behind, f.c.groups[at])
		default:
			before = append(before, f.c.groups[at])
		}
	}
	at := lo + len(before)
	f.c.groups = slices.Concat(f.c.groups[:lo], before, []*group{g}, behind, f.c.groups[hi+1:])
	return at
}

// inOrder gives the members as they stand in the plan.
func (f *pointFinder) inOrder() []*pointMember {
	lo, hi := f.span()
	var out []*pointMember
	for at := lo; at <= hi; at++ {
		if m := f.members[at]; m != nil {
			out = append(out, m)
		}
	}
	return out
}

// readElsewhere says which of the members' results others read, or the graph returns.
func (f *pointFinder) readElsewhere() map[*ir.Value]bool {
	out := map[*ir.Value]bool{}
	for _, v := range f.c.g.Outputs {
		out[v] = true
	}
	for at, g := range f.c.groups {
		if f.members[at] == nil {
			for _, v := range g.in {
				out[v] = true
			}
		}
	}
	return out
}
