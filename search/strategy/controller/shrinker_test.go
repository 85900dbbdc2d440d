package controller

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func shrinker(t *testing.T, length int) *Shrinker {
	t.Helper()
	s, err := NewShrinker(ShrinkerConfig{Features: 2, Length: length, Shares: 4, Rollouts: 6, Rate: 0.01, ShareLR: 0.02, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mean(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x / float64(len(v))
	}
	return s
}

// What pays is done more and more: layers whose second number is 1 go, and of
// those the second option is taken. What was learned on four layers serves for
// six from the start.
func TestShrinkerLearnsAndCarriesOver(t *testing.T) {
	for i, k := range func() []bool {
		keep, err := shrinker(t, 4).Keep([][]float64{{1, 1}, {1, 1}}, []bool{false, true}, func() float64 { return 0.9999 })
		if err != nil {
			t.Fatal(err)
		}
		return keep[0]
	}() {
		if k != (i == 0) {
			t.Errorf("layer %d of two, the first of which stays: %v", i, k)
		}
	}
	four := [][]float64{{1, 0}, {1, 1}, {1, 0}, {1, 1}}
	six := [][]float64{{1, 1}, {1, 0}, {1, 0}, {1, 1}, {1, 1}, {1, 0}}
	r := rand.New(rand.NewPCG(5, 5))
	all := []bool{true, true, true, true, true, true}
	pay := func(s *Shrinker, layers [][]float64, learn bool) float64 {
		t.Helper()
		keep, err := s.Keep(layers, all[:len(layers)], r.Float64)
		if err != nil {
			t.Fatal(err)
		}
		shares, err := s.Share(layers, r.Float64)
		if err != nil {
			t.Fatal(err)
		}
		kept, narrow := make([]float64, len(keep)), make([]float64, len(keep))
		for i := range keep {
			for k, l := range layers {
				kept[i] += float64(flag(keep[i][k] == (l[1] == 0))) / float64(len(layers))
				narrow[i] += float64(flag(shares[i][k] == int(l[1]))) / float64(len(layers))
			}
		}
		total := mean(kept) + mean(narrow)
		if learn {
			mk, mn := mean(kept), mean(narrow)
			for i := range kept {
				kept[i], narrow[i] = kept[i]-mk, narrow[i]-mn
			}
			if err := s.LearnKeep(layers, all[:len(layers)], keep, kept); err != nil {
				t.Fatal(err)
			}
			if err := s.LearnShare(layers, shares, narrow); err != nil {
				t.Fatal(err)
			}
		}
		return total
	}
	s := shrinker(t, 4)
	var paid []float64
	for range 100 {
		paid = append(paid, pay(s, four, true))
	}
	if a, b := mean(paid[:10]), mean(paid[90:]); b < a+0.4 || b < 1.6 {
		t.Errorf("rewards went from %.2f to %.2f of 2", a, b)
	}
	file, err := s.Save()
	if err != nil {
		t.Fatal(err)
	}
	other, fresh := shrinker(t, 6), shrinker(t, 6)
	if err := other.Load(file); err != nil {
		t.Fatal(err)
	}
	a, b := 0.0, 0.0
	for range 5 {
		a, b = a+pay(other, six, false)/5, b+pay(fresh, six, false)/5
	}
	if a < b+0.3 {
		t.Errorf("with what was learned %.2f, without %.2f", a, b)
	}
	if err := fresh.Load([]byte("{}")); err == nil || !strings.Contains(err.Error(), "no policies of n2n") {
		t.Error(err)
	}
	wrong, err := NewShrinker(ShrinkerConfig{Features: 3, Length: 4, Shares: 4, Rollouts: 6, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := wrong.Load(file); err == nil || !strings.Contains(err.Error(), "policies of 2 numbers of a layer; wanted 3") {
		t.Errorf("policies of another world: %v", err)
	}
}

// A file gives back what was saved, also where a policy did not decide in
// between; another file, and one that was changed anywhere, are refused.
func TestShrinkerFile(t *testing.T) {
	layers, may := [][]float64{{1, 0}, {1, 1}}, []bool{true, true}
	r := rand.New(rand.NewPCG(7, 7))
	s := shrinker(t, 4)
	keep, err := s.Keep(layers, may, r.Float64)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Share(layers, r.Float64); err != nil {
		t.Fatal(err)
	}
	if err := s.LearnKeep(layers, may, keep, []float64{1, -1, 1, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	file, err := s.Save()
	if err != nil {
		t.Fatal(err)
	}
	other := shrinker(t, 4)
	if err := other.Load(file); err != nil {
		t.Fatal(err)
	}
	if again, err := other.Save(); err != nil || string(again) != string(file) { // nothing decided yet
		t.Errorf("saved again at once: %d of %d bytes, %v", len(again), len(file), err)
	}
	if _, err := other.Keep(layers, may, r.Float64); err != nil {
		t.Fatal(err)
	}
	if again, err := other.Save(); err != nil || string(again) != string(file) {
		t.Errorf("saved again: %d of %d bytes, %v", len(again), len(file), err)
	}
	for at := range 40 {
		bad := []byte(string(file))
		bad[at*len(file)/40] ^= 1
		if err := shrinker(t, 4).Load(bad); err == nil {
			t.Errorf("a bit changed at %d is taken", at*len(file)/40)
		}
	}
	for _, bad := range []string{"", "{}", string(file[:len(file)/2])} {
		if err := shrinker(t, 4).Load([]byte(bad)); err == nil || !strings.Contains(err.Error(), "no policies of n2n") {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}
