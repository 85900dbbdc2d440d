//go:build linux || darwin

package cli_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/search/queue/queuetest"
)

// A search whose coordinator and workers are killed at random moments ends as
// one that was left alone. (bench/faults does more of this.)
func TestKilledSearch(t *testing.T) {
	dir, nasc, _ := nascIn(t)
	var b strings.Builder
	b.WriteString("genotype,a,b,c,val_seed0,test_seed0,ms,params,macs,bytes\n")
	for i := range 125 {
		x := []int{i / 25, i / 5 % 5, i % 5}
		fmt.Fprintf(&b, "%d.%d.%d,a%d,b%d,c%d,%.4f,0.5,%d,1,1,1\n", x[0], x[1], x[2], x[0], x[1], x[2], 0.3+float64(x[0]*x[1]+x[2])/50, i+1)
	}
	table := filepath.Join(dir, "nets.csv")
	if err := os.WriteFile(table, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := queuetest.Run(t.Context(), queuetest.Options{
		Nasc: nasc, Dir: dir, Table: "table:" + table, Strategy: "regularized-evolution", Trials: 60, Workers: 3, Kills: 4, Seed: 1,
		Least: 50 * time.Millisecond, Most: 500 * time.Millisecond, Log: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
}
