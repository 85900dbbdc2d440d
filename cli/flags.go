package cli

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// shapeFlag reads --shape name=1x3x224x224 (N for the batch). A name given
// again starts another set.
type shapeFlag struct{ sets []map[string]ir.Shape }

func (s *shapeFlag) flag(f *pflag.FlagSet) {
	f.Var(s, "shape", "shape of an input, NAME=1x3x224x224 (N: any batch); a name given again starts another set of shapes in the same file (of a .nasc file, which has its sets: the one to take)")
}

func (s *shapeFlag) String() string { return "" }
func (s *shapeFlag) Type() string   { return "NAME=DIMS" }

func (s *shapeFlag) Set(text string) error {
	i := strings.LastIndex(text, "=")
	if i <= 0 {
		return fmt.Errorf("found %q, wanted NAME=1x3x224x224", text)
	}
	if strings.Contains(text[:i], "=") && strings.Contains(text[:i], ",") {
		return fmt.Errorf("found several inputs in %q, wanted one; give --shape once for each", text)
	}
	var shape ir.Shape
	for part := range strings.SplitSeq(text[i+1:], "x") {
		if part == "N" {
			shape = append(shape, ir.Batch)
			continue
		}
		d, err := strconv.Atoi(part)
		if err != nil || d < 1 || d > 1<<24 {
			return fmt.Errorf("found extent %q, wanted a number from 1 on, or N", part)
		}
		shape = append(shape, d)
	}
	if n := len(s.sets); n == 0 || s.sets[n-1][text[:i]] != nil {
		set := map[string]ir.Shape{}
		s.sets = append(s.sets, set)
	}
	s.sets[len(s.sets)-1][text[:i]] = shape
	return nil
}

// preFlags say how pictures become the input.
type preFlags struct {
	file      string
	mean, std []float64
	resize    int
	crop      string
}

func (p *preFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&p.file, "preprocess", "", "TOML file that says how pictures become the input")
	f.Float64SliceVar(&p.mean, "mean", nil, "mean per channel, after scaling to 0..1")
	f.Float64SliceVar(&p.std, "std", nil, "standard deviation per channel")
	f.IntVar(&p.resize, "resize", 0, "shorter side before cropping, in pixels")
	f.StringVar(&p.crop, "crop", "", "HxW cut from the centre")
}

// noteRaw says that preprocessing was asked for where no picture comes.
func (p *preFlags) noteRaw(a *app, raw string) {
	if p.given() {
		a.note("note: preprocessing is for pictures: %s enters as it is", raw)
	}
}

func (p *preFlags) given() bool {
	return p.file != "" || p.mean != nil || p.std != nil || p.resize != 0 || p.crop != ""
}

// feed opens the DATA that a model is to run on.
func (p *preFlags) feed(a *app, m *nasc.Model, arg string) (*data.Feed, error) {
	pp, err := p.apply(a, m.Manifest.Preprocess, pictureData(arg))
	if err != nil {
		return nil, err
	}
	if !pictureData(arg) {
		p.noteRaw(a, arg)
	}
	return data.OpenFeed(arg, m.Graph().Inputs, pp)
}

// apply changes what the model's file said, or what was assumed.
func (p *preFlags) apply(a *app, pp *nascfile.Preprocess, asked bool) (*nascfile.Preprocess, error) {
	if !p.given() {
		if pp != nil && pp.Assumed && asked {
			a.note("assumed for pictures: %s, resize %s, crop %dx%d, (x/255 - %v)/%v; --preprocess or --mean, --std, --resize, --crop say otherwise", strings.ToUpper(pp.Order), resizeText(pp.Resize), pp.Height, pp.Width, pp.Mean, pp.Std)
		}
		return pp, nil
	}
	if pp == nil {
		return nil, &diag.Error{Place: "--preprocess", Found: "a model whose input is no picture", Wanted: "an input N×3×H×W or N×H×W×3"}
	}
	q := *pp
	q.Assumed = false
	if p.file != "" {
		md, err := toml.DecodeFile(p.file, &q)
		if err != nil {
			return nil, diag.At(p.file, err)
		}
		if u := md.Undecoded(); len(u) > 0 {
			return nil, &diag.Error{Place: p.file, Found: "key " + u[0].String(), Wanted: "layout, order, resize, height, width, scale, mean, std"}
		}
	}
	if p.mean != nil {
		q.Mean = p.mean
	}
	if p.std != nil {
		q.Std = p.std
	}
	if p.resize != 0 {
		q.Resize = p.resize
	}
	if p.crop != "" {
		h, w, _ := strings.Cut(p.crop, "x")
		var err, other error
		q.Height, err = strconv.Atoi(h)
		q.Width, other = strconv.Atoi(w)
		if err != nil || other != nil || q.Height < 1 || q.Width < 1 {
			return nil, &diag.Error{Place: "--crop", Found: p.crop, Wanted: "HxW, such as 224x224"}
		}
	}
	if err := q.Check(); err != nil {
		return nil, diag.At("--preprocess", err)
	}
	return &q, nil
}

func resizeText(n int) string {
	if n == 0 {
		return "only pictures that are smaller"
	}
	return strconv.Itoa(n)
}

// readPolicy reads --policy: int8, or a file of layers.
func readPolicy(arg string) (passes.Policy, error) {
	switch arg {
	case "", "int8", "auto": // auto is every layer that can be, of which --tune takes back those that are slower
		return passes.Policy{}, nil
	}
	var p passes.Policy
	if _, err := os.Stat(arg); err != nil {
		return p, &diag.Error{Place: "--policy", Found: arg, Wanted: "int8 or a TOML file", Err: err}
	}
	md, err := toml.DecodeFile(arg, &p)
	if err != nil {
		return p, diag.At(arg, err)
	}
	if u := md.Undecoded(); len(u) > 0 {
		return p, &diag.Error{Place: arg, Found: "key " + u[0].String(), Wanted: "default and [layers]"}
	}
	return p, nil
}
