package tables

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/train"
)

// Training is what one seed gave a network.
type Training struct {
	Val     float64   `json:"val"`
	Test    float64   `json:"test"`
	Curve   []float64 `json:"curve"`   // validation accuracy after each epoch
	Weights string    `json:"weights"` // digest of the trained numbers
}

// digestLen is how many hexadecimal digits of a digest the table keeps.
const digestLen = 8

// Train trains network i from scratch. The result depends on the setup, i and
// the seed alone: not on threads, nor on the instruction set.
func (t *Table) Train(ctx context.Context, i, seed int) (Training, error) {
	g, _, err := t.graph(i)
	if err != nil {
		return Training{}, err
	}
	if g, err = nasc.Trainable(ctx, &nasc.Model{Module: &ir.Module{Graphs: []*ir.Graph{g}}}); err != nil {
		return Training{}, err
	}
	n, err := train.New(g)
	if err != nil {
		return Training{}, err
	}
	c := t.Config
	c.Seed = uint64(seed + 1)
	n.Init(c.Seed)
	j := train.Job{Config: c, Network: n, Data: t.train, Preprocess: t.train.Preprocess, Threads: 1}
	r, err := j.Run(ctx)
	if err != nil {
		return Training{}, diag.At("network "+t.Networks[i].String(), err)
	}
	var out Training
	for _, e := range r.Epochs {
		out.Curve = append(out.Curve, e.VTop1)
	}
	out.Val = out.Curve[len(out.Curve)-1]
	if _, out.Test, err = train.Evaluate(ctx, r.Graph, t.test, testBatch, 1); err != nil {
		return Training{}, err
	}
	out.Weights = weightsDigest(r.Graph)
	return out, nil
}

// testBatch is how many test samples run at once; the bits do not depend on it.
const testBatch = 50

func weightsDigest(g *ir.Graph) string {
	cs := slices.Clone(g.Constants())
	slices.SortFunc(cs, func(a, b *ir.Value) int { return cmp.Compare(a.Name, b.Name) })
	h := sha256.New()
	for _, c := range cs {
		h.Write([]byte(c.Name)) // a hash does not fail
		h.Write(c.Const.RawBytes())
	}
	return hex.EncodeToString(h.Sum(nil))[:digestLen]
}
