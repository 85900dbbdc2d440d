package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
)

// Epoch is what one pass over the data gave.
type Epoch struct {
	Loss  float64 `json:"loss"`
	Top1  float64 `json:"top1"` // of the training batches, as they came
	Rate  float64 `json:"lr"`   // of the last step
	MS    float64 `json:"ms_per_step"`
	Valid bool    `json:"validated"`
	VLoss float64 `json:"val_loss,omitempty"`
	VTop1 float64 `json:"val_top1,omitempty"`
}

// sums are those of a running epoch.
type sums struct {
	Loss  float64
	Right int
	Seen  int
	Steps int
}

// Job is one training.
type Job struct {
	Config
	Network    *Network
	Data       *data.Feed
	Valid      *data.Feed           // nil: ValSplit of Data, or none
	Preprocess *nascfile.Preprocess // of Data, where it is pictures
	Teacher    *Teacher             // nil: the labels alone
	Backend    Backend              // nil: cpu-f32
	Threads    int

	Checkpoint string        // file to keep the state in; "": none
	Every      time.Duration // between checkpoints within an epoch; 0 is a minute
	Resume     bool          // go on from Checkpoint where it exists

	Progress func(done, total int)    // steps
	Report   func(epoch int, e Epoch) // after each
	Warn     func(text string)

	opt     *optimizer
	sched   *schedule
	train   *batcher
	valid   *samples
	exe     backends.Executable
	teach   backends.Executable // of Teacher
	answers []*ir.Tensor        // what it says of a batch
	trained []*Param            // the network's parameters, then a teacher's adapters
	out     []*ir.Tensor
	params  []*ir.Tensor
	grads   [][]float32
	moments [][][]float32 // by parameter, then moment
	zeros   [][]int       // by parameter: the elements that stay zero
	ema     [][]float32
	state   state
	saved   int   // the step of the last checkpoint
	free    int64 // memory to assume, for tests; 0: what the system says
}

// Result is a finished training.
type Result struct {
	Epochs  []Epoch   `json:"epochs"`
	Steps   int       `json:"steps"`
	Resumed int       `json:"resumed_at,omitempty"`  // of the steps, how many were done before
	MS      float64   `json:"ms_per_step,omitempty"` // of those done now
	Graph   *ir.Graph `json:"-"`                     // the network with its trained weights
}

