package controller

import (
	"math/rand/v2"
	"slices"
	"testing"
)

var small = GrowerConfig{Vocabulary: 6, Length: 5, Blocks: 3, Depth: 4, Kinds: 3, Nets: 8, Wide: 1, Deep: 1, Rate: 0.02, Entropy: 1e-5, Seed: 1}

func grower(t *testing.T) *Grower {
	t.Helper()
	g, err := NewGrower(small)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// episode draws one decision of each kind for every network.
func episode(t *testing.T, g *Grower, r *rand.Rand) ([]WideStep, []DeepStep) {
	t.Helper()
	var ws []WideState
	var ds []DeepState
	for range g.Nets {
		ws = append(ws, WideState{[]int32{1, 2, 3, 4}, []bool{true, false, true, true}})
		ds = append(ds, DeepState{[]int32{1, 2, 3, 4}, []int{2, 0, 3}})
	}
	yes, err := g.Widen(ws, r.Float64)
	if err != nil {
		t.Fatal(err)
	}
	choices, err := g.Deepen(ds, r.Float64)
	if err != nil {
		t.Fatal(err)
	}
	var wide []WideStep
	var deep []DeepStep
	for i := range ws {
		wide = append(wide, WideStep{WideState: ws[i], Yes: yes[i]})
		deep = append(deep, DeepStep{DeepState: ds[i], DeepChoice: choices[i]})
	}
	return wide, deep
}

// What pays is done more and more: widening the third layer alone, and putting
// kind 2 behind the last layer of block 2. What is forbidden never happens, and
// a seed repeats everything.
func TestGrowerLearns(t *testing.T) {
	var first []float64
	for range 2 {
		g := grower(t)
		r := rand.New(rand.NewPCG(7, 7))
		var paid []float64
		for range 60 {
			wide, deep := episode(t, g, r)
			total := 0.0
			rewards := make([]float64, len(wide))
			for i := range wide {
				if wide[i].Yes[1] || deep[i].Block == 1 || deep[i].After >= deep[i].Layers[deep[i].Block] {
					t.Fatalf("forbidden: %v, %v", wide[i], deep[i])
				}
				want := []bool{false, false, true, false}
				for k := range want {
					rewards[i] += float64(flag(wide[i].Yes[k] == want[k])) / 4
				}
				for _, ok := range []bool{deep[i].Block == 2, deep[i].After == 2, deep[i].Kind == 2} {
					rewards[i] += float64(flag(ok)) / 3
				}
				total += rewards[i]
			}
			mean := total / float64(len(wide))
			paid = append(paid, mean)
			for i := range wide {
				wide[i].Advantage, deep[i].Advantage = rewards[i]-mean, rewards[i]-mean
			}
			if err := g.Learn(wide, deep); err != nil {
				t.Fatal(err)
			}
		}
		mean := func(v []float64) float64 {
			s := 0.0
			for _, x := range v {
				s += x
			}
			return s / float64(len(v))
		}
		if a, b := mean(paid[:4]), mean(paid[50:]); b < a+0.3 || b < 1.6 {
			t.Errorf("rewards went from %.2f to %.2f of 2", a, b)
		}
		if first == nil {
			first = paid
		} else if !slices.Equal(first, paid) {
			t.Error("the same seed learns otherwise")
		}
	}
}
