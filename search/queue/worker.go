package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/task"
)

// Worker takes jobs of whatever studies a server has.
type Worker struct {
	// Server is the address of a server, or the file of a study whose
	// coordinator on this machine has one.
	Server string
	Name   string
	// TrainOnly lets a worker of another device work on a study that measures.
	TrainOnly bool
	Note      func(format string, args ...any)

	nc     *nats.Conn
	js     jetstream.JetStream
	opened map[string]*task.Opened // by task
	store  *relay                  // of the opened task's weights
	hello  hello
	// through is what trained files pass on their way to the store; nil: nothing.
	// Tests make it fail.
	through func(search.Store) search.Store
}

// mostDeliveries is how often a job may lose its worker before it is a fault.
const mostDeliveries = 8

// Work works until ctx ends or something is wrong with this worker.
func (w *Worker) Work(ctx context.Context) error {
	w.opened = map[string]*task.Opened{}
	w.hello = hello{Protocol: Protocol, Nasc: nasc.Version(), Worker: w.Name}
	said := time.Time{}
	for {
		err := w.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !noAnswer(err) {
			return err
		}
		if err != nil && time.Since(said) > patience { // nil: another study's turn
			what := "study" // a server answers, no search does
			if errors.Is(err, nats.ErrNoServers) {
				what = "server"
			}
			w.Note("no %s at %s: waiting", what, Hidden(w.Server))
			said = time.Now()
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			return nil
		}
	}
}

// address finds the server.
func (w *Worker) address() (string, error) {
	if strings.Contains(w.Server, "://") {
		return w.Server, nil
	}
	if _, port, err := net.SplitHostPort(w.Server); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			return "nats://" + w.Server, nil
		}
	}
	b, err := os.ReadFile(filepath.Join(Folder(w.Server), addressFile))
	if err != nil {
		return "", &diag.Error{Place: "--nats " + w.Server, Err: err, Wanted: "nats://HOST:PORT, or the file of a study that nasc search --nats embedded runs on this machine"}
	}
	return strings.TrimSpace(string(b)), nil
}

// Folder is where a study's embedded server keeps its streams.
func Folder(study string) string { return study + ".nats" }

// session works for one study until its coordinator is gone.
func (w *Worker) session(ctx context.Context) error {
	address, err := w.address()
	if err != nil {
		return err
	}
	w.nc, w.js, err = connect(address, "nasc worker "+w.Name)
	if err != nil {
		if errors.Is(err, nats.ErrNoServers) {
			return nats.ErrNoServers // it comes, or comes back
		}
		return err
	}
	defer w.nc.Close()
	wel, err := w.ask(ctx)
	if err != nil {
		return err
	}
	if wel.Refused != "" {
		return errors.New(wel.Refused)
	}
	devices := []string{anywhere}
	if wel.Device != "" {
		if here := Device(wel.Task); here == wel.Device {
			devices = append(devices, deviceKey(here))
		} else if !w.TrainOnly {
			return &diag.Error{Place: "worker " + w.Name, Found: "another device than the study measures on: " + differ(wel.Device, here), Wanted: "a device like the study's", Fix: "run the worker there, or say --train-only: it trains and leaves the measuring to others"}
		}
	}
	store, err := w.js.ObjectStore(ctx, bucket(wel.Study))
	if err != nil {
		return gone(err)
	}
	key, err := json.Marshal(wel.Task)
	if err != nil {
		return err
	}
	o := w.opened[string(key)]
	if o != nil {
		w.store.set(blobs{ctx, store}) // the connection is another
	} else {
		w.store = &relay{}
		w.store.set(blobs{ctx, store})
		var weights search.Store = w.store
		if w.through != nil {
			weights = w.through(weights)
		}
		if o, err = wel.Task.Open(weights, nil); err != nil {
			return err
		}
		clear(w.opened) // one task at a time is kept
		w.opened[string(key)] = o
	}
	w.Note("working on %s", o.Space.Name())
	return w.serve(ctx, wel, o, devices)
}

// relay is the store of the session that there is: a task outlives sessions.
type relay struct {
	mu sync.Mutex
	to search.Store
}

func (r *relay) set(s search.Store) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = s
}

func (r *relay) get() search.Store {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.to
}

// Put keeps a file on the study's server.
func (r *relay) Put(file []byte) (string, error) { return r.get().Put(file) }

// Get gets one from there.
func (r *relay) Get(digest string) ([]byte, error) { return r.get().Get(digest) }

// ask says hello and gives the answer of a coordinator.
func (w *Worker) ask(ctx context.Context) (welcome, error) {
	var wel welcome
	b, err := json.Marshal(w.hello)
	if err != nil {
		return wel, err
	}
	m, err := w.nc.RequestWithContext(deadline(ctx, 2*time.Second), hellos, b)
	if err != nil {
		return wel, err
	}
	if err := json.Unmarshal(m.Data, &wel); err != nil {
		return wel, &diag.Error{Place: "--nats " + Hidden(w.Server), Found: "an answer that is none of nasc's", Err: err}
	}
	return wel, nil
}

