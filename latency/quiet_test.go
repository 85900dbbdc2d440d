package latency

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The anchor's usual time is that of quiet, however seldom that is.
func TestUsual(t *testing.T) {
	times := func(quiet, slow int) *anchor {
		a := &anchor{}
		for i := range quiet {
			a.past = append(a.past, 27+float64(i%10)/10)
		}
		for i := range slow {
			a.past = append(a.past, 38+float64(i%10)/10)
		}
		slices.Sort(a.past)
		return a
	}
	for _, c := range []struct {
		quiet, slow int
		known       float64
		lo, hi      float64
	}{
		{100, 0, 0, 27, 28},
		{100, 900, 0, 27, 28},
		{0, 100, 0, 38, 39},
		{0, 100, 27.4, 27.4, 27.4}, // no quiet yet
		{100, 900, 27.4, 27, 28},
		{0, 100, 10, 38, 39}, // another clock
		{1, 0, 0, 27, 28},
	} {
		a := times(c.quiet, c.slow)
		a.known = c.known
		if u := a.usual(); u < c.lo || u > c.hi {
			t.Errorf("%+v: %v", c, u)
		}
	}
}

// A network counts as measured in quiet by what the anchor took beside it in all
// of the table, too.
func TestStill(t *testing.T) {
	table := &Table{Nets: []Net{
		{Row: Row{Anchor: 27}}, {Row: Row{Anchor: 27.5}}, {Row: Row{Anchor: 27.2, Noisy: true}}, {Row: Row{Anchor: 38}}, {}, {Row: Row{Anchor: 27.1}},
	}}
	if s := table.still(); !slices.Equal(s, []bool{true, true, false, false, true, true}) {
		t.Errorf("%v", s)
	}
	if p := table.Pace(); p != 27.1 {
		t.Errorf("the pace is %v", p)
	}
	table.Facts = []Fact{{"target", ByBlocks[0]}}
	if s := table.still(); !slices.Equal(s, []bool{true, true, false, true, true, true}) {
		t.Errorf("by blocks: %v", s)
	}
}

// Networks that met no quiet are measured again when the others are done; the
// table has each network once, and its kernels stay where they were.
func TestMeasuredAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.csv")
	ws := work(1, 3)
	if _, err := Profile(context.Background(), path, ws, options()); err != nil {
		t.Fatal(err)
	}
	table, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	text := header(table.Facts)
	for _, r := range table.Rows {
		r.Noisy = true
		text = append(text, r.line()...)
	}
	for _, n := range table.Nets {
		n.Noisy = true
		text = append(text, n.line()...)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	loud, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := loud.loud(ws).Len(); n != 2 {
		t.Fatalf("%d networks to measure again", n)
	}
	res, err := Profile(context.Background(), path, ws, options())
	if err != nil {
		t.Fatal(err)
	}
	again, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if res.Measured != 0 || res.Networks != 2 || len(again.Nets) != 2 || !slices.Equal(again.Keys(), table.Keys()) {
		t.Errorf("%+v; %d networks, %d rows after %d", res, len(again.Nets), len(again.Rows), len(table.Rows))
	}
	unquiet := 0
	for _, u := range again.Unquiet() {
		if u {
			unquiet++
		}
	}
	left := again.loud(ws).Len() // none, where this machine is quiet
	if left == 0 && unquiet > 0 || res.Noisy != unquiet || left == 2 && unquiet == 0 {
		t.Errorf("%d networks and %d rows met no quiet, of %d; %+v", left, unquiet, len(again.Rows), res)
	}
}

// What was measured again in quiet stands in the place of what was not.
func TestCompact(t *testing.T) {
	table := &Table{Nets: []Net{{Name: "a"}, {Name: "b"}, {Name: "a"}}}
	if s := table.superseded(); !slices.Equal(s, []bool{true, false, false}) {
		t.Errorf("%v", s)
	}
}
