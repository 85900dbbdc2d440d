package train

import (
	"errors"
	"fmt"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Config is what decides the bits of a training, with the network, the data
// and the target.
type Config struct {
	Epochs    int
	Steps     int // where less than Epochs: the training ends after so many; 0: any
	Batch     int
	LR        float64 // 0: the optimizer's own
	Optimizer string
	Schedule  string
	Warmup    float64 // epochs
	Seed      uint64
	Hyper     Hyper
	Clip      float64 // of the gradients' joint norm; 0: none
	EMA       float64 // decay of the averaged weights that are kept; 0: none
	Smoothing float64 // of labels
	GradNoise float64 // η of noise with variance η/(1+step)^0.55 (Neelakantan et al. 2015)
	NormDecay float64 // how much of a batch's statistics enters the running ones; 0 is 0.1
	ValSplit  float64 // share of the data kept for validation, drawn by the seed
	Options   Options
	Augment   Augment
	Distill   Distill // used where the job has a teacher
	// Quantization is what is trained of a network that computes on levels, one
	// of Quantizations; "" is lsq, and nothing for a float network.
	Quantization string
	// KeepZeros leaves the weights of convolutions and dense layers zero that are
	// zero when it begins: a mask stays one.
	KeepZeros bool
	Target    string
}

// Default is a configuration that trains most small networks.
func Default() Config {
	return Config{
		Epochs: 10, Batch: 64, Optimizer: "adamw", Schedule: "cosine", Seed: 1,
		Hyper:   Hyper{Momentum: 0.9, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 1e-4, Nesterov: true},
		Distill: Distill{Mode: "logits", Weight: 0.9, Temperature: 4},
	}
}

// Check refuses settings that no training takes.
func (c *Config) Check() error {
	if _, err := findOptimizer(c.Optimizer); err != nil {
		return err
	}
	if _, err := findSchedule(c.Schedule); err != nil {
		return err
	}
	bad := func(key string, found any, wanted string) error {
		return &diag.Error{Place: key, Found: fmt.Sprint(found), Wanted: wanted}
	}
	within := func(key string, v, lo, hi float64) error {
		if v >= lo && v <= hi {
			return nil
		}
		return bad(key, v, fmt.Sprintf("%v to %v", lo, hi))
	}
	switch {
	case c.Epochs < 1 || c.Epochs > 1<<20:
		return bad("--epochs", c.Epochs, "1 or more")
	case c.Steps < 0:
		return bad("--steps", c.Steps, "0 or more")
	case c.Batch < 1 || c.Batch > 1<<20:
		return bad("--batch", c.Batch, "1 or more")
	}
	return errors.Join(
		within("--lr", c.LR, 0, 1e3), within("--warmup", c.Warmup, 0, float64(c.Epochs)), within("--momentum", c.Hyper.Momentum, 0, 0.99999),
		within("--weight-decay", c.Hyper.WeightDecay, 0, 10), within("--clip", c.Clip, 0, 1e9), within("--ema", c.EMA, 0, 0.999999),
		within("--smoothing", c.Smoothing, 0, 0.99), within("--val-split", c.ValSplit, 0, 0.9), within("--grad-noise", c.GradNoise, 0, 1e3),
		within("--dropout", c.Options.Dropout, 0, 0.99), within("--drop-path", c.Options.DropPath, 0, 0.99),
		within("--distill-weight", c.Distill.Weight, 0, 1), within("--temperature", c.Distill.Temperature, 0, 1e3),
		within("--mixup", c.Augment.Mixup, 0, 100), within("--cutmix", c.Augment.Cutmix, 0, 100),
		within("--autoaugment", float64(c.Augment.Auto), 0, 8), within("--random-crop", float64(c.Augment.Crop), 0, 1<<12), within("--cutout", float64(c.Augment.Cutout), 0, 1<<12),
	)
}
