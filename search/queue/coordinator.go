package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/task"
)

// Options are a coordinator's.
type Options struct {
	URL     string // of the server
	Study   string // unique among the server's studies, and the same after a restart
	Task    task.Task
	Weights search.DirStore
	// AckWait is how long a worker may say nothing before its job goes to
	// another.
	AckWait time.Duration
	// Known says which trials the journal has the outcome of.
	Known func(id int64) bool
	Note  func(format string, args ...any)
}

// Coordinator hands trials to workers. It is a search.Evaluator; the journal of
// the loop must be its Journal, so that results are let go once they are kept.
type Coordinator struct {
	Options
	nc      *nats.Conn
	js      jetstream.JetStream
	hello   *nats.Subscription
	results jetstream.ConsumeContext
	device  string

	opening sync.Mutex // held while streams are made again

	mu      sync.Mutex
	blobs   blobs // of the streams as they are
	times   int   // they were made
	waiting map[string]chan result
	arrived map[string]result         // before anybody waited
	held    map[int64][]jetstream.Msg // results that are not kept yet
	workers map[string]time.Time
	alone   time.Time // when it was last said that there is no worker
}

func key(kind string, id int64) string { return fmt.Sprint(kind, " ", id) }

// Coordinate connects, makes the study's streams where there are none, and
// answers workers.
func Coordinate(ctx context.Context, o Options) (*Coordinator, error) {
	nc, js, err := connect(o.URL, "nasc study "+o.Study)
	if err != nil {
		return nil, err
	}
	c := &Coordinator{
		Options: o, nc: nc, js: js, waiting: map[string]chan result{}, arrived: map[string]result{}, held: map[int64][]jetstream.Msg{}, workers: map[string]time.Time{},
	}
	if o.Task.Measure {
		c.device = Device(o.Task)
	}
	err = c.open(ctx)
	if err == nil {
		c.hello, err = nc.Subscribe(hellos, c.welcome)
	}
	if err != nil {
		nc.Close()
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			err = &diag.Error{Place: "--nats " + Hidden(o.URL), Found: "a NATS server without JetStream", Wanted: "one with, which keeps jobs and results", Fix: "nats-server -js, or --nats embedded"}
		}
		return nil, err
	}
	return c, nil
}

// open makes the study's streams where there are none.
func (c *Coordinator) open(ctx context.Context) error {
	for name, subject := range map[string]string{jobStream(c.Study): "job", resultStream(c.Study): "result"} {
		if _, err := c.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: name, Subjects: []string{fmt.Sprintf("nasc.%s.%s.>", c.Study, subject)}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
			Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, MaxMsgsPerSubject: 1,
		}); err != nil {
			return err
		}
	}
	consumers := map[string]string{anywhere: anywhere}
	if c.device != "" {
		consumers[deviceKey(c.device)] = deviceKey(c.device)
	}
	for name := range consumers {
		if _, err := c.js.CreateOrUpdateConsumer(ctx, jobStream(c.Study), jetstream.ConsumerConfig{
			Durable: name, FilterSubject: fmt.Sprintf("nasc.%s.job.%s.>", c.Study, name), AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.AckWait, MaxAckPending: -1,
		}); err != nil {
			return err
		}
	}
	store, err := c.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: bucket(c.Study)})
	if err != nil {
		return err
	}
	in := blobs{ctx, store}
	if c.Task.Teacher {
		file, err := c.Weights.Get(c.Task.Digest)
		if err == nil {
			_, err = in.Put(file)
		}
		if err != nil {
			return err
		}
	}
	mine, err := c.js.CreateOrUpdateConsumer(ctx, resultStream(c.Study), jetstream.ConsumerConfig{
		Durable: "coordinator", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 5 * time.Second, MaxAckPending: -1,
	})
	if err != nil {
		return err
	}
	if c.results != nil {
		c.results.Stop()
	}
	if c.results, err = mine.Consume(c.result); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blobs, c.times = in, c.times+1
	return nil
}

// store is where workers find weights, and how often the streams were made by
// now.
func (c *Coordinator) store() (blobs, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blobs, c.times
}

// errLost says that the server has a job no more: it has lost what it kept.
var errLost = errors.New("the server has lost the study's streams")

// reopen makes the streams again on a server that lost them. Of those who find
// it out at once, the first does.
func (c *Coordinator) reopen(ctx context.Context) error {
	c.opening.Lock()
	defer c.opening.Unlock()
	if _, err := c.js.Stream(ctx, jobStream(c.Study)); !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err // it is there, or nobody answers
	}
	c.Note("the NATS server has lost what it kept of this study: its jobs are given out again")
	return c.open(ctx)
}

