package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/strategy"
	"github.com/nasc-dev/nasc/search/study"
	"github.com/nasc-dev/nasc/search/task"
	"github.com/nasc-dev/nasc/train"
)

// bench writes a tabular benchmark of 64 networks and gives its task.
func bench(t *testing.T) task.Task {
	t.Helper()
	var b strings.Builder
	b.WriteString("genotype,a,b,c,val_seed0,test_seed0,ms,params,macs,bytes\n")
	for i := range 64 {
		x := []int{i / 16, i / 4 % 4, i % 4}
		fmt.Fprintf(&b, "%d.%d.%d,a%d,b%d,c%d,%.4f,0.5,%d,1,1,1\n", x[0], x[1], x[2], x[0], x[1], x[2], 0.3+float64(x[0]*x[1]+x[2])/40, i+1)
	}
	path := filepath.Join(t.TempDir(), "nets.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	var k task.Task
	if err := k.OpenBench("table:" + path); err != nil {
		t.Fatal(err)
	}
	return k
}

// run is a search of a study through workers, until ctx ends or it is done.
func run(ctx context.Context, t *testing.T, k task.Task, path, url string, budget int) ([]*search.Trial, error) {
	t.Helper()
	o, err := k.Open(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := study.Meta{Space: o.Space.Name(), SpaceText: k.Bench, SpaceDigest: k.Digest, Strategy: "regularized-evolution", Objective: "accuracy", Seed: 5, Window: 4, Budget: budget, Nasc: nasc.Version()}
	s, err := study.Open(ctx, path, m, func() {})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	goal, err := s.Meta.Goal()
	if err != nil {
		t.Fatal(err)
	}
	x, err := strategy.Find(m.Strategy, search.Setup{Space: o.Space, Goal: goal, Budget: budget, Seed: m.Seed})
	if err != nil {
		t.Fatal(err)
	}
	l := &search.Loop{Space: o.Space, Goal: goal, Strategy: x, Journal: s, Seed: m.Seed, Window: m.Window, Budget: budget, Evaluator: Local(o)}
	if url != "" {
		c, err := Coordinate(ctx, Options{
			URL: url, Study: s.Meta.UID, Task: k, Weights: study.Weights(path), AckWait: time.Second, Note: t.Logf,
			Known: s.Known,
		})
		if err != nil {
			return nil, err
		}
		defer c.Close()
		l.Evaluator, l.Journal = c, c.Journal(s)
	}
	return l.Run(ctx)
}

func text(trials []*search.Trial) (out []string) {
	for _, x := range trials {
		out = append(out, fmt.Sprint(x.ID, x.Seed, x.Genotype, x.CopyOf, x.Metrics))
	}
	return out
}

func embed(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Embed(dir, "127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A study by three workers, whose coordinator and server stop twice and of
// whose workers one vanishes with a job, has the trials of one in a process.
func TestStudyByWorkers(t *testing.T) {
	k := bench(t)
	dir := t.TempDir()
	want, err := run(t.Context(), t, k, filepath.Join(dir, "alone.db"), "", 60)
	if err != nil || len(want) != 60 {
		t.Fatalf("%d trials, %v", len(want), err)
	}
	path := filepath.Join(dir, "s.db")
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for i := range 3 {
		workers.Add(1)
		go func() {
			defer workers.Done()
			w := &Worker{Server: path, Name: fmt.Sprint("w", i), Note: t.Logf}
			for !exists(filepath.Join(Folder(path), addressFile)) && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			if err := w.Work(ctx); err != nil {
				t.Error(err)
			}
		}()
	}
	defer workers.Wait()
	defer stop()
	var got []*search.Trial
	for round := range 3 {
		server := embed(t, Folder(path))
		if round == 0 { // one that takes a job and is never heard of again
			go thief(ctx, server.URL)
		}
		c, cancel := context.WithCancel(ctx)
		if round < 2 {
			go func() {
				for n := 0; n < 15*(round+1) && c.Err() == nil; time.Sleep(time.Millisecond) {
					if s, err := study.Read(c, path); err == nil {
						n = len(s.Done())
						s.Close()
					}
				}
				cancel()
			}()
		}
		got, err = run(c, t, k, path, server.URL, 60)
		cancel()
		server.Close()
	}
	if err != nil || !slices.Equal(text(got), text(want)) {
		t.Errorf("%v\n%v\nwanted\n%v", err, strings.Join(text(got), "\n"), strings.Join(text(want), "\n"))
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// thief takes a job of whatever study comes first and does nothing with it.
func thief(ctx context.Context, url string) {
	_, js, err := connect(url, "thief")
	for err == nil && ctx.Err() == nil {
		names := js.StreamNames(ctx)
		for n := range names.Name() {
			c, err := js.Consumer(ctx, n, anywhere)
			if err != nil {
				continue
			}
			if b, err := c.Fetch(1, jetstream.FetchMaxWait(time.Second)); err == nil {
				for range b.Messages() {
					return
				}
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// A worker that speaks another protocol, or is another nasc, is told why it is
// not taken; so is one of another device, unless it only trains.
func TestWorkersRefused(t *testing.T) {
	k := bench(t)
	server := embed(t, t.TempDir())
	defer server.Close()
	k.Measure, k.Target, k.Threads = true, "cpu-int8", 1
	c, err := Coordinate(t.Context(), Options{URL: server.URL, Study: "abc", Task: k, AckWait: time.Second, Note: t.Logf, Known: func(int64) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, x := range []struct {
		h    hello
		want string
	}{
		{hello{Protocol - 1, nasc.Version(), "old"}, fmt.Sprintf("worker old: protocol %d; wanted %d, which nasc", Protocol-1, Protocol)},
		{hello{Protocol, "v0.0.1", "old"}, "worker old: nasc v0.0.1; wanted " + nasc.Version()},
		{hello{Protocol, nasc.Version(), "new"}, ""},
	} {
		b, err := json.Marshal(x.h)
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.nc.RequestWithContext(deadline(t.Context(), 5*time.Second), hellos, b)
		if err != nil {
			t.Fatal(err)
		}
		var w welcome
		if err := json.Unmarshal(m.Data, &w); err != nil || !strings.HasPrefix(w.Refused, x.want) || (x.want == "") != (w.Refused == "") {
			t.Errorf("%+v: %q, %v", x.h, w.Refused, err)
		}
	}
	c.device = "cpu Another One; " + c.device // as if the study were another machine's
	w := &Worker{Server: server.URL, Name: "here", Note: t.Logf}
	if err := w.Work(t.Context()); err == nil || !strings.Contains(err.Error(), "another device than the study measures on: cpu Another One there, ") {
		t.Errorf("%v", err)
	}
}

// A worker that waits says for what: a server that is not there, or one that no search uses.
func TestWaitingForWhat(t *testing.T) {
	s, err := Embed(t.TempDir(), "127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	hears := func(want string) {
		t.Helper()
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		said := ""
		w := &Worker{Server: s.URL, Name: "here", Note: func(format string, args ...any) { said = fmt.Sprintf(format, args...); stop() }}
		if err := w.Work(ctx); err != nil || !strings.HasPrefix(said, want) {
			t.Errorf("%q, %v; wanted %q", said, err, want)
		}
	}
	hears("no study at ")
	s.Close()
	hears("no server at ")
}

// Other machines reach a server with its credentials only.
func TestCredentials(t *testing.T) {
	if _, err := Embed(t.TempDir(), "0.0.0.0:0", ""); err == nil || !strings.Contains(err.Error(), "without credentials; wanted --nats-token") {
		t.Errorf("%v", err)
	}
	s, err := Embed(t.TempDir(), "0.0.0.0:0", "secret")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	if _, _, err := connect("nats://127.0.0.1"+port, "x"); err == nil || !strings.Contains(err.Error(), "credentials that the server does not take") {
		t.Errorf("%v", err)
	}
	nc, _, err := connect("nats://secret@127.0.0.1"+port, "x")
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if got := Hidden(s.URL); strings.Contains(got, "secret") {
		t.Error(got)
	}
}

// A server comes back at its port, or at another where that is taken.
func TestPortAgain(t *testing.T) {
	dir := t.TempDir()
	first := embed(t, dir)
	url := first.URL
	first.Close()
	again := embed(t, dir)
	if again.URL != url {
		t.Errorf("%s, then %s", url, again.URL)
	}
	again.Close()
	l, err := net.Listen("tcp", strings.TrimPrefix(url, "nats://"))
	if err != nil {
		t.Skip("the port was taken meanwhile")
	}
	defer l.Close()
	other := embed(t, dir)
	defer other.Close()
	if other.URL == url {
		t.Errorf("%s twice", url)
	}
}

// What a worker cannot do is its own fault: the job is another's then.
func TestWorkerThatCannot(t *testing.T) {
	k := bench(t)
	dir := t.TempDir()
	server := embed(t, dir)
	defer server.Close()
	c, err := Coordinate(t.Context(), Options{URL: server.URL, Study: "abc", Task: k, AckWait: time.Second, Note: t.Logf, Known: func(int64) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, file, _ := strings.Cut(k.Bench, ":")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil { // this machine has another file
		t.Fatal(err)
	}
	w := &Worker{Server: server.URL, Name: "here", Note: t.Logf}
	if err := w.Work(t.Context()); err == nil || !strings.Contains(err.Error(), "a file whose SHA-256 is") {
		t.Errorf("%v", err)
	}
}

// small is a task that trains networks of a few weights, on 20 samples. write
// makes these anew, with another last pixel.
func small(t *testing.T) (k task.Task, write func(last byte)) {
	t.Helper()
	dir := t.TempDir()
	images, labels := filepath.Join(dir, "images"), filepath.Join(dir, "labels")
	write = func(last byte) {
		x, y := []byte{0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 8, 0, 0, 0, 8}, []byte{0, 0, 8, 1, 0, 0, 0, 20}
		for i := range 20 {
			x, y = append(x, make([]byte, 64)...), append(y, byte(i%2))
		}
		x[len(x)-1] = last
		for path, b := range map[string][]byte{images: x, labels: y} {
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(1)
	space := "input = [8, 8, 1]\n[[stage]]\nblock = \"conv\"\nchannels = { choose = [4, 6, 8] }\nkernel = { choose = [1, 3] }\n[[stage]]\nblock = \"pool\"\n[[stage]]\nblock = \"dense\"\nout = 2\n"
	k = task.Task{Space: space, File: "small.toml", Data: "idx:" + images + "," + labels, Share: 0.2, Seed: 1, Train: train.Default()}
	k.Train.Epochs, k.Train.Batch = 1, 8
	return k, write
}

// full is a store on a disk without room.
type full struct{ search.Store }

func (full) Put([]byte) (string, error) {
	return "", &fs.PathError{Op: "write", Path: "weights/.partial-1", Err: syscall.ENOSPC}
}

// A worker whose disk is full says so and ends. Its trial goes to the next
// worker, and the study has what it would have had without.
func TestWorkerOfFullDisk(t *testing.T) {
	k, _ := small(t)
	dir := t.TempDir()
	want, err := run(t.Context(), t, k, filepath.Join(dir, "alone.db"), "", 5)
	if err != nil || len(want) != 5 {
		t.Fatalf("%d trials, %v", len(want), err)
	}
	server := embed(t, t.TempDir())
	defer server.Close()
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop()
	workers.Go(func() {
		w := &Worker{Server: server.URL, Name: "full", Note: t.Logf, through: func(s search.Store) search.Store { return full{s} }}
		err := w.Work(ctx)
		for _, part := range []string{"worker full: trial ", "no space left on device", "make room and start it again; the trial goes to another worker"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%v; wanted %q", err, part)
			}
		}
		next := &Worker{Server: server.URL, Name: "next", Note: t.Logf}
		if err := next.Work(ctx); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "s.db")
	got, err := run(ctx, t, k, path, server.URL, 5)
	if err != nil || !slices.Equal(text(got), text(want)) {
		t.Errorf("%v\n%v\nwanted\n%v", err, strings.Join(text(got), "\n"), strings.Join(text(want), "\n"))
	}
	for _, x := range got {
		if x.Fault != "" || x.Weights == "" || !study.Weights(path).Has(x.Weights) {
			t.Errorf("trial %d: fault %q, weights %q", x.ID, x.Fault, x.Weights)
		}
	}
}

// A worker that has other data under the search's name is refused by name and
// digests, before it takes a job.
func TestWorkerOfOtherData(t *testing.T) {
	k, write := small(t)
	o, err := k.Open(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if k, err = o.Sealed(); err != nil || k.Sum == "" {
		t.Fatal(k.Sum, err)
	}
	if _, err := k.Open(nil, nil); err != nil {
		t.Errorf("the same data: %v", err)
	}
	server := embed(t, t.TempDir())
	defer server.Close()
	c, err := Coordinate(t.Context(), Options{URL: server.URL, Study: "abc", Task: k, AckWait: time.Second, Note: t.Logf, Known: func(int64) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	write(2) // one pixel of this machine's
	w := &Worker{Server: server.URL, Name: "here", Note: t.Logf}
	err = w.Work(t.Context())
	for _, want := range []string{"--data idx:", " on this machine; wanted " + k.Sum + ", as the search has it"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; wanted %q", err, want)
		}
	}
}
