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

// result is one network's; it is a line of the state file.
type result struct {
	Net    string                     `json:"net"`
	Key    string                     `json:"key"` // the settings
	Times  map[string][]time.Duration `json:"times"`
	Order  []string                   `json:"order"`
	Failed map[string]string          `json:"failed"`
	Params map[string]int64           `json:"params"`
	Parts  map[string]share           `json:"parts"`
}

// rate is pictures a second by the median step.
func (r *result) rate(engine string, batch int) float64 {
	if len(r.Times[engine]) == 0 {
		return 0
	}
	return float64(batch) / median(r.Times[engine]).Seconds()
}

// best is the faster of PyTorch's memory formats; "" where there is none.
func (r *result) best() string {
	best := ""
	for _, e := range r.Order {
		if e != "cpu-f32" && e != "xla-cpu" && (best == "" || median(r.Times[e]) < median(r.Times[best])) {
			best = e
		}
	}
	return best
}

func (r *result) line() string {
	s := r.Net
	for _, e := range r.Order {
		s += fmt.Sprintf("  %s %.1f ms", e, ms(median(r.Times[e])))
	}
	return s
}

// compare lets the engines take turns on one network.
func compare(ctx context.Context, s *settings, net string) (result, error) {
	r := result{Net: net, Key: s.key(), Times: map[string][]time.Duration{}, Failed: map[string]string{}, Params: map[string]int64{}, Parts: map[string]share{}}
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
			r.Failed[target] = err.Error()
			continue
		}
		r.Params[target] = t.Params()
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
			r.Params[e.name] = params
			engines = append(engines, e)
		}
	}
	for _, e := range engines {
		r.Order = append(r.Order, e.name)
	}
	for round := range s.rounds + 1 {
		for i := range engines {
			e := engines[(i+round)%len(engines)]
			d, err := e.turn(s.steps + 1)
			if err != nil {
				return r, fmt.Errorf("%s: %w", e.name, err)
			}
			if round > 0 {
				r.Times[e.name] = append(r.Times[e.name], d[1:]...)
			}
		}
	}
	steps, took, err := profiled(ctx, s, net, 3)
	if err != nil {
		return r, err
	}
	for i, st := range steps {
		p := r.Parts[partOf(st)]
		r.Parts[partOf(st)] = share{p.Took + took[i], p.MACs + st.MACs}
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