// welcome answers a worker.
func (c *Coordinator) welcome(m *nats.Msg) {
	var h hello
	w := welcome{Study: c.Study, Task: c.Task, Device: c.device, AckWait: c.AckWait}
	if err := json.Unmarshal(m.Data, &h); err != nil {
		w.Refused = "a worker that does not speak nasc's protocol: " + err.Error()
	} else {
		w.Refused = refuse(h)
	}
	c.mu.Lock()
	_, known := c.workers[h.Worker]
	c.workers[h.Worker] = time.Now()
	c.mu.Unlock()
	if w.Refused != "" {
		c.Note("refused: %s", w.Refused)
		w = welcome{Refused: w.Refused}
	} else if !known {
		c.Note("worker %s joins", h.Worker)
	}
	b, err := json.Marshal(w)
	if err == nil {
		err = m.Respond(b)
	}
	if err != nil {
		c.Note("no answer to worker %s: %v", h.Worker, err)
	}
}

// result takes a worker's message. It is acknowledged when the journal has it.
func (c *Coordinator) result(m jetstream.Msg) {
	var r result
	if err := json.Unmarshal(m.Data(), &r); err != nil || r.Seed == 0 && r.ID == 0 {
		c.Note("a result that cannot be read is dropped: %v", err)
		_ = m.Term() // it comes again where this is lost
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Known(r.ID) { // kept before this coordinator began, or a second time
		_ = m.Ack() // it comes again where this is lost
		return
	}
	k := key(r.Kind, r.ID)
	c.held[r.ID] = append(c.held[r.ID], m)
	if ch := c.waiting[k]; ch != nil {
		delete(c.waiting, k)
		ch <- r
	} else {
		c.arrived[k] = r
	}
}

// Kept is called when the journal has a trial's outcome.
func (c *Coordinator) Kept(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.held[id] {
		_ = m.Ack() // it comes again where this is lost
	}
	delete(c.held, id)
	for _, kind := range []string{evaluates, measures} {
		delete(c.arrived, key(kind, id))
	}
}

// Journal is j, which lets results go.
func (c *Coordinator) Journal(j search.Journal) search.Journal { return journal{j, c} }

type journal struct {
	search.Journal
	c *Coordinator
}

func (j journal) Finished(t *search.Trial, took time.Duration) error {
	if err := j.Journal.Finished(t, took); err != nil {
		return err
	}
	j.c.Kept(t.ID)
	return nil
}

// Evaluate has workers find a trial's outcome.
func (c *Coordinator) Evaluate(ctx context.Context, t *search.Trial) (search.Outcome, error) {
	for {
		out, err := c.evaluate(ctx, t)
		if !errors.Is(err, errLost) {
			return out, err
		}
		if err := c.reopen(ctx); err != nil && !noAnswer(err) {
			return out, err
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return out, err
		}
	}
}

func (c *Coordinator) evaluate(ctx context.Context, t *search.Trial) (search.Outcome, error) {
	in, times := c.store()
	if p := t.ParentTrial; p != nil && p.Weights != "" {
		file, err := c.Weights.Get(p.Weights)
		if err != nil {
			return search.Outcome{}, err
		}
		err = c.patiently(ctx, times, func() error {
			_, err := in.Put(file)
			return err
		})
		if err != nil {
			return search.Outcome{}, err
		}
	}
	r, err := c.do(ctx, job{Kind: evaluates, Trial: t, Parent: t.ParentTrial}, anywhere, times)
	if err != nil {
		return search.Outcome{}, err
	}
	out := r.Outcome
	if out.Weights != "" && !c.Weights.Has(out.Weights) {
		var file []byte
		err := c.patiently(ctx, times, func() (err error) {
			file, err = in.Get(out.Weights)
			return err
		})
		if err != nil {
			return out, err // errLost: the trial is trained again
		}
		if _, err := c.Weights.Put(file); err != nil {
			return out, err
		}
	}
	if c.device == "" || out.Fault != "" {
		return out, nil
	}
	m, err := c.do(ctx, job{Kind: measures, Trial: t}, deviceKey(c.device), times)
	if err != nil {
		return out, err
	}
	if m.Outcome.Fault != "" {
		return m.Outcome, nil
	}
	for k, v := range m.Outcome.Metrics {
		out.Metrics[k] = v
	}
	return out, nil
}

// lost makes errLost of what a server that lost a study answers.
func lost(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) ||
		errors.Is(err, jetstream.ErrObjectNotFound) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		return errLost
	}
	return err
}

