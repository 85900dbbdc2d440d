package design

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// Settings are DeepMAD's.
type Settings struct {
	Last float64 // weight of the last level's entropy; the others have 1
	Beta float64 // of the penalty exp(variance of the stages' depths)
	Rho  float64 // greatest depth over mean width; 0: see rhoFor
}

// Default are the paper's settings.
var Default = Settings{Last: 8, Beta: 10}

// rhoFor is the greatest depth over mean width where none is asked for. The
// paper takes 0.3 to 0.5 for networks of full convolutions and up to 2 for
// others: a depthwise layer is only k² wide.
func rhoFor(s Settings, depthwise bool) float64 {
	switch {
	case s.Rho > 0:
		return s.Rho
	case depthwise:
		return 2
	}
	return 0.5
}

// Design is a network as DeepMAD sees it.
type Design struct {
	Genotype arch.Genotype `json:"-"`
	Score    float64       `json:"score"`
	Entropy  []float64     `json:"entropy"` // of each level, unweighted
	Rho      float64       `json:"rho"`
	Depths   []int         `json:"depths"` // repetitions of each stage whose depth is chosen
	Layers   int           `json:"layers"`
	MACs     int64         `json:"macs"`
	Params   int64         `json:"params"`
	MS       float64       `json:"ms,omitempty"` // predicted

	rising    bool // no block is narrower than the one before
	depthwise bool
}

// blockOf is what one block adds to a network.
type blockOf struct {
	stage        string // whose depth it counts for; "" where no depth is chosen
	layers       int    // convolutions of the main path
	width        float64
	res, out     int // of what comes out
	macs, params int64
	depthwise    bool
}

// modelled are the blocks for which the entropy is defined: chains of
// convolutions, with or without shortcuts, and what holds no layers.
var modelled = []string{"conv", "basic", "bottleneck", "inverted", "max_pool", "average_pool", "pool", "flatten", "dense"}

// blocksOf lists a network's blocks, from its shapes alone.
func blocksOf(space *arch.Space, g arch.Genotype) ([]blockOf, []arch.Stage, error) {
	text, err := space.Instance(g)
	if err != nil {
		return nil, nil, err
	}
	net, info, err := arch.Trace(space.Name, []byte(text))
	if err != nil {
		return nil, nil, fmt.Errorf("network %v of %s: %w", g, space.Name, err)
	}
	out := make([]blockOf, len(info.Stages))
	at := map[string]int{}
	for i, s := range info.Stages {
		kind := blockKind(s.Params)
		if !slices.Contains(modelled, kind) || len(s.In.Shape) == 3 {
			return nil, nil, &diag.Error{
				Place: "space " + space.Name, Found: fmt.Sprintf("block %q", kind), Wanted: "chains of convolutions: " + strings.Join(modelled, ", "),
				Fix: "DeepMAD's entropy says nothing of attention, token mixers and concatenated features: search this space with another method",
			}
		}
		at[s.Name] = i
		if stage, n, ok := cutLast(s.Name); ok {
			if _, err := strconv.Atoi(n); err == nil {
				out[i].stage = stage
			}
		}
		if d := s.Out.Shape; len(d) == 4 {
			out[i].res, out[i].out = d[1], d[3]
		}
	}
	for _, n := range net.Nodes {
		i := owner(at, n.Label())
		if i < 0 {
			return nil, nil, fmt.Errorf("BUG: node %s of %s belongs to no block", n.Label(), space.Name)
		}
		b := &out[i]
		b.macs += n.Op.MACs(n)
		b.params += paramsOf(n)
		if n.Op.Name == "convolution" && onMainPath(n.Label()) {
			w := n.Inputs[1].Type.Shape // kernel, kernel, in/groups, out
			b.layers++
			b.depthwise = b.depthwise || w[2] == 1 && w[3] > 1 && n.Int("groups") > 1
			b.width += 0.5 * math.Log(float64(w[0]*w[1]*w[2]))
		}
	}
	return out, info.Stages, nil
}

