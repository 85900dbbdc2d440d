package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// engine takes turns at training steps.
type engine struct {
	name  string
	turn  func(steps int) ([]time.Duration, error)
	close func()
}

// result is one network's.
type result struct {
	net    string
	times  map[string][]time.Duration
	order  []string
	failed map[string]string
	params map[string]int64
	parts  map[string]share
}

// rate is pictures a second by the median step.
func (r *result) rate(engine string, batch int) float64 {
	if len(r.times[engine]) == 0 {
		return 0
	}
	return float64(batch) / median(r.times[engine]).Seconds()
}

// best is the faster of PyTorch's memory formats; "" where there is none.
func (r *result) best() string {
	best := ""
	for _, e := range r.order {
		if e != "cpu-f32" && e != "xla-cpu" && (best == "" || median(r.times[e]) < median(r.times[best])) {
			best = e
		}
	}
	return best
}

func (r *result) line() string {
	s := r.net
	for _, e := range r.order {
		s += fmt.Sprintf("  %s %.1f ms", e, ms(median(r.times[e])))
	}
	return s
}

// compare lets the engines take turns on one network.
func compare(ctx context.Context, s *settings, net string) (result, error) {
	r := result{net: net, times: map[string][]time.Duration{}, failed: map[string]string{}, params: map[string]int64{}, parts: map[string]share{}}
	var engines []engine
	defer func() {
		for _, e := range engines {
			e.close()
		}
	}()
	targets := []string{"cpu-f32"}
	if s.xla {
		targets = append(targets, "xla-cpu")
	}
	for _, target := range targets {
		t, err := timing(ctx, s, net, target)
		if err != nil {
			if target == "cpu-f32" {
				return r, err
			}
			r.failed[target] = err.Error()
			continue
		}
		r.params[target] = t.Params()
		engines = append(engines, engine{target, func(steps int) ([]time.Duration, error) {
			var out []time.Duration
			for range steps {
				d, err := t.Step(ctx)
				if err != nil {
					return nil, err
				}
				out = append(out, d)
			}
			return out, nil
		}, t.Close})
	}
	if s.python != "" {
		for _, form := range []string{"channels_last", "contiguous"} {
			e, params, err := torch(ctx, s, net, form)
			if err != nil {
				return r, err
			}
			r.params[e.name] = params
			engines = append(engines, e)
		}
	}
	for _, e := range engines {
		r.order = append(r.order, e.name)
	}
	for round := range s.rounds + 1 {
		for i := range engines {
			e := engines[(i+round)%len(engines)]
			d, err := e.turn(s.steps + 1)
			if err != nil {
				return r, fmt.Errorf("%s: %w", e.name, err)
			}
			if round > 0 {
				r.times[e.name] = append(r.times[e.name], d[1:]...)
			}
		}
	}
	steps, took, err := profiled(ctx, s, net, 3)
	if err != nil {
		return r, err
	}
	for i, st := range steps {
		p := r.parts[partOf(st)]
		r.parts[partOf(st)] = share{p.took + took[i], p.macs + st.MACs}
	}
	return r, nil
}

// torch starts a PyTorch process, which is stopped but for its turns.
func torch(ctx context.Context, s *settings, net, form string) (engine, int64, error) {
	cmd := exec.CommandContext(ctx, s.python, s.script, net, strconv.Itoa(s.batch), strconv.Itoa(s.threads), form)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return engine{}, 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return engine{}, 0, err
	}
	if err := cmd.Start(); err != nil {
		return engine{}, 0, err
	}
	lines := bufio.NewReader(out)
	answer := func(v any) error {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("%s %s ended: %w", s.python, s.script, err)
		}
		return json.Unmarshal(line, v)
	}
	var hello struct {
		Torch      string
		Parameters int64
	}
	if err := answer(&hello); err != nil {
		return engine{}, 0, err
	}
	e := engine{name: "PyTorch " + hello.Torch + ", " + form, close: func() { in.Close(); _ = cmd.Wait() }}
	e.turn = func(steps int) ([]time.Duration, error) {
		if _, err := io.WriteString(in, strconv.Itoa(steps)+"\n"); err != nil {
			return nil, err
		}
		var took []float64
		if err := answer(&took); err != nil {
			return nil, err
		}
		var out []time.Duration
		for _, t := range took {
			out = append(out, time.Duration(t*float64(time.Second)))
		}
		return out, nil
	}
	return e, hello.Parameters, nil
}
