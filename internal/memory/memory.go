// Package memory tells how much memory a program may still take.
package memory

import (
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// Available is the memory that a program may take without swapping, or being
// killed for it: what the machine has, and what is left to the process's control
// groups, as in a container; 0 where the system does not say.
func Available() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	free := field(string(b), "MemAvailable:") << 10
	if groups, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		free = min(free, leftToGroups(os.DirFS("/sys/fs/cgroup"), string(groups)))
	}
	return free
}

// leftToGroups is what the limits of control groups, of either version, leave to
// a process of these groups: the least of those of the groups and all above them.
// Files that the kernel keeps in memory can go, and count as free.
func leftToGroups(root fs.FS, groups string) int64 {
	read := func(name string) string {
		b, err := fs.ReadFile(root, name)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	least := int64(math.MaxInt64)
	for line := range strings.Lines(groups) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) < 3 {
			continue
		}
		base, limit, usage, cached := ".", "memory.max", "memory.current", "inactive_file "
		if part[1] == "memory" { // version 1
			base, limit, usage, cached = "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "
		} else if part[1] != "" {
			continue
		}
		for at := path.Clean("/" + part[2]); ; at = path.Dir(at) {
			dir := path.Join(base, at)
			most, err := strconv.ParseInt(read(path.Join(dir, limit)), 10, 64)
			if used, err2 := strconv.ParseInt(read(path.Join(dir, usage)), 10, 64); err == nil && err2 == nil {
				least = min(least, max(1, most-used+field(read(path.Join(dir, "memory.stat")), cached)))
			}
			if at == "/" {
				break
			}
		}
	}
	return least
}

// field is the number behind a name in the lines of a file; 0 where it is not
// there.
func field(text, name string) int64 {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			return n
		}
	}
	return 0
}