func blockKind(params string) string {
	for f := range strings.FieldsSeq(params) {
		if k, ok := strings.CutPrefix(f, `block=`); ok {
			return strings.Trim(k, `"`)
		}
	}
	return ""
}

func cutLast(name string) (before, after string, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}

// owner finds the block whose name begins a node's.
func owner(at map[string]int, label string) int {
	for {
		if i, ok := at[label]; ok {
			return i
		}
		var ok bool
		if label, _, ok = cutLast(label); !ok {
			return -1
		}
	}
}

// onMainPath leaves out what only adapts a shortcut or gates channels.
func onMainPath(label string) bool {
	_, last, _ := cutLast(label)
	return last != "shortcut" && last != "squeeze" && last != "excite"
}

// paramsOf counts as inspect does: a batch norm becomes the bias of the
// convolution before it.
func paramsOf(n *ir.Node) int64 {
	var sum int64
	for _, v := range n.Inputs {
		if v.IsConst() && len(v.Type.Shape) > 0 {
			sum += int64(v.Const.Len())
		}
	}
	if n.Op.Name == "batch_norm_inference" {
		return sum / 4
	}
	return sum
}

// Evaluate scores one network the straight way.
func Evaluate(space *arch.Space, g arch.Genotype, s Settings) (*Design, error) {
	blocks, _, err := blocksOf(space, g)
	if err != nil {
		return nil, err
	}
	d := &Design{Genotype: g, rising: true}
	sum, last, res := 0.0, 0, 0
	level := 0.0
	var depths []string
	for _, b := range blocks {
		d.MACs, d.Params = d.MACs+b.macs, d.Params+b.params
		if b.stage != "" {
			if k := len(depths); k > 0 && depths[k-1] == b.stage {
				d.Depths[k-1]++
			} else {
				depths, d.Depths = append(depths, b.stage), append(d.Depths, 1)
			}
		}
		if b.layers == 0 {
			continue
		}
		if b.res != res && res != 0 {
			d.Entropy = append(d.Entropy, level)
		}
		d.rising = d.rising && b.out >= last
		last, res = b.out, b.res
		sum += b.width
		d.Layers += b.layers
		d.depthwise = d.depthwise || b.depthwise
		level = levelFactor(b.res, b.out) * sum
	}
	d.Entropy = append(d.Entropy, level)
	for i, h := range d.Entropy {
		if i == len(d.Entropy)-1 {
			h *= s.Last
		}
		d.Score += h
	}
	n, total, squares := 0, 0, 0
	for _, l := range d.Depths {
		n, total, squares = n+1, total+l, squares+l*l
	}
	d.Score -= s.Beta * uneven(n, total, squares)
	d.Rho = rho(d.Layers, sum)
	return d, nil
}

// levelFactor is the log of the numbers that a level gives.
func levelFactor(res, channels int) float64 {
	return math.Log(float64(res) * float64(res) * float64(channels))
}

// uneven is exp(variance) of n depths (the authors' program takes the standard
// deviation), 1 where there are none.
func uneven(n, sum, squares int) float64 {
	if n == 0 {
		return 1
	}
	mean := float64(sum) / float64(n)
	return math.Exp(max(0, float64(squares)/float64(n)-mean*mean))
}

// rho is the depth over the geometric mean of the widths c·k²/g; sum is half of
// the sum of their logarithms.
func rho(layers int, sum float64) float64 {
	if layers == 0 {
		return 0
	}
	return float64(layers) * math.Exp(-2*sum/float64(layers))
}

// Limits bound a network; 0 stands for none.
type Limits struct {
	MACs, Params int64
	MS           float64
}

// Feasible says that a network keeps the limits, DeepMAD's own ones included.
func (d *Design) Feasible(l Limits, s Settings) bool {
	return d.rising && d.Rho <= rhoFor(s, d.depthwise) && d.Layers > 0 &&
		(l.MACs == 0 || d.MACs <= l.MACs) && (l.Params == 0 || d.Params <= l.Params) && (l.MS == 0 || d.MS <= l.MS)
}