// idleFor is how long a worker without a job waits before it looks for another
// study: a coordinator that is gone leaves its streams, and they would hold it.
const idleFor = 3 * time.Second

// deadline is a context of a request; its end is that of the request.
func deadline(ctx context.Context, d time.Duration) context.Context {
	c, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(c, cancel)
	return c
}

// differ lists the facts in which two devices differ.
func differ(want, here string) string {
	var out []string
	a, b := strings.Split(want, "; "), strings.Split(here, "; ")
	for i := range a {
		if i >= len(b) {
			out = append(out, a[i])
		} else if a[i] != b[i] {
			out = append(out, fmt.Sprintf("%s there, %s here", a[i], b[i]))
		}
	}
	return strings.Join(out, ", ")
}

// serve takes jobs until the study's streams are gone.
func (w *Worker) serve(ctx context.Context, wel welcome, o *task.Opened, devices []string) error {
	var consumers []jetstream.Consumer
	for _, d := range devices {
		c, err := w.js.Consumer(ctx, jobStream(wel.Study), d)
		if err != nil {
			return gone(err)
		}
		consumers = append(consumers, c)
	}
	busy := time.Now()
	for {
		got := false
		for i, c := range consumers {
			wait := time.Second / time.Duration(2*len(consumers))
			if i == 0 && len(consumers) == 1 {
				wait = time.Second
			}
			batch, err := c.Fetch(1, jetstream.FetchMaxWait(wait))
			if err != nil {
				return gone(err)
			}
			for m := range batch.Messages() {
				got = true
				if err := w.job(ctx, wel, o, m); err != nil {
					return err
				}
			}
			if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
				return gone(err)
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if got {
			busy = time.Now()
			continue
		}
		if time.Since(busy) > idleFor {
			if now, err := w.ask(ctx); err != nil {
				return err
			} else if now.Study != wel.Study {
				return nil // Work says hello again
			}
			busy = time.Now()
		}
		if _, err := consumers[0].Info(deadline(ctx, 2*time.Second)); err != nil { // nothing to do: is the study still there?
			return gone(err)
		}
	}
}

// gone makes of a study's end, or its server's, what Work waits through.
func gone(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrConsumerDeleted) ||
		errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrObjectNotFound) || errors.Is(err, jetstream.ErrNoHeartbeat) || errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, jetstream.ErrServerShutdown) {
		return nats.ErrTimeout
	}
	return err
}

// job does one job: its result is kept on the server before the job is let go.
func (w *Worker) job(ctx context.Context, wel welcome, o *task.Opened, m jetstream.Msg) error {
	var j job
	if err := json.Unmarshal(m.Data(), &j); err != nil || j.Trial == nil {
		w.Note("a job that cannot be read is dropped: %v", err)
		return m.Term()
	}
	j.Trial.ParentTrial = j.Parent
	stop := make(chan struct{})
	defer close(stop)
	go func() { // says that it is at it
		t := time.NewTicker(max(wel.AckWait/3, 50*time.Millisecond))
		defer t.Stop()
		for {
			select {
			case <-t.C:
				_ = m.InProgress() // where this is lost, another worker does it too
			case <-stop:
				return
			}
		}
	}()
	r := result{Kind: j.Kind, ID: j.Trial.ID, Seed: j.Trial.Seed, Worker: w.Name}
	if meta, err := m.Metadata(); err == nil && meta.NumDelivered > mostDeliveries {
		r.Outcome.Fault = fmt.Sprintf("%d workers were lost while they worked on it", mostDeliveries)
	} else {
		r.Outcome, err = perform(ctx, o, j)
		if err != nil { // it is this worker that cannot
			_ = m.NakWithDelay(time.Second) // otherwise it is given on later
			if ctx.Err() != nil {
				return nil
			}
			if e := gone(err); noAnswer(e) {
				return e // nor can another: the server has lost the study
			}
			err = place(j.Trial.ID, err)
			if errors.Is(err, syscall.ENOSPC) {
				err = &diag.Error{Place: "worker " + w.Name, Err: err, Fix: "make room and start it again; the trial goes to another worker"}
			}
			return err
		}
	}
	r.Outcome.Clean()
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	for {
		_, err := w.js.Publish(deadline(ctx, 5*time.Second), resultSubject(wel.Study, j.Kind, j.Trial.ID), b)
		switch {
		case err == nil || taken(err):
			return gone(m.DoubleAck(deadline(ctx, 5*time.Second)))
		case errors.Is(err, jetstream.ErrNoStreamResponse): // the study has ended, or its server comes back
			return gone(err)
		case !noAnswer(err):
			return err
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return nil
		}
	}
}
