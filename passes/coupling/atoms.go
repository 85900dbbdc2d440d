package coupling

// atom is one position of one axis; atoms of one class are one channel.
type atom = int32

// forest is a union-find over atoms; the least atom of a class stands for it.
type forest []atom

func (f *forest) grow(n int) {
	for range n {
		*f = append(*f, atom(len(*f)))
	}
}

func (f forest) find(x atom) atom {
	for f[x] != x {
		f[x] = f[f[x]]
		x = f[x]
	}
	return x
}

// join merges two classes: into gives the atom that stands for both, from the
// one that no longer stands for its class.
func (f forest) join(x, y atom) (into, from atom) {
	x, y = f.find(x), f.find(y)
	if y < x {
		x, y = y, x
	}
	f[y] = x
	return x, y
}
