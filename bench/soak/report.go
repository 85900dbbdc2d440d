package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/latency"
)

// result is what a soak saw.
type result struct {
	mu     sync.Mutex
	faults []string

	gate    sync.RWMutex                         // held for reading by those who run
	cancels []atomic.Pointer[context.CancelFunc] // of the goroutines' current runs

	began         time.Time
	took          time.Duration
	before, after state
	states        []state
	idle          float64
	models        []*model
}

func (r *result) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// title names the kind of run: a report has one section of each.
func title() string {
	level := "unknown instructions"
	if l, err := isa.Best(); err == nil {
		level = l.String()
	}
	if raceDetector {
		level += ", under the race detector"
	}
	return level
}

// text is the section of this run.
func (r *result) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", title())
	cpu := ""
	for _, f := range latency.Fingerprint("", "", "", 0, 0) {
		if f.Name == "cpu" || f.Name == "go" || f.Name == "os" {
			cpu += f.Value + "; "
		}
	}
	fmt.Fprintf(&b, "%s%d cores. %s, %d goroutines, %v; about %.0f %% of the contexts are cancelled at a random moment.\n\n",
		cpu, goruntime.NumCPU(), r.began.UTC().Format("2006-01-02"), *goroutines, r.took.Round(time.Second), 100**cancelled)
	if len(r.faults) == 0 {
		b.WriteString("**No wrong bit, no leak, no growth.**\n\n")
	} else {
		b.WriteString("**Faults:**\n\n")
		for _, f := range r.faults {
			fmt.Fprintf(&b, "- %s\n", f)
		}
		b.WriteString("\n")
	}
	b.WriteString("| model | finished runs | cancelled | wrong |\n|---|---|---|---|\n")
	for _, m := range r.models {
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", m.name, m.runs.Load(), m.stopped.Load(), m.wrong.Load())
	}
	b.WriteString("\n| after | runs | goroutines | threads | open files | heap | resident |\n|---|---|---|---|---|---|---|\n")
	row := func(at string, s state, runs string) {
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %s | %s |\n", at, runs, s.goroutines, s.threads, s.files, mb(s.heap), mb(s.resident))
	}
	row("before the models", r.before, "")
	for i := 0; i < len(r.states); i += max(len(r.states)/8, 1) {
		row(r.states[i].at.Round(100*time.Millisecond).String(), r.states[i], fmt.Sprint(r.states[i].runs))
	}
	row("models closed", r.after, "")
	fmt.Fprintf(&b, "\nWith the models open and nothing to do, the process used %.2f %% of a core.\n", 100*r.idle)
	return b.String()
}

const head = `# Soak

` + "`make soak`" + `: goroutines share compiled models, one of them most of the time, with inputs of one and of two samples; each output of a finished run is compared with the expected bits (integer programs: those of the plain Go kernels). Goroutines, threads, files and memory are looked at after a collection.
`

// writeTo puts this run's section into a report, in place of an older one.
func (r *result) writeTo(path string) error {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parts := []string{head}
	for i, p := range strings.Split(string(text), "\n## ") {
		if i > 0 && !strings.HasPrefix(p, title()+"\n") {
			parts = append(parts, "## "+strings.TrimRight(p, "\n")+"\n")
		}
	}
	parts = append(parts, r.text())
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, []byte(strings.Join(parts, "\n")), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
