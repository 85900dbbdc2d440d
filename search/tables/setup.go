package tables

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/train"
)

// Setup is what decides a table's bits, but for the times.
type Setup struct {
	SpaceFile  string
	Data, Test string          // DATA
	N          int             // networks; 0: all of the space
	NetSeed    uint64          // of the draw, where N is less than all
	Only       []arch.Genotype // these networks instead
	Seeds      int             // trainings of each network
	Config     train.Config
}

// Table is one being made.
type Table struct {
	Setup
	Space    *arch.Space
	Networks []arch.Genotype

	train, test *data.Feed
	facts       []fact
}

// fact is a line at the top of a table, "# name: value".
type fact struct{ name, value string }

// mostNetworks bounds a table: more are not trained in a lifetime.
const mostNetworks = 1 << 16

// New opens the space and the data.
func New(s Setup) (*Table, error) {
	space, err := arch.LoadSpace(s.SpaceFile)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(s.SpaceFile)
	if err != nil {
		return nil, diag.At(s.SpaceFile, err)
	}
	t := &Table{Setup: s, Space: space}
	n := s.N
	if count := space.Count(); n == 0 && s.Only == nil {
		if !count.IsInt64() || count.Int64() > mostNetworks {
			return nil, &diag.Error{Place: s.SpaceFile, Found: fmt.Sprintf("%v networks", count), Wanted: fmt.Sprintf("at most %d to train all of them", mostNetworks), Fix: "--n takes some of them"}
		}
		n = int(count.Int64())
	}
	if t.Networks = slices.Clone(s.Only); s.Only == nil {
		t.Networks = space.Samples(n, s.NetSeed)
	}
	slices.SortFunc(t.Networks, func(a, b arch.Genotype) int { return slices.Compare(a, b) })
	if s.Seeds < 1 || s.Seeds > 100 {
		return nil, &diag.Error{Place: "--seeds", Found: fmt.Sprint(s.Seeds), Wanted: "1 to 100"}
	}
	if s.Config.ValSplit <= 0 {
		return nil, &diag.Error{Place: "--val-split", Found: fmt.Sprint(s.Config.ValSplit), Wanted: "a share of the training data: searches see no test data"}
	}
	g, _, err := t.graph(0)
	if err != nil {
		return nil, err
	}
	if t.train, err = feed("--data", s.Data, g.Inputs); err != nil {
		return nil, err
	}
	if t.test, err = feed("--test", s.Test, g.Inputs); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	t.facts = []fact{
		{"space", fmt.Sprintf("%s, %d of %v networks, sha256 %s", space.Name, len(t.Networks), space.Count(), hex.EncodeToString(sum[:6]))},
		{"training", trainingText(s.Config)},
	}
	for _, d := range []struct {
		name string
		feed *data.Feed
	}{{"data", t.train}, {"test", t.test}} {
		digest, err := d.feed.Digest()
		if err != nil {
			return nil, diag.At("--"+d.name, err)
		}
		t.facts = append(t.facts, fact{d.name, fmt.Sprintf("%d samples, sha256 %s", d.feed.Len(), digest[:12])})
	}
	return t, nil
}

func feed(flag, arg string, in []*ir.Value) (*data.Feed, error) {
	if arg == "" {
		return nil, &diag.Error{Place: flag, Found: "nothing", Wanted: data.Kinds}
	}
	s, err := data.Open(arg)
	if err != nil {
		return nil, err
	}
	f, err := data.NewFeed(s, in, data.Assume(in[0].Type))
	if err != nil {
		return nil, &diag.Error{Place: flag + " " + arg, Err: err, Fix: "give data of the space's input, or write the data's shape into a copy of the space"}
	}
	return f, nil
}

// trainingText says what a training does, for the header: two tables with the
// same text and data have the same bits.
func trainingText(c train.Config) string {
	return fmt.Sprintf("%d epochs, batch %d, %s, %s, lr %g, weight decay %g, %g of the data held out by each seed",
		c.Epochs, c.Batch, c.Optimizer, c.Schedule, c.LR, c.Hyper.WeightDecay, c.ValSplit)
}

// Command is what makes the table, with the places of the data left open.
func (t *Table) Command() string {
	kind := func(arg string) string {
		k, at, ok := strings.Cut(arg, ":")
		if !ok {
			return arg
		}
		if i := strings.IndexAny(at, "[?"); i >= 0 {
			return k + ":DIR" + at[i:]
		}
		return k + ":DIR"
	}
	c := t.Config
	s := fmt.Sprintf("nasc search table --space %s --data %s --test %s --seeds %d --epochs %d --batch %d --lr %g --val-split %g",
		t.SpaceFile, kind(t.Data), kind(t.Test), t.Seeds, c.Epochs, c.Batch, c.LR, c.ValSplit)
	if t.N > 0 {
		s += fmt.Sprintf(" --n %d --net-seed %d", t.N, t.NetSeed)
	}
	return s
}

// graph parses a network and gives it the name of its genotype.
func (t *Table) graph(i int) (*ir.Graph, string, error) {
	text, err := t.Space.Instance(t.Networks[i])
	if err != nil {
		return nil, "", err
	}
	g, _, err := arch.Parse(t.Space.Name, []byte(text), nil)
	if err != nil {
		return nil, "", diag.At("network "+t.Networks[i].String(), err)
	}
	return g, text, nil
}

// number writes an accuracy: enough for any share of 100,000 samples.
func number(v float64) string { return fmt.Sprintf("%.6g", math.Round(v*1e6)/1e6) }
