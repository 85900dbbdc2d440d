//go:build linux || darwin

package cli_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// A search that is told to stop says what goes on with it, and that command ends
// as the first one would have: with the network in the file that was asked for.
func TestInterruptedSearch(t *testing.T) {
	dir, nasc, zoo := nascIn(t)
	for name, args := range map[string][]string{
		"search":   {"search", filepath.Join(zoo, "spaces/m2k-cnn.toml"), "--data", "digits[0:300]", "--epochs", "1", "--finalists", "1", "--final-epochs", "0"},
		"compress": {"compress", filepath.Join(zoo, "digits-cnn.toml"), "--data", "digits[0:300]", "--val", "digits[300:400]", "--test", "digits[400:500]", "--epochs", "1", "--policy-out", "p.json"},
	} {
		t.Run(name, func(t *testing.T) {
			args = append(args, "--study", name+" 1.db", "--budget", "100000", "-o", name+" 1.nasc", "--report", name+".html")
			cmd := exec.Command(nasc, args...)
			cmd.Dir = dir
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			told := false
			for s := bufio.NewScanner(stderr); s.Scan(); {
				said.WriteString(s.Text() + "\n")
				if !told && strings.HasPrefix(s.Text(), "trial 1:") {
					told = true
					if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("interrupted it ends with %v", err)
			}
			m := regexp.MustCompile(`\d+ trials are done; this goes on: (nasc .*)\n`).FindSubmatch(said.Bytes())
			if m == nil {
				t.Fatalf("no command to go on with in\n%s", &said)
			}
			sh := exec.Command("sh", "-c", string(m[1])+" --budget 4")
			sh.Dir, sh.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			if out, err := sh.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", m[1], err, out)
			}
			files := []string{name + " 1.nasc", name + ".html"}
			if name == "compress" {
				files = append(files, "p.json")
			}
			for _, f := range files {
				if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
