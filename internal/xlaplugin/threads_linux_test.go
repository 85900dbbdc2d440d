package xlaplugin

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func processors(t *testing.T, id int) int {
	t.Helper()
	var s unix.CPUSet
	if err := unix.SchedGetaffinity(id, &s); err != nil {
		t.Fatal(err)
	}
	return s.Count()
}

// The thread has as many processors as are asked for meanwhile, and all of them
// afterwards, as threads that Go starts have all the time.
func TestOnProcessors(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all := processors(t, 0)
	if all < 2 {
		t.Skip("one processor only")
	}
	for _, n := range []int{1, 2, all, all + 3} {
		ids, stop := make(chan int), make(chan struct{})
		OnProcessors(n, func() {
			if got := processors(t, 0); got != min(n, all) {
				t.Errorf("for %d threads there are %d processors of %d", n, got, all)
			}
			go func() {
				runtime.LockOSThread()
				ids <- unix.Gettid()
				<-stop
			}()
		})
		if got := processors(t, <-ids); got != all {
			t.Errorf("a thread of Go's has %d processors of %d", got, all)
		}
		close(stop)
		if got := processors(t, 0); got != all {
			t.Errorf("the thread itself is left with %d processors of %d", got, all)
		}
	}
}

// A client is made once for a count, and an error is kept.
func TestClients(t *testing.T) {
	t.Setenv("GOMLX_BACKEND", "xla:"+t.TempDir())
	var s Clients[int]
	made := 0
	get := func(threads int) (int, error) {
		return s.Get(threads, func(string) (int, error) {
			if made++; made == 3 {
				return 0, errors.New("no room")
			}
			return made, nil
		})
	}
	for _, c := range []struct{ threads, want int }{{0, 1}, {1, 1}, {2, 2}, {1, 1}} {
		if got, err := get(c.threads); got != c.want || err != nil {
			t.Errorf("%d threads: client %d, %v", c.threads, got, err)
		}
	}
	for range 2 {
		if _, err := get(3); err == nil || made != 3 {
			t.Errorf("%d were made, %v", made, err)
		}
	}
}
