package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/cli"
)

// nasc runs a command line that ends with the given code, and gives its output.
func nasc(t *testing.T, code int, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	if got := cli.Main(context.Background(), args, &out, &errs); got != code {
		t.Fatalf("nasc %s: %d\n%s%s", strings.Join(args, " "), got, &out, &errs)
	}
	return out.Bytes()
}

// shown are the trials of a part of a page: what their points say, and where
// they are.
type shown struct {
	text string
	x, y float64
}

var point = regexp.MustCompile(`<circle cx="([-\d.]+)" cy="([-\d.]+)" r="3" [^>]*><title>trial (\d+): ([^<]*)</title></circle>`)

func points(t *testing.T, part string) map[int64]shown {
	t.Helper()
	out := map[int64]shown{}
	for _, m := range point.FindAllStringSubmatch(part, -1) {
		var v [3]float64
		for i := range v {
			var err error
			if v[i], err = strconv.ParseFloat(m[i+1], 64); err != nil {
				t.Fatal(err)
			}
		}
		if _, twice := out[int64(v[2])]; twice {
			t.Errorf("trial %s twice", m[3])
		}
		out[int64(v[2])] = shown{html.UnescapeString(m[4]), v[0], v[1]}
	}
	return out
}

// The page of a study has the journal's figures: each network that keeps the
// limits once, at its place, and none that failed. Names are names, whatever
// they hold.
func TestStudyPage(t *testing.T) {
	dir := t.TempDir()
	table := filepath.Join(dir, "<b>nets.csv")
	var b strings.Builder
	b.WriteString("genotype,<script>alert(1)</script>,\"a&b \"\"c\"\"\",val_seed0,test_seed0,ms,params,macs,bytes\n")
	for i := range 12 {
		fmt.Fprintf(&b, "%d.%d,<i>%d,x%d,%.3f,0.5,%g,%d,%d,1\n", i/4, i%4, i/4, i%4, 0.3+float64(i*i%7)/10, 0.1*float64(i+1), 10*i, i*i)
	}
	if err := os.WriteFile(table, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	study, page := filepath.Join(dir, "s.db"), filepath.Join(dir, "s.html")
	nasc(t, 0, "search", "--table", "table:"+table, "--strategy", "random", "--budget", "9", "--max-ms", "0.95", "--study", study)
	var journal struct {
		Trials []struct {
			ID      int64
			Metrics map[string]float64
		}
	}
	if err := json.Unmarshal(nasc(t, 0, "study", "export", study, "--json"), &journal); err != nil || len(journal.Trials) != 9 {
		t.Fatalf("%d trials, %v", len(journal.Trials), err)
	}
	var view struct {
		Trials int
		Best   struct{ ID int64 }
	}
	if err := json.Unmarshal(nasc(t, 0, "study", "show", study, "--json"), &view); err != nil {
		t.Fatal(err)
	}
	nasc(t, 0, "study", "plot", study, "-o", page)
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, bad := range []string{"<script", "<i>", "<b>nets", "NaN", "Inf"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	for _, want := range []string{"&lt;script&gt;", "a&amp;b &#34;c&#34;", fmt.Sprintf(`<p id="study">%d trials`, view.Trials), fmt.Sprintf(`<b id="best">%d</b>`, view.Best.ID)} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	_, part, _ := strings.Cut(text, `<div id="progress">`)
	progress, front, ok := strings.Cut(part, `<div class="front">`)
	if front, _, _ = strings.Cut(front, `<div id="choices">`); !ok || !strings.Contains(text, `<polyline points=`) {
		t.Fatal("charts are missing")
	}
	dots, ms := points(t, progress), points(t, front)
	for _, x := range journal.Trials {
		acc, time := x.Metrics["accuracy"], x.Metrics["ms"]
		d, drawn := dots[x.ID]
		if drawn != (time <= 0.95) {
			t.Errorf("trial %d with %v ms: drawn %v", x.ID, time, drawn)
		}
		if _, trained := x.Metrics["accuracy"]; !trained {
			continue // its limit was known to be broken
		}
		want := fmt.Sprintf("accuracy %.2f %%, ms %.4g", 100*acc, time)
		if drawn && d.text != want || ms[x.ID].text != want {
			t.Errorf("trial %d: %q and %q; the journal has %q", x.ID, d.text, ms[x.ID].text, want)
		}
		for _, y := range journal.Trials { // places are in the order of the figures
			if o, both := dots[y.ID]; both && drawn && acc > y.Metrics["accuracy"] && d.y >= o.y {
				t.Errorf("trial %d is not above %d", x.ID, y.ID)
			}
			if m, n := ms[x.ID], ms[y.ID]; n.text != "" && time > y.Metrics["ms"] && m.x <= n.x {
				t.Errorf("trial %d is not right of %d", x.ID, y.ID)
			}
		}
	}
}

// Pages of studies with no trial, with one, and with none that kept the limits
// are pages.
func TestSmallStudyPages(t *testing.T) {
	dir := t.TempDir()
	table := filepath.Join(dir, "nets.csv")
	// Two networks that differ by less than an axis can show.
	if err := os.WriteFile(table, []byte("genotype,w,val_seed0,test_seed0,ms,params,macs,bytes\n0,4,0.3,0.3,0.1,1,1,1\n1,8,0.30000000000000004,0.3,0.1,1,1,1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		code   int
		budget string
		want   string
	}{
		"none": {1, "1ns", "0 trials"},
		"one":  {0, "1", "1 trials"},
		"two":  {0, "2", "2 trials"},
	} {
		study, page := filepath.Join(dir, name+".db"), filepath.Join(dir, name+".html")
		nasc(t, c.code, "search", "--table", "table:"+table, "--budget", c.budget, "--study", study, "--report", filepath.Join(dir, "r.html"))
		nasc(t, 0, "study", "plot", study, "-o", filepath.Join(dir, name+".svg"))
		nasc(t, 0, "study", "plot", study, "-o", page)
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), c.want) || strings.Contains(string(b), "NaN") {
			t.Errorf("%s: %s", name, b)
		}
	}
}
