package queue

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/nasc-dev/nasc/search/study"
)

// A server that comes back without what it kept gets the jobs again: nothing is
// lost, and the workers stay.
func TestServerLosesAll(t *testing.T) {
	k, _ := small(t)
	k.Space = strings.Replace(k.Space, "[4, 6, 8]", "[4, 5, 6, 7, 8, 9, 10, 11, 12, 13]", 1)
	dir := t.TempDir()
	const trials = 20
	want, err := run(t.Context(), t, k, filepath.Join(dir, "alone.db"), "", trials)
	if err != nil || len(want) != trials {
		t.Fatalf("%d trials, %v", len(want), err)
	}
	first := embed(t, t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	defer others.Wait()
	defer stop()
	for _, name := range []string{"a", "b"} {
		others.Go(func() {
			w := &Worker{Server: strings.TrimPrefix(first.URL, "nats://"), Name: name, Note: t.Logf} // HOST:PORT will do
			if err := w.Work(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	path := filepath.Join(dir, "s.db")
	others.Go(func() {
		for n := 0; n < 5 && ctx.Err() == nil; time.Sleep(time.Millisecond) {
			if s, err := study.Read(ctx, path); err == nil {
				n = len(s.Done())
				s.Close()
			}
		}
		first.Close()
		s, err := Embed(t.TempDir(), strings.TrimPrefix(first.URL, "nats://"), "")
		if err != nil {
			t.Error(err)
			stop()
			return
		}
		<-ctx.Done()
		s.Close()
	})
	got, err := run(ctx, t, k, path, first.URL, trials)
	if err != nil || !slices.Equal(text(got), text(want)) {
		t.Errorf("%v\n%v\nwanted\n%v", err, strings.Join(text(got), "\n"), strings.Join(text(want), "\n"))
	}
}

// A worker outlives a coordinator and its server: it trains for the next that
// has the same task.
func TestWorkerOutlivesServer(t *testing.T) {
	k, _ := small(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "s.db")
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	var others sync.WaitGroup
	defer others.Wait()
	defer stop()
	first := embed(t, Folder(path))
	gone := make(chan bool, 10)
	others.Go(func() {
		w := &Worker{Server: path, Name: "w", Note: func(format string, args ...any) {
			t.Logf(format, args...)
			if strings.Contains(format, ": waiting") {
				gone <- true
			}
		}}
		if err := w.Work(ctx); err != nil {
			t.Error(err)
		}
	})
	for _, budget := range []int{2, 4} {
		if got, err := run(ctx, t, k, path, first.URL, budget); err != nil || len(got) != budget {
			t.Fatalf("%d trials, %v", len(got), err)
		}
		first.Close()
		if budget == 4 {
			break
		}
		for len(gone) > 0 {
			<-gone // said before there was a study
		}
		select {
		case <-gone:
		case <-ctx.Done():
			t.Fatal("the worker does not see that the server is gone")
		}
		first = embed(t, Folder(path))
	}
}

// A study whose coordinator went away and left its streams does not hold the
// workers: they go to the next that says hello.
func TestAbandonedStudy(t *testing.T) {
	k := bench(t)
	server := embed(t, t.TempDir())
	defer server.Close()
	old, err := Coordinate(t.Context(), Options{URL: server.URL, Study: "abandoned", Task: k, AckWait: time.Second, Note: t.Logf, Known: func(int64) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	var others sync.WaitGroup
	defer others.Wait()
	defer stop()
	at := make(chan bool, 10)
	others.Go(func() {
		w := &Worker{Server: server.URL, Name: "w", Note: func(format string, args ...any) {
			t.Logf(format, args...)
			if strings.HasPrefix(format, "working on") {
				at <- true
			}
		}}
		if err := w.Work(ctx); err != nil {
			t.Error(err)
		}
	})
	<-at
	old.Close()
	got, err := run(ctx, t, k, filepath.Join(t.TempDir(), "s.db"), server.URL, 10)
	if err != nil || len(got) != 10 {
		t.Errorf("%d trials, %v", len(got), err)
	}
}

// A server that keeps nothing is refused with what it lacks.
func TestServerWithoutStreams(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(startTime) {
		t.Fatal("it does not begin")
	}
	_, err = Coordinate(t.Context(), Options{URL: s.ClientURL(), Study: "abc", Task: bench(t), AckWait: time.Second, Note: t.Logf, Known: func(int64) bool { return false }})
	if err == nil || !strings.Contains(err.Error(), "a NATS server without JetStream; wanted one with") {
		t.Errorf("%v", err)
	}
}
