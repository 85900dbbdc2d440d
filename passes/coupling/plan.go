package coupling

// Plan says what becomes of each unit. Units that it does not name stay as
// they are.
type Plan struct {
	// Copies is how many of a unit there will be; 0 removes it.
	Copies map[Unit]int
	// Place, for a permutation, is the unit that comes to stand where the key
	// stood. It goes with no copies.
	Place map[Unit]Unit
}

// Unit is the name of a set of channels that cannot be separated.
type Unit = int32

// slot is one position of an axis as it will be: the position it comes from,
// and which copy of it.
type slot struct{ pos, copy int32 }

func identity(n int) []slot {
	o := make([]slot, n)
	for i := range o {
		o[i].pos = int32(i)
	}
	return o
}

// Shares are the weights that n copies of one channel get so that they sum to
// 1: powers of two, which multiply exactly, as equal as they can be. Copies of
// unequal weight also get unequal gradients and do not stay equal for ever.
func Shares(n int) []float64 {
	s := []float64{1}
	for len(s) < n {
		// Halve the greatest; they stand in falling order of the halvings.
		k := 0
		for i, v := range s {
			if v > s[k] {
				k = i
			}
		}
		s[k] /= 2
		s = append(s, s[k])
	}
	return s
}
