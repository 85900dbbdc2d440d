package queuetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/nasc-dev/nasc/search/queue"
	"github.com/nasc-dev/nasc/search/study"
)

// Options say what is searched and how it is disturbed.
type Options struct {
	Nasc     string // the command
	Dir      string // for studies
	Table    string // tabular benchmark
	Strategy string
	Trials   int
	Workers  int
	Kills    int // in the midst of a study, in all; as many studies are made as it takes
	Seed     uint64
	Least    time.Duration // between two kills
	Most     time.Duration
	Log      io.Writer
}

// Kill is one process killed.
type Kill struct {
	Study  int
	Victim string // coordinator, or worker N
	After  time.Duration
	Done   int // trials with an outcome then
}

// Report is what came of it.
type Report struct {
	Kills   []Kill
	Studies int
	Trials  int    // in each study
	Best    string // of the undisturbed search
}

// studiesAKill bounds the studies where most are done before a kill falls into
// them.
const studiesAKill = 10

// Run makes studies of which processes are killed (SIGKILL) and started again
// until they are done, and fails where one differs in anything but times from
// the one that was left alone.
func Run(ctx context.Context, o Options) (*Report, error) {
	r := rand.New(rand.NewPCG(o.Seed, 0x6b696c6c))
	ref := filepath.Join(o.Dir, "undisturbed.db")
	if out, err := exec.CommandContext(ctx, o.Nasc, o.search(ref)...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	want, best, err := trials(ctx, ref)
	if err != nil {
		return nil, err
	}
	rep := &Report{Trials: len(want), Best: best}
	if len(want) != o.Trials {
		return rep, fmt.Errorf("the undisturbed study has %d trials of %d", len(want), o.Trials)
	}
	for len(rep.Kills) < o.Kills && rep.Studies < studiesAKill*o.Kills {
		rep.Studies++
		path := filepath.Join(o.Dir, fmt.Sprintf("killed%d.db", rep.Studies))
		if err := o.disturbed(ctx, r, path, rep); err != nil {
			return rep, fmt.Errorf("study %d after %d kills: %w", rep.Studies, len(rep.Kills), err)
		}
		got, gotBest, err := trials(ctx, path)
		if err != nil {
			return rep, err
		}
		if len(got) != len(want) || gotBest != best {
			return rep, fmt.Errorf("study %d has %d trials and best %s, wanted %d and %s", rep.Studies, len(got), gotBest, len(want), best)
		}
		for i := range got {
			if got[i] != want[i] {
				return rep, fmt.Errorf("study %d differs:\n%s\nwanted\n%s", rep.Studies, got[i], want[i])
			}
		}
		fmt.Fprintf(o.Log, "study %d: %d trials, each once, as undisturbed; %d kills so far\n", rep.Studies, len(got), len(rep.Kills))
	}
	return rep, nil
}

func (o *Options) search(path string, more ...string) []string {
	return append([]string{
		"search", "--table", o.Table, "--strategy", o.Strategy, "--budget", fmt.Sprint(o.Trials), "--window", fmt.Sprint(o.Workers), "--seed", fmt.Sprint(o.Seed), "--study", path,
	}, more...)
}

// trials are a study's, as text without their times, and its best.
func trials(ctx context.Context, path string) (list []string, best string, err error) {
	s, err := study.Read(ctx, path)
	if err != nil {
		return nil, "", err
	}
	defer s.Close()
	top := -1.0
	for _, r := range s.Rows() {
		if !r.Done {
			return nil, "", fmt.Errorf("trial %d is not done", r.ID)
		}
		list = append(list, fmt.Sprint(r.ID, " ", r.Seed, " ", r.Genotype, " ", r.Parent, " ", r.CopyOf, " ", r.Metrics))
		if v := r.Metrics["accuracy"]; v > top {
			top, best = v, fmt.Sprintf("trial %d, %s, accuracy %.4f", r.ID, r.Genotype, v)
		}
	}
	return list, best, nil
}

// process is a child that is started again when it was killed.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *bytes.Buffer
	end  chan error
}

func (o *Options) start(ctx context.Context, name string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.CommandContext(ctx, o.Nasc, args...), log: &bytes.Buffer{}, end: make(chan error, 1)}
	p.cmd.Stderr, p.cmd.Stdout = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.end <- p.cmd.Wait() }()
	return p, nil
}

// disturbed runs one study to its end.
func (o *Options) disturbed(ctx context.Context, r *rand.Rand, path string, rep *Report) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	begun := time.Now()
	args := [][]string{o.search(path, "--nats", "embedded", "--ack-wait", "1s")}
	names := []string{"coordinator"}
	for i := range o.Workers {
		args, names = append(args, []string{"worker", "--nats", path, "--name", fmt.Sprint(i + 1)}), append(names, fmt.Sprintf("worker %d", i+1))
	}
	ps := make([]*process, len(args))
	defer func() { // nothing is left running
		cancel()
		for _, p := range ps {
			if p != nil {
				<-p.end
			}
		}
	}()
	for i := range ps {
		if i == 1 { // workers find the server by its folder
			for !there(filepath.Join(queue.Folder(path), "address")) {
				select {
				case err := <-ps[0].end:
					ps[0].end <- err
					return fmt.Errorf("the coordinator ended: %w\n%s", err, ps[0].log)
				case <-time.After(time.Millisecond):
				}
			}
		}
		if ps[i], err = o.start(ctx, names[i], args[i]...); err != nil {
			return err
		}
	}
	for {
		wait := time.After(o.Least + time.Duration(r.Int64N(int64(o.Most-o.Least)+1)))
		victim := 0 // the coordinator every second time
		if r.IntN(2) == 1 {
			victim = 1 + r.IntN(o.Workers)
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case err := <-ps[0].end:
				ps[0].end <- err
				if err != nil {
					return fmt.Errorf("the coordinator ended: %w\n%s", err, ps[0].log)
				}
				return nil
			case <-wait:
				waiting = false
			}
		}
		if len(rep.Kills) >= o.Kills {
			continue
		}
		p := ps[victim]
		if err := p.cmd.Process.Kill(); err != nil {
			continue // it has just ended: the next round sees to it
		}
		err := <-p.end
		if err == nil && victim == 0 { // it was done before
			p.end <- nil
			return nil
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() >= 0 {
			p.end <- err
			return fmt.Errorf("%s ended by itself: %w\n%s", p.name, err, p.log)
		}
		if n := done(ctx, path); n > 0 && n < o.Trials {
			rep.Kills = append(rep.Kills, Kill{rep.Studies, p.name, time.Since(begun), n})
		}
		if ps[victim], err = o.start(ctx, p.name, args[victim]...); err != nil {
			ps[victim] = nil
			return err
		}
	}
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// done counts the trials with an outcome, as another process sees them.
func done(ctx context.Context, path string) int {
	s, err := study.Read(ctx, path)
	if err != nil {
		return -1
	}
	defer s.Close()
	return len(s.Done())
}
