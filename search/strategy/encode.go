package strategy

import (
	"math"
	"strconv"

	"github.com/nasc-dev/nasc/search"
)

// encoder turns a network into numbers, one a choice: its option, or absent
// where the choice decides nothing.
type encoder struct {
	space   search.Space
	options []int       // of each choice
	scale   [][]float64 // of a choice of rising numbers, where each option lies from 0 to 1; nil: names
}

// absent is the option of a choice that is not there.
const absent = -1

func newEncoder(s search.Space) *encoder {
	e := &encoder{space: s}
	for _, g := range s.Genes() {
		e.options = append(e.options, len(g.Options))
		e.scale = append(e.scale, numbersOf(g.Options))
	}
	return e
}

// numbersOf places options that are rising numbers evenly from 0 to 1: widths
// and depths mostly double rather than add.
func numbersOf(options []string) []float64 {
	if len(options) < 3 {
		return nil
	}
	out := make([]float64, len(options))
	before := math.Inf(-1)
	for i, o := range options {
		v, err := strconv.ParseFloat(o, 64)
		if err != nil || !(v > before) {
			return nil
		}
		before = v
		out[i] = float64(i) / float64(len(options)-1)
	}
	return out
}

func (e *encoder) encode(g search.Genotype) []int {
	x := make([]int, len(g))
	for i := range x {
		x[i] = absent
	}
	e.space.Active(g, func(i int) { x[i] = g[i] })
	return x
}

// distance of a choice between two networks, from 0 to 1, squared.
func (e *encoder) distance(gene, a, b int) float64 {
	switch {
	case a == b:
		return 0
	case a == absent || b == absent || e.scale[gene] == nil:
		return 1
	}
	d := e.scale[gene][a] - e.scale[gene][b]
	return d * d
}
