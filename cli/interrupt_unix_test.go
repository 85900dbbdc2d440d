//go:build linux || darwin

package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/cli"
)

// smallDisk runs nasc where no file may grow beyond NASC_TEST_LIMIT bytes: the
// system refuses the write, as it does on a full disk.
func smallDisk() {
	n, err := strconv.ParseUint(os.Getenv("NASC_TEST_LIMIT"), 10, 64)
	if err == nil {
		signal.Ignore(syscall.SIGXFSZ)
		err = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func init() { extra["nasc-on-small-disk"] = smallDisk }

// nascIn gives a folder of the test's own with the command nasc in it, and the
// zoo.
func nascIn(t *testing.T) (dir, nasc, zoo string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	nasc = filepath.Join(dir, "nasc")
	if err := os.Symlink(self, nasc); err != nil {
		t.Fatal(err)
	}
	if zoo, err = filepath.Abs("../zoo"); err != nil {
		t.Fatal(err)
	}
	return dir, nasc, zoo
}

// A compile that is told to stop, or is killed, at any time leaves the file
// that was there, whole.
func TestInterrupted(t *testing.T) {
	dir, nasc, zoo := nascIn(t)
	out := filepath.Join(dir, "out.nasc")
	args := []string{"compile", filepath.Join(zoo, "digits-cnn.toml"), "--target", "cpu-int8", "--calib", "digits[0:300]", "-o", out}
	start := time.Now()
	if b, err := exec.Command(nasc, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	whole := time.Since(start)
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		stopped := 0
		for i := range 6 {
			cmd := exec.Command(nasc, args...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(whole * time.Duration(i+1) / 7)
			_ = cmd.Process.Signal(sig) // it may be done
			err := cmd.Wait()
			if err != nil {
				stopped++
			}
			if sig == syscall.SIGINT && err != nil {
				if code := cmd.ProcessState.ExitCode(); code != 1 && code != -1 { // -1: before main
					t.Errorf("interrupted it exits with %d\n%s", code, &stderr)
				}
				if strings.Contains(stderr.String(), "panic") {
					t.Errorf("interrupted it says\n%s", &stderr)
				}
			}
			got, err := os.ReadFile(out)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%v after %d/7 of the time left another file behind (%v)", sig, i+1, err)
			}
		}
		if stopped == 0 {
			t.Logf("%v: every run was done before", sig)
		}
		if sig != syscall.SIGINT {
			continue
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
			t.Errorf("an interrupted run left %v", left)
		}
	}
}
