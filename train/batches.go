package train

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"

	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// cacheBytes bounds the samples that are kept in memory in the form they go
// into the network; larger sets are read anew each time.
const cacheBytes = 1 << 30

// samples reads labelled inputs of a feed, keeping them where they fit.
type samples struct {
	feed    *data.Feed
	index   []int // of the feed's samples
	classes int
	name    string // in messages
	// unlabelled allows samples without a class: a teacher knows.
	unlabelled bool
	bytes      int64 // of one sample
	kept       []sample
}

type sample struct {
	in    []*ir.Tensor
	label int
}

func newSamples(name string, f *data.Feed, index []int, classes int) (*samples, error) {
	s := &samples{feed: f, index: index, classes: classes, name: name}
	if len(index) == 0 {
		return nil, &diag.Error{Place: name, Found: "no samples", Wanted: "one or more"}
	}
	for _, v := range f.Inputs {
		s.bytes += v.Type.Bytes()
	}
	if s.bytes*int64(len(index)) <= cacheBytes {
		s.kept = make([]sample, len(index))
	}
	return s, nil
}

// check reads every label that is kept: a bad one ends the training before it
// starts.
func (s *samples) check(ctx context.Context) error {
	if s.kept == nil {
		return nil
	}
	for i := range s.index {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := s.at(i); err != nil {
			return err
		}
	}
	return nil
}

func (s *samples) at(i int) (sample, error) {
	if s.kept != nil && s.kept[i].in != nil {
		return s.kept[i], nil
	}
	in, label, err := s.feed.Labelled(s.index[i])
	if err != nil {
		return sample{}, diag.At(s.name, err)
	}
	if label >= s.classes || label < 0 && !s.unlabelled {
		found := fmt.Sprintf("label %d", label)
		if label == -1 {
			found = "no label"
		}
		return sample{}, &diag.Error{Place: fmt.Sprintf("%s, sample %d", s.name, s.index[i]), Found: found, Wanted: fmt.Sprintf("0 to %d: the network has %d outputs", s.classes-1, s.classes)}
	}
	v := sample{in, label}
	if s.kept != nil {
		s.kept[i] = v
	}
	return v, nil
}

// digested is how many samples a digest reads.
const digested = 256

// digest identifies the samples by their number and some of them.
func (s *samples) digest() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, len(s.index)) // a hash does not fail
	n := min(digested, len(s.index))
	for i := range n {
		x, err := s.at(i * len(s.index) / n)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, x.label)
		for _, t := range x.in {
			h.Write(t.RawBytes())
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// batch is what one step takes: the network's inputs, targets, masks.
type batch struct {
	step   int
	in     []*ir.Tensor
	labels []int
	from   []int // the feed's samples
	err    error
}

// batcher draws the batch of any step: it depends on seed and step only.
type batcher struct {
	*samples
	s         *step
	size      int
	seed      uint64
	augment   Augment
	smoothing float64
	picture   picture
	pictures  bool
}

// perEpoch is how many whole batches the samples make, one at least.
func (b *batcher) perEpoch() int { return max(1, len(b.index)/b.size) }

// draw makes the batch of a step. order is the epoch's, see order.
func (b *batcher) draw(step int, order []int) batch {
	out := batch{step: step}
	r := rand.New(rand.NewPCG(b.seed, uint64(step)<<8|1))
	for _, v := range b.s.graph.Inputs[:b.s.data] {
		out.in = append(out.in, ir.NewTensor(v.Type.DType, v.Type.Shape...))
	}
	target := ir.NewTensor(ir.F32, b.size, b.classes)
	t := target.F32()
	first := step % b.perEpoch() * b.size
	for i := range b.size {
		s, err := b.at(order[(first+i)%len(order)])
		if err != nil {
			out.err = err
			return out
		}
		for k, x := range s.in {
			n := x.Len()
			if k == 0 && b.pictures {
				b.augment.vary(r, b.picture, out.in[0].F32()[i*n:][:n], x.F32())
				continue
			}
			row := out.in[k].RawBytes()
			copy(row[i*len(row)/b.size:], x.RawBytes())
		}
		out.labels = append(out.labels, s.label)
		out.from = append(out.from, b.index[order[(first+i)%len(order)]])
		if s.label < 0 {
			continue
		}
		off := b.smoothing / float64(b.classes)
		for c := range b.classes {
			t[i*b.classes+c] = float32(off)
		}
		t[i*b.classes+s.label] += float32(1 - b.smoothing)
	}
	if b.pictures {
		b.augment.mix(r, b.picture, out.in[0].F32(), t, b.size)
	}
	out.in = append(out.in, target)
	for _, m := range b.s.masks {
		x := ir.NewTensor(ir.F32, m.value.Type.Shape...)
		for i := range x.F32() {
			if r.Float64() >= m.rate {
				x.F32()[i] = float32(1 / (1 - m.rate))
			}
		}
		out.in = append(out.in, x)
	}
	return out
}

// plain is a batch of consecutive samples as they are, the last ones again where
// there are no more.
func (b *batcher) plain(first int) batch {
	c := *b
	c.augment = Augment{}
	order := make([]int, b.size)
	for i := range order {
		order[i] = min(first+i, len(b.index)-1)
	}
	return c.draw(0, order)
}

// order is the samples' order in an epoch.
func (b *batcher) order(epoch int) []int {
	return rand.New(rand.NewPCG(b.seed, uint64(epoch)<<8|2)).Perm(len(b.index))
}

// prefetched is how many batches lie ready.
const prefetched = 2

// stream sends the batches of steps [from, to) until ctx ends.
func (b *batcher) stream(ctx context.Context, from, to int) <-chan batch {
	c := make(chan batch, prefetched)
	go func() {
		defer close(c)
		epoch, order := -1, []int(nil)
		for i := from; i < to; i++ {
			if e := i / b.perEpoch(); e != epoch {
				epoch, order = e, b.order(e)
			}
			x := b.draw(i, order)
			select {
			case c <- x:
			case <-ctx.Done():
				return
			}
			if x.err != nil {
				return
			}
		}
	}()
	return c
}