// Run trains. On an error the last checkpoint stays; when ctx ends, one of the
// last step is written.
func (j *Job) Run(ctx context.Context) (*Result, error) {
	defer j.close()
	if err := j.prepare(ctx); err != nil {
		return nil, err
	}
	per := j.train.perEpoch()
	total := per * j.Epochs
	if j.Steps > 0 {
		total = min(total, j.Steps)
	}
	warmup := min(int(j.Warmup*float64(per)), total)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	saved := time.Now()
	var took time.Duration
	first := j.state.Step
	mark := time.Now()
	stepsHere := 0
	for b := range j.train.stream(ctx, j.state.Step, total) {
		if b.err != nil {
			return nil, b.err
		}
		rate := j.sched.rate(b.step, total, warmup) * j.LR
		if err := j.step(ctx, b, rate); err != nil {
			return nil, j.kept(j.stopped(err))
		}
		stepsHere++
		j.state.Step = b.step + 1
		if j.Progress != nil {
			j.Progress(j.state.Step, total)
		}
		done := j.state.Step%per == 0 || j.state.Step == total
		if done {
			d := time.Since(mark)
			took += d
			s := j.state.Sums
			e := Epoch{Loss: s.Loss / float64(s.Steps), Top1: float64(s.Right) / float64(s.Seen), Rate: rate, MS: d.Seconds() * 1e3 / float64(stepsHere)}
			if j.valid != nil {
				var err error
				if e.VLoss, e.VTop1, err = j.validate(ctx); err != nil {
					return nil, err
				}
				if !finite(e.VLoss) {
					return nil, j.kept(&diag.Error{
						Place: fmt.Sprintf("validation after step %d", j.state.Step), Found: fmt.Sprintf("a loss of %v", e.VLoss), Wanted: "finite numbers",
						Fix: "look for numbers that are too large in the data, or a lower --lr", Unmet: true,
					})
				}
				e.Valid = true
			}
			j.state.Epochs, j.state.Sums = append(j.state.Epochs, e), sums{}
			if j.Report != nil {
				j.Report(len(j.state.Epochs), e)
			}
		}
		if done || time.Since(saved) > j.Every {
			if err := j.keep(); err != nil {
				return nil, j.kept(err)
			}
			saved = time.Now()
		}
		if done {
			mark, stepsHere = time.Now(), 0
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, j.stopped(err)
	}
	r := &Result{Epochs: j.state.Epochs, Steps: total, Resumed: first, Graph: j.Network.Inference(j.best())}
	if n := total - first; n > 0 {
		r.MS = took.Seconds() * 1e3 / float64(n)
	}
	return r, nil
}

func (j *Job) warn(format string, args ...any) {
	if j.Warn != nil {
		j.Warn(fmt.Sprintf(format, args...))
	}
}

func (j *Job) close() {
	for _, e := range []backends.Executable{j.exe, j.teach} {
		if e != nil {
			e.Close()
		}
	}
}

// kept says in an error where the last good state is.
func (j *Job) kept(err error) error {
	if j.Checkpoint == "" {
		return err
	}
	if _, e := os.Stat(j.Checkpoint); e != nil {
		return err
	}
	var d *diag.Error
	if errors.As(err, &d) && d.Fix != "" {
		d.Fix += "; the last good state is in " + j.Checkpoint
	}
	return err
}

// keep writes the checkpoint where there is one to write.
func (j *Job) keep() error {
	if err := j.sound(); err != nil || j.Checkpoint == "" {
		return err
	}
	j.saved = j.state.Step
	return j.state.save(j.Checkpoint)
}

// stopped keeps the state of the last whole step where the training was told to
// end between two.
func (j *Job) stopped(err error) error {
	if !errors.Is(err, context.Canceled) || j.state.Step == j.saved || j.sound() != nil {
		return err
	}
	return errors.Join(err, j.keep())
}

// sound refuses to keep a state whose last step made a number that is not finite:
// what comes next would find it, and the file before would be lost.
func (j *Job) sound() error {
	for _, t := range j.state.tensors {
		if slices.ContainsFunc(t.Tensor.F32(), func(v float32) bool { return v-v != 0 }) {
			name, kind := t.Name[strings.IndexByte(t.Name, '.')+1:], "a moment of "
			switch t.Name[0] {
			case 'w':
				kind = ""
			case 'e':
				kind = "the average of "
			case 's':
				kind = "the statistics "
			}
			return &diag.Error{Place: fmt.Sprintf("step %d", j.state.Step), Found: "a number in " + kind + strconv.Quote(name) + " that is not finite", Wanted: "finite numbers", Fix: "a lower --lr, --warmup or --clip", Unmet: true}
		}
	}
	return nil
}

// best is the weights to keep: the averaged ones where there are any, nil for
// the present ones.
func (j *Job) best() [][]float32 {
	if j.ema == nil {
		return nil
	}
	return j.ema[:len(j.Network.Params)]
}

// Check refuses settings and samples that Run would refuse before its first
// step, so that who trains many networks alike knows before the first. Memory is
// each network's own matter. A job that was checked is not for running.
func (j *Job) Check(ctx context.Context) error {
	j.free = math.MaxInt64
	_, _, err := j.ready(ctx)
	return err
}

// validate measures loss and top-1 with the weights that would be kept.
func (j *Job) validate(ctx context.Context) (loss, top1 float64, err error) {
	return j.Network.evaluate(ctx, j.best(), j.valid, j.Batch, max(1, j.Threads), j.Options.Loss)
}
