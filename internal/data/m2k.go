package data

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
)

// The set on which nets are compared in seconds: MNIST at a quarter of its
// pixels, so few training pictures that a better net shows, and all test
// pictures, so that a hundredth of a point does.
const (
	m2kPerClass = 200
	m2kSeed     = 2000
)

// openM2K reads the 2,000 training pictures: 200 of each digit, the same ones
// always, in an order of their own.
func openM2K(dir string) (Source, error) {
	s, err := mnistPart(dir, "train")
	if err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(m2kSeed, 0x6d326b))
	order := r.Perm(s.Len())
	var found [10]int
	index := make([]int, 0, 10*m2kPerClass)
	for _, i := range order {
		if k := s.labels[i]; k < 10 && found[k] < m2kPerClass {
			found[k]++
			index = append(index, i)
		}
	}
	for k, n := range found {
		if n < m2kPerClass {
			return nil, &diag.Error{Place: dir, Found: fmt.Sprintf("%d training pictures of digit %d", n, k), Wanted: fmt.Sprintf("%d or more: MNIST", m2kPerClass)}
		}
	}
	small, err := s.taken(index).pooled()
	if err != nil {
		return nil, diag.At(dir, err)
	}
	return small, nil
}

// openM2KTest reads all test pictures.
func openM2KTest(dir string) (Source, error) {
	s, err := mnistPart(dir, "t10k")
	if err != nil {
		return nil, err
	}
	small, err := s.pooled()
	if err != nil {
		return nil, diag.At(dir, err)
	}
	return small, nil
}

// taken is the samples of the given indices, in their order.
func (s *bytesSet) taken(index []int) *bytesSet {
	n := s.w * s.h * s.channels
	t := *s
	t.pixels, t.labels = make([]byte, 0, n*len(index)), make([]byte, 0, len(index))
	for _, i := range index {
		t.pixels, t.labels = append(t.pixels, s.pixels[i*n:(i+1)*n]...), append(t.labels, s.labels[i])
	}
	return &t
}

// pooled has the mean of each 2×2 pixels, rounded to the nearest.
func (s *bytesSet) pooled() (*bytesSet, error) {
	if s.channels != 1 || s.w%2 != 0 || s.h%2 != 0 {
		return nil, &diag.Error{Found: fmt.Sprintf("pictures of %d×%d", s.h, s.w), Wanted: "an even width and height"}
	}
	t := &bytesSet{w: s.w / 2, h: s.h / 2, channels: 1, labels: slices.Clone(s.labels)}
	t.pixels = make([]byte, 0, len(s.pixels)/4)
	for i := 0; i < len(s.pixels); i += 2 * s.w { // pairs of rows, of all pictures
		a, b := s.pixels[i:i+s.w], s.pixels[i+s.w:i+2*s.w]
		for x := 0; x < s.w; x += 2 {
			t.pixels = append(t.pixels, byte((int(a[x])+int(a[x+1])+int(b[x])+int(b[x+1])+2)/4))
		}
	}
	return t, nil
}
