package queue

import (
	"fmt"
	"strings"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/task"
)

// Protocol is the version of the messages. Coordinator and workers have the
// same, and the same nasc, so that a trial gives the same wherever it runs.
const Protocol = 2

// hello is what a worker says first, hellos where.
type hello struct {
	Protocol int    `json:"protocol"`
	Nasc     string `json:"nasc"`
	Worker   string `json:"worker"`
}

const hellos = "nasc.hello"

// welcome is the answer: what to work on, or why not.
type welcome struct {
	Refused string        `json:"refused,omitempty"`
	Study   string        `json:"study"` // names streams and subjects
	Task    task.Task     `json:"task"`
	Device  string        `json:"device,omitempty"` // that jobs which measure want
	AckWait time.Duration `json:"ack_wait"`
}

// kinds of jobs.
const (
	evaluates = "evaluate" // train, or look up
	measures  = "measure"  // ms on the device
)

// job is one thing to find out about a trial.
type job struct {
	Kind   string        `json:"kind"`
	Trial  *search.Trial `json:"trial"`
	Parent *search.Trial `json:"parent,omitempty"`
}

// result is what a worker found.
type result struct {
	Kind    string         `json:"kind"`
	ID      int64          `json:"id"`
	Seed    uint64         `json:"seed"` // of the trial: that of another study is none of this one
	Outcome search.Outcome `json:"outcome"`
	Worker  string         `json:"worker"`
}

// Names of a study's streams and subjects.
func jobStream(study string) string    { return "NASC_JOBS_" + study }
func resultStream(study string) string { return "NASC_RESULTS_" + study }
func bucket(study string) string       { return "NASC_WEIGHTS_" + study }

func jobSubject(study, device string, id int64) string {
	return fmt.Sprintf("nasc.%s.job.%s.%d", study, device, id)
}

func resultSubject(study, kind string, id int64) string {
	return fmt.Sprintf("nasc.%s.result.%s.%d", study, kind, id)
}

// anywhere is the device of jobs that any worker takes.
const anywhere = "any"

// Device describes this machine as far as times depend on it.
func Device(t task.Task) string {
	base, isa := backends.SplitName(t.Target)
	var out []string
	for _, f := range latency.Fingerprint(nasc.Version(), base, isa, max(1, t.Threads), 1) {
		switch f.Name {
		case "cpu", "features", "cores", "caches", "target", "isa", "threads":
			out = append(out, f.Name+" "+f.Value)
		}
	}
	return strings.Join(out, "; ")
}

// deviceKey is a device as a part of a subject.
func deviceKey(device string) string { return search.Digest([]byte(device))[:16] }

// refuse says why a worker is not welcome.
func refuse(h hello) string {
	switch {
	case h.Protocol != Protocol:
		return (&diag.Error{Place: "worker " + h.Worker, Found: fmt.Sprintf("protocol %d", h.Protocol), Wanted: fmt.Sprintf("%d, which nasc %s speaks", Protocol, nasc.Version()), Fix: "use that nasc for the worker"}).Error()
	case h.Nasc != nasc.Version():
		return (&diag.Error{Place: "worker " + h.Worker, Found: "nasc " + h.Nasc, Wanted: nasc.Version() + ", which runs the study: trials must give the same everywhere", Fix: "use that nasc for the worker"}).Error()
	}
	return ""
}