// patiently does f until the server answers, or has lost the streams, which were
// made so many times.
func (c *Coordinator) patiently(ctx context.Context, times int, f func() error) error {
	for {
		err := f()
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case errors.Is(err, jetstream.ErrNoStreamResponse): // lost, or the server is about to begin
		case !noAnswer(err):
			return lost(err)
		}
		if _, now := c.store(); now != times {
			return errLost
		}
		if _, err := c.js.Stream(deadline(ctx, lookEvery), jobStream(c.Study)); errors.Is(err, jetstream.ErrStreamNotFound) {
			return errLost
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// patience is how long a job lies before its coordinator says that it waits.
const patience = 15 * time.Second

// lookEvery is how often a coordinator that waits looks after its job.
const lookEvery = 2 * time.Second

// look looks after a job of a device: whether the server still has its stream,
// and whether a worker is there.
func (c *Coordinator) look(ctx context.Context, device string) (worked bool, err error) {
	s, err := c.js.Consumer(deadline(ctx, lookEvery), jobStream(c.Study), device)
	if err != nil {
		return true, lost(err)
	}
	i := s.CachedInfo() // just fetched
	return i.NumWaiting > 0 || i.NumAckPending > 0, nil
}

// do puts a job into the stream, which was made so many times, and waits for its
// result.
func (c *Coordinator) do(ctx context.Context, j job, device string, times int) (result, error) {
	k := key(j.Kind, j.Trial.ID)
	ch := make(chan result, 1)
	c.mu.Lock()
	r, here := c.arrived[k]
	if here {
		delete(c.arrived, k)
	} else {
		c.waiting[k] = ch
	}
	c.mu.Unlock()
	if here && r.Seed == j.Trial.Seed {
		return r, nil
	}
	b, err := json.Marshal(j)
	if err != nil {
		return result{}, err
	}
	for {
		_, err := c.js.Publish(ctx, jobSubject(c.Study, device, j.Trial.ID), b)
		if err == nil || taken(err) { // an earlier coordinator's job is the same
			break
		}
		if ctx.Err() != nil {
			return result{}, ctx.Err()
		}
		if errors.Is(err, jetstream.ErrNoStreamResponse) { // lost, or the server is about to begin
			if _, err := c.look(ctx, device); errors.Is(err, errLost) {
				return result{}, c.forget(k, err)
			}
		} else if !noAnswer(err) {
			return result{}, err
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return result{}, err
		}
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	seen := time.Now() // a worker
	for {
		select {
		case r := <-ch:
			if r.Seed != j.Trial.Seed {
				return r, place(r.ID, errors.New("a result of another study's trial"))
			}
			return r, nil
		case <-ctx.Done():
			return result{}, c.forget(k, ctx.Err())
		case <-tick.C:
			worked, err := c.look(ctx, device)
			if _, now := c.store(); now != times { // a stream that has never had this job
				err = errLost
			}
			if errors.Is(err, errLost) {
				return result{}, c.forget(k, err)
			}
			if worked {
				seen = time.Now()
			} else if time.Since(seen) >= patience {
				c.mu.Lock()
				say := time.Since(c.alone) >= patience
				if say {
					c.alone = time.Now()
				}
				c.mu.Unlock()
				if say {
					c.Note("trial %d waits for a worker%s: nasc worker --nats %s", j.Trial.ID, map[bool]string{true: " of this device"}[device != anywhere], Hidden(c.URL))
				}
			}
		}
	}
}

// forget ends the waiting for a job with an error.
func (c *Coordinator) forget(k string, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, k)
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Hidden is an address without its credentials.
func Hidden(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return address
	}
	u.User = url.User("TOKEN")
	return u.String()
}

// Finish removes what the study has on the server: all trials are kept.
func (c *Coordinator) Finish(ctx context.Context) error {
	c.results.Stop()
	err := errors.Join(c.hello.Unsubscribe(), c.js.DeleteStream(ctx, jobStream(c.Study)), c.js.DeleteStream(ctx, resultStream(c.Study)))
	return errors.Join(err, c.js.DeleteObjectStore(ctx, bucket(c.Study)))
}

// Close leaves the server. What lies there is found again.
func (c *Coordinator) Close() { c.nc.Close() }
