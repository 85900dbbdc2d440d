package cpu

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/graphgen"
)

// Between runs the helpers sleep: an idle executable uses no CPU.
func TestIdleIsIdle(t *testing.T) {
	g, err := graphgen.Nets()[2].Build(false)
	if err != nil {
		t.Fatal(err)
	}
	e, err := F32().Compile(g, backends.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Run(context.Background(), graphgen.Inputs(g, 1), backends.NewOutputs(g)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	const idle = 200 * time.Millisecond
	before := cpuTime(t)
	time.Sleep(idle)
	if used := cpuTime(t) - before; used > idle/4 {
		t.Errorf("%v of CPU time in %v of idleness", used, idle)
	}
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
