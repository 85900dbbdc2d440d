package controller

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
)

// saved is the form of policies in a file. Sum, the SHA-256 of the rest, finds
// what was changed.
type saved struct {
	Form     string
	Features int // of a layer, that the policies see
	Shares   int // that they choose from
	Hidden   int
	Weights  map[string][][]float32
	Sum      string
}

const shrinkerForm = "nasc n2n policies 2"

// Save gives the weights of both policies, for Load. A policy that never decided
// has none.
func (s *Shrinker) Save() ([]byte, error) {
	v := saved{Form: shrinkerForm, Features: s.Features, Shares: s.Shares, Hidden: shrinkerHidden, Weights: map[string][][]float32{}}
	for _, p := range []*policy{s.keeps, s.narrows} {
		for path, w := range p.given { // what came with it and was not used yet
			v.Weights[path] = w
		}
		if err := p.weights(v.Weights); err != nil {
			return nil, err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(v.Weights)) {
		if !finite(v.Weights[path]) {
			return nil, &diag.Error{Place: "policy " + path, Found: "weights that are no numbers", Wanted: "a policy that learned", Fix: "take smaller learning rates (options rate and share-rate)"}
		}
	}
	var err error
	if v.Sum, err = v.sum(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	return append(b, '\n'), err
}

func (v saved) sum() (string, error) {
	v.Sum = ""
	b, err := json.Marshal(v)
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:]), err
}

// Load begins with the weights that another Shrinker saved. It must come before
// the first decision.
func (s *Shrinker) Load(file []byte) error {
	var v saved
	if err := json.Unmarshal(file, &v); err != nil || v.Form != shrinkerForm {
		return &diag.Error{Found: "no policies of n2n", Wanted: "the file that --policy-out of another search left (" + shrinkerForm + ")", Err: err}
	}
	switch sum, err := v.sum(); {
	case err != nil:
		return err
	case sum != v.Sum:
		return &diag.Error{Found: "policies that were changed: their SHA-256 is " + sum, Wanted: v.Sum + ", as the file says", Fix: "write it again with --policy-out"}
	}
	for _, x := range []struct {
		name      string
		has, want int
	}{{"numbers of a layer", v.Features, s.Features}, {"shares to choose from", v.Shares, s.Shares}, {"units", v.Hidden, shrinkerHidden}} {
		if x.has != x.want {
			return &diag.Error{Found: fmt.Sprintf("policies of %d %s", x.has, x.name), Wanted: fmt.Sprint(x.want), Fix: "learn them with this nasc"}
		}
	}
	s.keeps.given, s.narrows.given = v.Weights, v.Weights
	return nil
}

func finite(w [][]float32) bool {
	return !slices.ContainsFunc(w, func(r []float32) bool {
		return slices.ContainsFunc(r, func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) })
	})
}
