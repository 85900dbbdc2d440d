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
	blobs   blobs
	hello   *nats.Subscription
	results jetstream.ConsumeContext
	device  string

	mu      sync.Mutex
	waiting map[string]chan result
	arrived map[string]result         // before anybody waited
	held    map[int64][]jetstream.Msg // results that are not kept yet
	workers map[string]time.Time
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
	if err := c.open(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

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
	c.blobs = blobs{ctx, store}
	if c.Task.Teacher {
		file, err := c.Weights.Get(c.Task.Digest)
		if err == nil {
			_, err = c.blobs.Put(file)
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
	if c.results, err = mine.Consume(c.result); err != nil {
		return err
	}
	c.hello, err = c.nc.Subscribe(hellos, c.welcome)
	return err
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
	if p := t.ParentTrial; p != nil && p.Weights != "" {
		file, err := c.Weights.Get(p.Weights)
		if err != nil {
			return search.Outcome{}, err
		}
		if _, err := c.blobs.Put(file); err != nil {
			return search.Outcome{}, err
		}
	}
	r, err := c.do(ctx, job{Kind: evaluates, Trial: t, Parent: t.ParentTrial}, anywhere)
	if err != nil {
		return search.Outcome{}, err
	}
	out := r.Outcome
	if out.Weights != "" && !c.Weights.Has(out.Weights) {
		file, err := c.blobs.Get(out.Weights)
		if err != nil {
			return out, err
		}
		if _, err := c.Weights.Put(file); err != nil {
			return out, err
		}
	}
	if c.device == "" || out.Fault != "" {
		return out, nil
	}
	m, err := c.do(ctx, job{Kind: measures, Trial: t}, deviceKey(c.device))
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

// patience is how long a job lies before its coordinator says that it waits.
const patience = 15 * time.Second

// do puts a job into the stream and waits for its result.
func (c *Coordinator) do(ctx context.Context, j job, device string) (result, error) {
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
		if !noAnswer(err) {
			return result{}, err
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return result{}, err
		}
	}
	tick := time.NewTicker(patience)
	defer tick.Stop()
	for {
		select {
		case r := <-ch:
			if r.Seed != j.Trial.Seed {
				return r, place(r.ID, errors.New("a result of another study's trial"))
			}
			return r, nil
		case <-ctx.Done():
			c.mu.Lock()
			delete(c.waiting, k)
			c.mu.Unlock()
			return result{}, ctx.Err()
		case <-tick.C:
			c.mu.Lock()
			none := len(c.workers) == 0
			c.mu.Unlock()
			if none {
				c.Note("trial %d waits for a worker%s: nasc worker --nats %s", j.Trial.ID, map[bool]string{true: " of this device"}[device != anywhere], Hidden(c.URL))
			}
		}
	}
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
