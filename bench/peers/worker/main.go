// Worker times nasc on one model in a process of its own, as a service embeds
// it: through package runtime. worker.py does the same for the peers.
//
//	worker MODEL.nasc THREADS INPUTS
//
// INPUTS holds names.txt, a name a line, and 0.npy, 1.npy, … in that order. The
// worker loads, runs once, prints a JSON line, and then answers lines on stdin:
//
//	run WARM TARGET MIN MAX   runs for WARM s, then at least MIN and until TARGET s
//	                          or MAX runs; gives the ms of each
//	out FILE                  writes the first output as .npy
//	memory                    resident and peak bytes
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/npy"
	"github.com/nasc-dev/nasc/runtime"
)

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

// worker is a model with its inputs and outputs.
type worker struct {
	model   *runtime.Model
	in, out []*runtime.Tensor
}

func (w *worker) run() error { return w.model.Run(context.Background(), w.in, w.out) }

func serve(args []string) error {
	if len(args) != 3 {
		return diag.Errorf("usage", "worker MODEL.nasc THREADS INPUTS")
	}
	threads, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	w, err := open(args[0], threads, args[2])
	if err != nil {
		return err
	}
	defer w.model.Close()
	answer := json.NewEncoder(os.Stdout)
	if err := answer.Encode(map[string]bool{"ready": true}); err != nil {
		return err
	}
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		v, err := w.do(strings.Fields(s.Text()))
		if err != nil {
			return err
		}
		if err := answer.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

// open loads the model and runs it once.
func open(path string, threads int, inputs string) (*worker, error) {
	text, err := os.ReadFile(filepath.Join(inputs, "names.txt"))
	if err != nil {
		return nil, err
	}
	tensors := map[string]*runtime.Tensor{}
	batch := 1
	for i, name := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		t, err := npy.Read(filepath.Join(inputs, fmt.Sprintf("%d.npy", i)))
		if err != nil {
			return nil, err
		}
		tensors[name], batch = t, t.Shape[0]
	}
	m, err := runtime.Load(path, runtime.Threads(threads), runtime.BatchSize(batch))
	if err != nil {
		return nil, err
	}
	w := &worker{model: m}
	for _, v := range m.Inputs() {
		t := tensors[v.Name]
		if t == nil {
			return nil, &diag.Error{Place: path, Found: "no input of the name " + v.Name, Wanted: strings.TrimSpace(string(text))}
		}
		w.in = append(w.in, t.Converted(v.Type))
	}
	if w.out, err = m.NewOutputs(w.in); err != nil {
		return nil, err
	}
	return w, w.run()
}

func (w *worker) do(words []string) (any, error) {
	if len(words) == 0 {
		return nil, diag.Errorf("stdin", "an empty line")
	}
	switch {
	case words[0] == "run" && len(words) == 5:
		var n [4]float64
		for i := range n {
			v, err := strconv.ParseFloat(words[i+1], 64)
			if err != nil {
				return nil, err
			}
			n[i] = v
		}
		return w.times(n[0], n[1], int(n[2]), int(n[3]))
	case words[0] == "out" && len(words) == 2:
		return map[string]bool{"done": true}, npy.Write(words[1], w.out[0])
	case words[0] == "memory":
		return memory()
	}
	return nil, diag.Errorf("stdin", "no command %q", strings.Join(words, " "))
}

func (w *worker) times(warm, target float64, least, most int) ([]float64, error) {
	for start := time.Now(); ; {
		if err := w.run(); err != nil {
			return nil, err
		}
		if time.Since(start).Seconds() > warm {
			break
		}
	}
	ms := make([]float64, 0, most)
	for begin := time.Now(); len(ms) < least || len(ms) < most && time.Since(begin).Seconds() < target; {
		start := time.Now()
		if err := w.run(); err != nil {
			return nil, err
		}
		ms = append(ms, float64(time.Since(start).Nanoseconds())/1e6)
	}
	return ms, nil
}

// memory reads what the system counts as this process's: kB lines of
// /proc/self/status.
func memory() (map[string]int64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		for key, name := range map[string]string{"VmRSS:": "resident", "VmHWM:": "peak", "RssAnon:": "anonymous"} {
			if rest, ok := strings.CutPrefix(line, key); ok {
				n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				if err != nil {
					return nil, err
				}
				out[name] = n << 10
			}
		}
	}
	return out, nil
}
