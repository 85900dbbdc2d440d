package cpu

import (
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// pointLayout decides where the values of a pointwise group lie: what comes from
// outside and what others read among the call's operands and results, the rest in
// scratch memory, each as long as a member reads it.
type pointLayout struct {
	members []*pointMember
	g       *group
	last    map[*ir.Value]int // the last stage that reads a value
	at      map[*ir.Value]place
	outside map[*ir.Value]bool
	widths  map[*ir.Value]int // values in a row
	free    map[int][]int     // offsets in scratch memory by bytes of a row
	size    int
}

func newPointLayout(f *pointFinder, members []*pointMember, g *group) *pointLayout {
	l := &pointLayout{members: members, g: g, last: map[*ir.Value]int{}, at: map[*ir.Value]place{}, outside: f.readElsewhere(), widths: map[*ir.Value]int{}, free: map[int][]int{}}
	made := map[*ir.Value]bool{}
	for i, m := range members {
		for k, v := range m.g.in {
			l.last[v], l.widths[v] = i, m.in[k]
			if !made[v] && !slices.Contains(g.in, v) {
				g.in = append(g.in, v)
			}
		}
		made[m.g.out[0]] = true
	}
	for _, m := range members {
		if v := m.g.out[0]; l.outside[v] {
			g.out = append(g.out, v)
		}
	}
	return l
}

// find gives the place of an operand.
func (l *pointLayout) find(v *ir.Value, width int) place {
	if p, ok := l.at[v]; ok {
		return p
	}
	return place{at: slices.Index(l.g.in, v), row: 4 * width}
}

// result gives the place of the result of stage i and forgets what nobody reads
// any more.
func (l *pointLayout) result(i, units, block int) place {
	m := l.members[i]
	v := m.g.out[0]
	p := place{at: working, row: 4 * m.width}
	l.release(i, true) // what the result may overwrite
	switch {
	case l.outside[v]:
		p.at = len(l.g.in) + slices.Index(l.g.out, v)
		if m.width == 0 {
			p.unit = int(v.Type.Bytes()) / units
		}
	case len(l.free[p.row]) > 0:
		n := len(l.free[p.row])
		p.off, l.free[p.row] = l.free[p.row][n-1], l.free[p.row][:n-1]
	default:
		p.off = l.size
		l.size += align(block*p.row) + alignment
	}
	l.at[v] = p
	l.release(i, false)
	return p
}

// release frees what only stages up to i read: what that stage may overwrite, or
// the rest.
func (l *pointLayout) release(i int, overwrite bool) {
	in := l.members[i].g.in
	for k, v := range in {
		if p, ok := l.at[v]; ok && p.at == working && l.last[v] == i && slices.Index(in, v) == k && l.overwrites(i, v) == overwrite {
			l.free[p.row] = append(l.free[p.row], p.off)
		}
	}
}

// overwrites says that the result of stage i may take an operand's memory.
func (l *pointLayout) overwrites(i int, v *ir.Value) bool {
	m := l.members[i]
	k := slices.Index(m.g.in, v)
	return k < 0 || slices.Contains(m.g.inPlace, k) && !slices.Contains(m.g.in[k+1:], v)
}

// inPlace finds, for each result, the operands whose memory it may take: of the
// same rows, which no later stage reads.
func (l *pointLayout) inPlace() [][]int {
	out := make([][]int, len(l.g.out))
	for i, m := range l.members {
		r := slices.Index(l.g.out, m.g.out[0])
		for k, v := range l.g.in {
			if r >= 0 && m.width > 0 && l.widths[v] == m.width && l.last[v] <= i && (l.last[v] < i || l.overwrites(i, v)) {
				out[r] = append(out[r], k)
			}
		}
	}
	return out
}
