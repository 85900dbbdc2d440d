package cli_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The token of a search's server is in no process's arguments, where all users of
// the machine can read it, and its workers work.
func TestTokenIsNoArgument(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	nasc := filepath.Join(dir, "nasc")
	if err := os.Link(self, nasc); err != nil { // workers are what the search was started as
		t.Skip(err)
	}
	space, err := filepath.Abs("../zoo/spaces/m2k-cnn.toml")
	if err != nil {
		t.Fatal(err)
	}
	const secret = "hush-hush-4711"
	cmd := exec.Command(nasc, "search", space, "--data", "digits[0:300]", "--epochs", "1", "--budget", "100000", "--finalists", "0", "--study", filepath.Join(dir, "s.db"), "--nats", "embedded", "--workers", "1")
	cmd.Env = append(os.Environ(), "NASC_NATS_TOKEN="+secret)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	looked := false
	for s := bufio.NewScanner(stderr); s.Scan(); {
		if strings.Contains(s.Text(), secret) {
			t.Errorf("it says %s", s.Text())
		}
		if looked || !strings.HasPrefix(s.Text(), "trial 1:") { // by the worker
			continue
		}
		looked = true
		workers := 0
		all, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			b, err := os.ReadFile(f)
			if err != nil || !strings.Contains(string(b), dir) {
				continue // another's, or one that has ended
			}
			if strings.Contains(string(b), secret) {
				t.Errorf("%s has the token: %q", f, b)
			}
			if strings.Contains(string(b), "\x00worker\x00") {
				workers++
			}
		}
		if workers != 1 {
			t.Errorf("%d workers", workers)
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err == nil || !looked {
		t.Error(fmt.Sprint("no trial was done: ", err))
	}
}
