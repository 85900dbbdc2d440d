package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/queue"
	"github.com/nasc-dev/nasc/search/task"
)

// natsFlags are what spreads a search over workers.
type natsFlags struct {
	nats    string
	listen  string
	token   string
	workers int
	ackWait time.Duration
}

func (n *natsFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&n.nats, "nats", "", "spread trials over workers (nasc worker): embedded, a NATS server in this process, or a server's address")
	f.StringVar(&n.listen, "nats-listen", "127.0.0.1:0", "where the embedded server listens, HOST:PORT (port 0: any, the same again for a study)")
	f.StringVar(&n.token, "nats-token", os.Getenv(tokenEnv), "what workers must know to use the embedded server; needed where others reach it (or in "+tokenEnv+")")
	f.Lookup("nats-token").DefValue = ""
	f.IntVar(&n.workers, "workers", 0, "worker processes to run on this machine")
	f.DurationVar(&n.ackWait, "ack-wait", 30*time.Second, "how long a worker may say nothing before its trial is given to another")
}

func (n *natsFlags) check(study string) error {
	switch {
	case n.workers < 0:
		return &diag.Error{Place: "--workers", Found: fmt.Sprint(n.workers), Wanted: "0 or more"}
	case n.nats == "" && n.workers > 0:
		return &diag.Error{Place: "--workers", Found: "no --nats", Wanted: "--nats embedded, or a server's address"}
	case n.nats != "" && study == "":
		return &diag.Error{Place: "--nats", Found: "no --study", Wanted: "a study, which keeps what workers find"}
	case n.ackWait < 100*time.Millisecond:
		return &diag.Error{Place: "--ack-wait", Found: n.ackWait.String(), Wanted: "100ms or more"}
	}
	return nil
}

// crew is a coordinator with its server and the workers that it runs.
type crew struct {
	*queue.Coordinator
	server  *queue.Server // nil: another process's
	running sync.WaitGroup
	stop    context.CancelFunc
}

// hire starts what --nats asks for. failed hears why no worker is left.
func (a *app) hire(ctx context.Context, r *searching, failed func(error)) (*crew, error) {
	c := &crew{}
	sealed, err := r.opened.Sealed()
	if err != nil {
		return nil, err
	}
	url := r.nats
	if url == "embedded" {
		if c.server, err = queue.Embed(queue.Folder(r.study.Path), r.listen, r.token); err != nil {
			return nil, err
		}
		url = c.server.URL
	}
	c.Coordinator, err = queue.Coordinate(ctx, queue.Options{
		URL: url, Study: r.study.Meta.UID, Task: sealed, Weights: r.weights, AckWait: r.ackWait, Note: a.note, Known: r.study.Known,
	})
	if err != nil {
		if c.server != nil {
			c.server.Close()
		}
		return nil, err
	}
	if c.server != nil {
		a.note("workers join with: nasc worker --nats %s", queue.Hidden(url))
	}
	if c.server != nil {
		url = r.study.Path // workers find the address beside it: arguments, which hold no secret then, are for all to see
	}
	ctx, c.stop = context.WithCancel(ctx)
	var mu sync.Mutex
	left := r.workers
	for i := range r.workers {
		c.running.Add(1)
		go func() {
			defer c.running.Done()
			err := employ(ctx, url, fmt.Sprintf("%d", i+1), a.err)
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 && err != nil && ctx.Err() == nil {
				failed(err)
			}
		}()
	}
	return c, nil
}

// employ runs one worker process, and another where it is killed. The error is
// that of a worker that cannot work.
func employ(ctx context.Context, url, name string, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		c := exec.CommandContext(ctx, self, "worker", "--child", "--name", name, "--nats", url)
		var last bytes.Buffer
		c.Stderr = io.MultiWriter(stderr, &last)
		in, err := c.StdinPipe()
		if err != nil {
			return err
		}
		c.Cancel = in.Close // it ends by itself then
		c.WaitDelay = 10 * time.Second
		if err := c.Start(); err != nil {
			return err
		}
		err = c.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() > 0 {
			lines := strings.Split(strings.TrimSpace(last.String()), "\n")
			return errors.New(strings.TrimPrefix(lines[len(lines)-1], "nasc: "))
		}
	}
	return nil
}

// dismiss ends workers and server; finished removes what the study had there.
func (c *crew) dismiss(finished bool) error {
	c.stop()
	c.running.Wait()
	var err error
	if finished {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err = c.Finish(ctx)
		cancel()
	}
	c.Coordinator.Close()
	if c.server != nil {
		c.server.Close()
	}
	return err
}

// evaluators says who evaluates trials, and what keeps them.
func evaluators(o *task.Opened, goal search.Goal, c *crew, j search.Journal) (search.Evaluator, search.Journal) {
	if c == nil {
		return o.Screened(goal, queue.Local(o)), j
	}
	return o.Screened(goal, c.Coordinator), c.Journal(j)
}
