//go:build linux || darwin

package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A compression that is killed again and again ends with the trials, the policy
// and the file of one that was left alone.
func TestCompressKilled(t *testing.T) {
	dir, nasc, zoo := nascIn(t)
	command := func(name string, args ...string) *exec.Cmd {
		at := func(s string) string { return filepath.Join(dir, name+s) }
		return exec.Command(nasc, append(args, "--study", at(".db"), "-o", at(".nasc"), "--policy-out", at(".json"))...)
	}
	whole := []string{
		"compress", filepath.Join(zoo, "digits-cnn.toml"), "--data", "digits[0:800]", "--val", "digits[800:1200]", "--lr", "1e-2", "--budget", "24", "--random-crop", "1",
		"--opt", "rollouts=3", "--opt", "removal=3",
	}
	start := time.Now()
	if b, err := command("whole", whole...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	took := time.Since(start)
	killed := 0
	for i := range 6 {
		c := command("killed", whole...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(took * time.Duration(i+1) / 12)
		_ = c.Process.Signal(syscall.SIGKILL) // it may be done
		if c.Wait() != nil {
			killed++
		}
	}
	if killed == 0 {
		t.Log("every run was done before")
	}
	if b, err := command("killed", whole...).CombinedOutput(); err != nil {
		t.Fatalf("going on: %v\n%s", err, b)
	}
	table := func(name string) string {
		b, err := exec.Command(nasc, "study", "export", "--csv", filepath.Join(dir, name+".db")).Output()
		if err != nil {
			t.Fatal(err)
		}
		var out string
		for line := range strings.Lines(string(b)) {
			out += line[:strings.LastIndexByte(line, ',')+1] + "\n" // but for the time
		}
		return out
	}
	if a, b := table("whole"), table("killed"); a != b || !strings.Contains(a, ",done,") {
		t.Errorf("left alone:\n%s\nkilled %d times:\n%s", a, killed, b)
	}
	for _, ext := range []string{".nasc", ".json"} {
		a, err := os.ReadFile(filepath.Join(dir, "whole"+ext))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "killed"+ext)); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs (%v)", ext, err)
		}
	}
}
