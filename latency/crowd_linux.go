package latency

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// crowd watches how much of the processors that this process may use other
// processes, or other machines of the same host, take.
type crowd struct {
	mine        *unix.CPUSet // nil: all
	at          time.Time
	all, own    time.Duration
	others      float64 // processors, lately
	cpus, wants float64
	blind       bool
}

// crowdTime is how long it looks back at least: the system counts in 10 ms.
const crowdTime = 200 * time.Millisecond

// newCrowd is called before the thread is pinned.
func newCrowd(cpus, threads int) *crowd {
	c := &crowd{cpus: float64(cpus), wants: float64(threads)}
	var mine unix.CPUSet
	if unix.SchedGetaffinity(0, &mine) == nil && mine.Count() == cpus {
		c.mine = &mine
	}
	all, own, ok := usedTime(c.mine)
	c.at, c.all, c.own, c.blind = time.Now(), all, own, !ok
	return c
}

// crowded says that what the others leave is less than the threads want.
func (c *crowd) crowded() bool {
	if d := time.Since(c.at); !c.blind && d >= crowdTime {
		all, own, ok := usedTime(c.mine)
		c.others = max(0, (all-c.all-(own-c.own)).Seconds()/d.Seconds())
		c.at, c.all, c.own, c.blind = time.Now(), all, own, !ok
	}
	return c.cpus-c.others < c.wants-0.15
}

// usedTime is the time that the processors of a set, or all, were not idle, and
// this process's.
func usedTime(of *unix.CPUSet) (all, own time.Duration, ok bool) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0, 0, false
	}
	defer f.Close()
	const tick = 10 * time.Millisecond // USER_HZ, which is 100 wherever Go runs
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text()) // cpuN user nice system idle iowait irq softirq steal …
		if len(fields) < 9 || !strings.HasPrefix(fields[0], "cpu") {
			break
		}
		number, err := strconv.Atoi(fields[0][len("cpu"):])
		if err != nil || of != nil && !of.IsSet(number) { // the first line is the sum
			continue
		}
		for _, i := range []int{1, 2, 3, 6, 7, 8} {
			n, err := strconv.ParseInt(fields[i], 10, 64)
			if err != nil {
				return 0, 0, false
			}
			all, ok = all+time.Duration(n)*tick, true
		}
	}
	var u unix.Rusage
	if !ok || unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0, 0, false
	}
	return all, time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
