package latency

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const childEnv = "NASC_TEST_PROFILE"

// TestMain lets the test binary be a profile that its parent kills.
func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		o := options()
		o.Budget = 3 * time.Second
		if _, err := Profile(context.Background(), path, work(1, 3, 5, 7), o); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Killed at any moment, a profile loses no row that it wrote and doubles none,
// and the table always parses.
func TestKilledProfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.csv")
	r := rand.New(rand.NewPCG(7, 7))
	var rows []Row
	for range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(20+r.IntN(250)) * time.Millisecond)
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		now, _, err := read(path+".partial", true)
		if err != nil {
			if now, err = Read(path); err != nil {
				if len(rows) == 0 && !exists(path+".partial") {
					continue // killed before it began
				}
				t.Fatal(err)
			}
		}
		if len(now.Rows) < len(rows) {
			t.Fatalf("%d rows after %d", len(now.Rows), len(rows))
		}
		for i := range rows {
			if now.Rows[i] != rows[i] {
				t.Fatalf("row %d was %+v and is %+v", i, rows[i], now.Rows[i])
			}
		}
		rows = now.Rows
	}
	res, err := Profile(context.Background(), path, work(1, 3, 5, 7), options())
	if err != nil {
		t.Fatal(err)
	}
	if res.Rows < len(rows) || res.Measured != res.Rows-len(rows) {
		t.Errorf("%+v after %d rows", res, len(rows))
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }
