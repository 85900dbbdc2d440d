package latency

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// crowd watches how much of the machine's processors other processes, or other
// machines of the same host, take.
type crowd struct {
	at          time.Time
	all, own    time.Duration
	others      float64 // processors, lately
	cpus, wants float64
	blind       bool
}

// crowdTime is how long it looks back at least: the system counts in 10 ms.
const crowdTime = 200 * time.Millisecond

func newCrowd(cpus, threads int) *crowd {
	c := &crowd{cpus: float64(cpus), wants: float64(threads)}
	all, own, ok := usedTime()
	c.at, c.all, c.own, c.blind = time.Now(), all, own, !ok
	return c
}

// crowded says that what the others leave is less than the threads want.
func (c *crowd) crowded() bool {
	if d := time.Since(c.at); !c.blind && d >= crowdTime {
		all, own, ok := usedTime()
		c.others = max(0, (all-c.all-(own-c.own)).Seconds()/d.Seconds())
		c.at, c.all, c.own, c.blind = time.Now(), all, own, !ok
	}
	return c.cpus-c.others < c.wants-0.15
}

// usedTime is the time that all processors were not idle, and this process's.
func usedTime() (all, own time.Duration, ok bool) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0, 0, false
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	if !s.Scan() {
		return 0, 0, false
	}
	fields := strings.Fields(s.Text()) // cpu user nice system idle iowait irq softirq steal …
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, false
	}
	const tick = 10 * time.Millisecond // USER_HZ, which is 100 wherever Go runs
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, 0, false
		}
		all += time.Duration(n) * tick
	}
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0, 0, false
	}
	return all, time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
