package latency

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// Fact is one line of a table's header.
type Fact struct{ Name, Value string }

// decisive are the facts in which two tables, or a table and a device, must
// agree for one to speak for the other.
var decisive = []string{"cpu", "features", "cores", "caches", "go", "nasc", "target", "isa", "threads", "batch"}

// Fingerprint describes this device and how it is measured. What the system
// does not tell is "unknown".
func Fingerprint(nasc, target, level string, threads, batch int) []Fact {
	if level == "" {
		level = "unknown"
		if l, err := isa.Best(); err == nil {
			level = l.String()
		}
	}
	var features []string
	for _, l := range isa.Available() {
		features = append(features, l.String())
	}
	return []Fact{
		{"cpu", cpuModel()},
		{"features", strings.Join(features, " ")},
		{"cores", fmt.Sprint(goruntime.NumCPU())},
		{"caches", caches()},
		{"frequency", firstLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")},
		{"memory", memory()},
		{"os", goruntime.GOOS + "/" + goruntime.GOARCH + " " + firstLine("/proc/sys/kernel/osrelease")},
		{"go", goruntime.Version()},
		{"nasc", nasc},
		{"target", target},
		{"isa", level},
		{"threads", fmt.Sprint(threads)},
		{"batch", fmt.Sprint(batch)},
	}
}

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return string(bytes.TrimSpace(line))
}

// field finds "name : value" in a file of /proc.
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.Join(strings.Fields(v), " ")
		}
	}
	return "unknown"
}

func cpuModel() string {
	return isa.Processor()
}

func memory() string { return field("/proc/meminfo", "MemTotal") }

// caches lists the caches of the first CPU: L1d 48K, …
func caches() string {
	dirs, _ := filepath.Glob("/sys/devices/system/cpu/cpu0/cache/index*")
	var out []string
	for _, d := range dirs {
		level, kind, size := firstLine(d+"/level"), firstLine(d+"/type"), firstLine(d+"/size")
		switch kind {
		case "Data":
			kind = "d"
		case "Instruction":
			kind = "i"
		default:
			kind = ""
		}
		out = append(out, "L"+level+kind+" "+size)
	}
	if len(out) == 0 {
		return "unknown"
	}
	return strings.Join(out, ", ")
}
