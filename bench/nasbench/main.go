// Nasbench judges the transfer of latencies to a new device on public figures:
// it predicts the 15,625 networks of NAS-Bench-201, whose times on one core of a
// Xeon Gold 6226 were measured by others, from a table of this machine's kernels
// and ten of those times.
//
//	go run ./bench/nasbench nasbench201.csv.gz
package main

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

const (
	samples = 10
	draws   = 20 // of the samples
	cells   = 5  // of each of the three stages
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: nasbench nasbench201.csv.gz")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "nasbench:", err)
		os.Exit(1)
	}
}

// network is one of the benchmark: how many steps of each op its cells have that
// a run must do, and its time.
type network struct {
	ops map[string]int
	ms  float64
}

func run(ctx context.Context, path string, out io.Writer) error {
	nets, err := read(path)
	if err != nil {
		return err
	}
	cost, err := profile(ctx)
	if err != nil {
		return err
	}
	sums, times := make([]map[string]float64, len(nets)), make([]float64, len(nets))
	for i, n := range nets {
		sums[i], times[i] = map[string]float64{}, n.ms
		for op, count := range n.ops {
			sums[i][op] = float64(count) * cost[op]
		}
	}
	var plain []float64
	for i := range nets {
		t := 0.0
		for _, v := range sums[i] {
			t += v
		}
		plain = append(plain, t)
	}
	a := latency.Compare(plain, times)
	fmt.Fprintf(out, "%d networks; this machine's times as they are: Spearman %.4f, Kendall %.4f\n", a.N, a.Spearman, a.Kendall)
	for _, how := range []struct {
		name   string
		choose func(r *rand.Rand) []int
	}{
		{"drawn", func(r *rand.Rand) []int { return r.Perm(len(nets))[:samples] }},
		{"chosen of 400 drawn by what they tell", func(r *rand.Rand) []int {
			of := r.Perm(len(nets))[:400]
			var s []map[string]float64
			for _, i := range of {
				s = append(s, sums[i])
			}
			var out []int
			for _, i := range latency.ChooseSamples(s, samples) {
				out = append(out, of[i])
			}
			return out
		}},
	} {
		var rho, tau, ten []float64
		for seed := range uint64(draws) {
			a, err := adapted(sums, times, how.choose(rand.New(rand.NewPCG(seed, 201))))
			if err != nil {
				return err
			}
			rho, tau, ten = append(rho, a.Spearman), append(tau, a.Kendall), append(ten, a.Within10)
		}
		slices.Sort(rho)
		slices.Sort(tau)
		slices.Sort(ten)
		fmt.Fprintf(out, "adapted by %d of them, %s, median of %d draws (least to most): Spearman %.4f (%.4f to %.4f), Kendall %.4f, within 10 %%: %.1f %%\n",
			samples, how.name, draws, rho[draws/2], rho[0], rho[draws-1], tau[draws/2], 100*ten[draws/2])
	}
	return nil
}

// adapted predicts all networks but the few that it learns from.
func adapted(sums []map[string]float64, times []float64, few []int) (latency.Accuracy, error) {
	var s []map[string]float64
	var m []float64
	for _, i := range few {
		s, m = append(s, sums[i]), append(m, times[i])
	}
	scale, err := latency.FitScale(s, m)
	if err != nil {
		return latency.Accuracy{}, err
	}
	var p, t []float64
	for i := range sums {
		if !slices.Contains(few, i) {
			p, t = append(p, scale.Predict(sums[i])), append(t, times[i])
		}
	}
	return latency.Compare(p, t), nil
}

// read reads the benchmark's cells: |op~0|+|op~0|op~1|+|op~0|op~1|op~2|, where
// op~i takes node i.
func read(path string) ([]network, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		return nil, err
	}
	at := slices.Index(rows[0], "latency_gold6226")
	if at < 0 {
		return nil, fmt.Errorf("%s: no column latency_gold6226", path)
	}
	var out []network
	for _, row := range rows[1:] {
		n := network{ops: map[string]int{}}
		if n.ms, err = strconv.ParseFloat(row[at], 64); err != nil {
			return nil, err
		}
		for _, node := range strings.Split(row[0], "+") {
			adds := -1
			for _, edge := range strings.Split(strings.Trim(node, "|"), "|") {
				if op, _, _ := strings.Cut(edge, "~"); op != "none" {
					n.ops[op]++
					adds++
				}
			}
			n.ops["add"] += max(adds, 0)
		}
		out = append(out, n)
	}
	return out, nil
}

// profile measures the benchmark's ops here, in ms for the cells of a network.
func profile(ctx context.Context) (map[string]float64, error) {
	text := "input = [32, 32, 16]\n"
	for i, c := range []int{16, 32, 64} {
		for _, k := range []int{3, 1} {
			text += fmt.Sprintf("[[stage]]\nblock = \"conv\"\nname = \"conv%d_%d\"\nchannels = %d\nkernel = %d\nrepeat = 2\n", k, i, c, k)
		}
		text += fmt.Sprintf("[[stage]]\nblock = \"average_pool\"\nname = \"pool_%d\"\nkernel = 3\nstride = 1\npadding = \"same\"\n", i)
		text += fmt.Sprintf("[[stage]]\nblock = \"basic\"\nname = \"add_%d\"\nchannels = %d\n", i, c)
		if i < 2 {
			text += "[[stage]]\nblock = \"max_pool\"\n"
		}
	}
	text += "[[stage]]\nblock = \"pool\"\nname = \"mean\"\n"
	g, err := nasc.Synthetic(ctx, "nasbench", text, "cpu-f32", 1)
	if err != nil {
		return nil, err
	}
	t, _, err := nasc.Target("cpu-f32")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "nasbench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "device.csv")
	if _, err := latency.Profile(ctx, path, latency.List{{Name: "ops", Graph: g, In: passes.RandomInputs(g, 1)}}, latency.Options{
		Target: t, Compile: backends.Options{Threads: 1}, Facts: latency.Fingerprint(nasc.Version(), "cpu-f32", "", 1, 1), Budget: 20 * time.Second,
	}); err != nil {
		return nil, err
	}
	table, err := latency.Read(path)
	if err != nil {
		return nil, err
	}
	e, _, err := nasc.Start(g, "cpu-f32", 1, 1)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	p, err := table.Predict(e.(backends.Planned))
	if err != nil {
		return nil, err
	}
	cost := map[string]float64{}
	for _, n := range p.PerNode {
		for name, op := range map[string]string{"conv3_": "nor_conv_3x3", "conv1_": "nor_conv_1x1", "pool_": "avg_pool_3x3"} {
			// The second repetition has the stage's channels on both sides.
			if strings.HasPrefix(n.Node, name) && (name == "pool_" || strings.Contains(n.Node, ".1")) {
				cost[op] += n.MS * cells
			}
		}
	}
	// Adding two pictures moves about what a pool reads, and a ninth of its work.
	cost["add"], cost["skip_connect"] = cost["avg_pool_3x3"]/9, cost["avg_pool_3x3"]/90
	return cost, nil
}
