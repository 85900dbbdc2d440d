package cpu

import "unsafe"

// weighty is work with packed weights, which may be moved and are read in the
// order of the steps.
type weighty interface {
	// WeightBytes is how much memory MoveWeights takes.
	WeightBytes() int
	// MoveWeights copies the weights to dst and forgets where they were.
	MoveWeights(dst []byte)
	// ReadNext says what is read after the weights, to be fetched in time.
	ReadNext(b []byte)
}

const (
	// hugeFrom is the size of weights from which they get pages of their own.
	hugeFrom = 1 << 20
	hugePage = 2 << 20
	// aheadBytes is how much of the next step's weights is fetched early.
	aheadBytes = 64 << 10
)

// settleWeights brings the weights of all steps together, in the order in which
// they are read, on large pages where the system has them: weights are most of
// what a run reads, and come from the third level cache or from memory.
func settleWeights(steps []step) {
	total := 0
	var ws []weighty
	for i := range steps {
		if w, ok := weightyOf(steps[i].work); ok && w.WeightBytes() > 0 {
			ws = append(ws, w)
			total += w.WeightBytes()
		}
	}
	if total < hugeFrom {
		return
	}
	all := hugeBytes(total)
	for _, w := range ws {
		n := w.WeightBytes()
		w.MoveWeights(all[:n:n])
		all = all[n:]
		if len(all) > 0 {
			w.ReadNext(all[:min(aheadBytes, len(all))])
		}
	}
}

func weightyOf(w work) (weighty, bool) {
	switch k := w.(type) {
	case int8Work:
		w, ok := k.Kernel.(weighty)
		return w, ok
	case f32Work:
		w, ok := k.Kernel.(weighty)
		return w, ok
	case *beside:
		return k, true
	}
	return nil, false
}

// hugeBytes allocates n bytes at a multiple of a large page.
func hugeBytes(n int) []byte {
	b := make([]byte, n+hugePage)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (hugePage - 1))
	b = b[skip : skip+n : skip+n]
	adviseHuge(b)
	return b
}
