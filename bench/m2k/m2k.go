// Package m2k judges networks of the benches on M2k: MNIST at 14×14, 2,000
// pictures to train on, all 10,000 test pictures.
package m2k

import (
	"context"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
)

// Judge runs a network on the test pictures of the MNIST files in dir; while a
// bench is developed (dev), on 10,000 of MNIST's training pictures that M2k
// leaves out, at M2k's size. outputs asks for what the network gave, too.
func Judge(ctx context.Context, net *ir.Graph, dir string, dev bool, pre nascfile.Preprocess, outputs bool) (*nasc.Score, error) {
	arg := "m2k-test:" + dir
	if dev {
		arg, pre.Resize = "mnist:"+dir+"[10000:20000]", pre.Height
	}
	feed, err := data.OpenFeed(arg, net.Inputs, &pre)
	if err != nil {
		return nil, err
	}
	return nasc.Evaluate(ctx, net, "cpu-f32", feed, outputs, nil)
}

// Top1 is Judge's share of pictures that the network gets right.
func Top1(ctx context.Context, net *ir.Graph, dir string, dev bool, pre nascfile.Preprocess) (float64, error) {
	score, err := Judge(ctx, net, dir, dev, pre, false)
	if err != nil {
		return 0, err
	}
	return score.Top1, nil
}
