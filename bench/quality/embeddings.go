package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/npy"
	"github.com/nasc-dev/nasc/ir"
)

// sentences are token ids and masks of pairs: sentence 2i and 2i+1 are pair i.
type sentences struct {
	ids, mask [2]*ir.Tensor
	inputs    []*ir.Value
	index     []int
}

func (s sentences) Len() int { return len(s.index) }

func (s sentences) row(t [2]*ir.Tensor, i int) *ir.Tensor {
	k := t[0].Shape[1]
	return ir.From(t[i%2].I64()[i/2*k:(i/2+1)*k], 1, k)
}

// At gives the inputs by what their names say: ids, mask, and token types,
// which are all 0.
func (s sentences) At(i int) ([]*ir.Tensor, error) {
	var in []*ir.Tensor
	for _, v := range s.inputs {
		switch {
		case strings.Contains(v.Name, "mask"):
			in = append(in, s.row(s.mask, s.index[i]))
		case strings.Contains(v.Name, "type"):
			in = append(in, ir.NewTensor(ir.I64, 1, s.ids[0].Shape[1]))
		default:
			in = append(in, s.row(s.ids, s.index[i]))
		}
	}
	return in, nil
}

// embed runs a model and gives the mean of the last hidden state over the
// mask, normalized.
func embed(ctx context.Context, g *ir.Graph, s sentences) ([][]float64, error) {
	score, err := outputs(ctx, g, s)
	if err != nil {
		return nil, err
	}
	var out [][]float64
	for i, t := range score.Outputs {
		mask := s.row(s.mask, s.index[i]).I64()
		width := t.Len() / len(mask)
		e := make([]float64, width)
		for j, m := range mask {
			if m != 0 {
				for k, v := range t.F32()[j*width : (j+1)*width] {
					e[k] += float64(v)
				}
			}
		}
		norm := math.Sqrt(dot(e, e))
		for k := range e {
			e[k] /= norm
		}
		out = append(out, e)
	}
	return out, nil
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

// embeddings measures a sentence model: Spearman's rho of the cosines against
// human scores, and the int8 embeddings' cosine to the float ones.
func embeddings(ctx context.Context) error {
	var s sentences
	var err error
	read := func(name string) (t *ir.Tensor) {
		if err == nil {
			t, err = npy.Read(filepath.Join(*stsb, name))
		}
		return t
	}
	for i, side := range []string{"a", "b"} {
		s.ids[i], s.mask[i] = read(side+"_input_ids.npy"), read(side+"_attention_mask.npy")
	}
	scores := read("scores.npy")
	if err != nil {
		return err
	}
	pairs, length := s.ids[0].Shape[0], s.ids[0].Shape[1]
	shapes := map[string]ir.Shape{}
	for _, name := range []string{"input_ids", "attention_mask", "token_type_ids"} {
		shapes[name] = ir.Shape{ir.Batch, length}
	}
	g, _, err := open(ctx, shapes)
	if err != nil {
		return err
	}
	s.inputs = g.Inputs
	fmt.Printf("| split | int8 MAC share | dense layers int8 | rho f32 | rho int8 | mean cosine | least cosine | quantize s |\n|---|---|---|---|---|---|---|---|\n")
	for k := range *splits {
		seed := *first + uint64(k)
		perm := rand.New(rand.NewPCG(seed, 0)).Perm(pairs)
		n := min(*calib/2, pairs)
		held := perm[n:]
		if *limit > 0 {
			held = held[:min(*limit, len(held))]
		}
		slices.Sort(held)
		both := func(pairs []int) sentences {
			t := s
			t.index = nil
			for _, p := range pairs {
				t.index = append(t.index, 2*p, 2*p+1)
			}
			return t
		}
		q, rep, took, err := quantize(g, both(perm[:n]))
		if err != nil {
			return err
		}
		f, err := embed(ctx, g, both(held))
		if err != nil {
			return err
		}
		e, err := embed(ctx, q, both(held))
		if err != nil {
			return err
		}
		var human, cosF, cosQ []float64
		mean, least := 0.0, 1.0
		for i := range f {
			c := dot(f[i], e[i])
			mean += c / float64(len(f))
			least = min(least, c)
		}
		for i, p := range held {
			human = append(human, scores.At(p))
			cosF = append(cosF, dot(f[2*i], f[2*i+1]))
			cosQ = append(cosQ, dot(e[2*i], e[2*i+1]))
		}
		dense, dense8 := 0, 0
		for _, l := range rep.Layers {
			if l.Op == "dot" {
				dense++
				if l.Int8 {
					dense8++
				}
			}
		}
		fmt.Printf("| %d (%d pairs) | %.4f | %d of %d | %.4f | %.4f | %.4f | %.4f | %.1f |\n",
			seed, len(held), rep.Int8MACShare(), dense8, dense, spearman(cosF, human), spearman(cosQ, human), mean, least, took.Seconds())
	}
	return nil
}

// spearman is the rank correlation, ties at their mean rank.
func spearman(a, b []float64) float64 {
	ra, rb := ranks(a), ranks(b)
	mean := float64(len(a)-1) / 2
	var ab, aa, bb float64
	for i := range ra {
		x, y := ra[i]-mean, rb[i]-mean
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}

func ranks(v []float64) []float64 {
	at := make([]int, len(v))
	for i := range at {
		at[i] = i
	}
	slices.SortFunc(at, func(i, j int) int {
		switch {
		case v[i] < v[j]:
			return -1
		case v[i] > v[j]:
			return 1
		}
		return 0
	})
	r := make([]float64, len(v))
	for i := 0; i < len(at); {
		j := i
		for j < len(at) && v[at[j]] == v[at[i]] {
			j++
		}
		for k := i; k < j; k++ {
			r[at[k]] = float64(i+j-1) / 2
		}
		i = j
	}
	return r
}
