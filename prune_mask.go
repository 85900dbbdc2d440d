package nasc

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// Masked is what a mask of zeros saves.
type Masked struct {
	Zeros float64  `json:"zeros"`      // the share of the weights of layers
	File  [2]int64 `json:"file_bytes"` // of a .nasc before and after
}

// masked sets weights to zero where that was asked for. Of several rounds each
// leaves the same share of what the one before left; a pattern is there from
// the first on.
func (o *PruneOptions) masked(ctx context.Context, g *ir.Graph, round int) (*ir.Graph, error) {
	if o.Mask == "" {
		return g, nil
	}
	arg := "pattern=" + o.Mask
	if !strings.Contains(o.Mask, ":") {
		arg = "share=" + o.Mask
		if share, err := strconv.ParseFloat(o.Mask, 64); err == nil && round < o.Rounds && share < 1 {
			arg = fmt.Sprint("share=", 1-math.Pow(1-share, float64(round)/float64(o.Rounds)))
		}
	}
	list, err := passes.Parse("mask(" + arg + ")")
	if err != nil {
		return nil, diag.At("--mask", err)
	}
	g = g.Clone()
	_, err = passes.Run(ctx, g, list, passes.Options{})
	return g, diag.At("--mask", err)
}

// weigh counts zeros, and the bytes of files.
func (o *PruneOptions) weigh(before, after *ir.Graph, man *nascfile.Manifest) (*Masked, error) {
	r := &Masked{}
	for i, g := range []*ir.Graph{before, after} {
		var c countWriter
		if err := nascfile.Encode(&c, &ir.Module{Graphs: []*ir.Graph{g}}, man); err != nil {
			return nil, err
		}
		r.File[i] = int64(c)
	}
	zeros, all := 0, 0
	for _, n := range after.Nodes {
		w := n.In(1)
		if n.Op.Name != "convolution" && n.Op.Name != "dot" || w == nil || !w.IsConst() {
			continue
		}
		all += w.Const.Len()
		for k := range w.Const.Len() {
			if w.Const.At(k) == 0 {
				zeros++
			}
		}
	}
	r.Zeros = float64(zeros) / float64(max(1, all))
	return r, nil
}
