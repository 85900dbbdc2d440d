package train

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// Quantizations lists what is trained of a network that computes on levels (see
// passes.Simulate): ste leaves the scales alone, lsq learns them (Esser et al.
// 2020), lsq+ the zero points too (Bhalgat et al. 2020).
var Quantizations = []string{"ste", "lsq", "lsq+"}

// Quantization picks the scales and zero points that are trained; it says
// whether the network has any.
func (n *Network) Quantization(mode string) (bool, error) {
	if !slices.Contains(Quantizations, mode) {
		return false, &diag.Error{Place: "--qat", Found: fmt.Sprintf("%q", mode), Wanted: strings.Join(Quantizations, ", ")}
	}
	n.Params = slices.DeleteFunc(n.Params, func(p *Param) bool { return p.Kind != Weight })
	for _, p := range n.steps {
		if p.Kind == Scale && mode != "ste" || p.Kind == Zero && mode == "lsq+" {
			n.Params = append(n.Params, p)
		}
	}
	return len(n.steps) > 0, nil
}

// scales finds the constants that are scales and zero points, with what each
// quantizes.
func scales(g *ir.Graph) map[*ir.Value]*Param {
	m := map[*ir.Value]*Param{}
	for _, n := range g.Nodes {
		if n.Op.Name != "fake_quantize" {
			continue
		}
		if z := n.In(2); z.IsConst() {
			m[z] = &Param{Kind: Zero, levels: n.Int("qmax") - n.Int("qmin")}
		}
		f := n.Inputs[1].Def
		if f == nil || f.Op.Name != "requantize_factor" || !f.In(2).IsConst() {
			continue
		}
		s := m[f.In(2)]
		if s == nil {
			s = &Param{Kind: Scale, levels: n.Int("qmax")}
			m[f.In(2)] = s
		}
		s.values = max(s.values, n.Inputs[0].Type.Shape.With(1).Elems()/f.In(2).Type.Shape.Elems())
	}
	return m
}

// update changes a parameter by the optimizer's step. A scale moves by the
// factor e^u and a zero point by the share u of its levels, where u is the
// step of a number that stands at 0, so that both stay what they are whatever
// their size. Plain SGD, whose steps grow with the gradient, takes LSQ's: the
// gradient over √(values·levels). A step moves a scale by a tenth at most, and a
// zero point by that of its levels: from a poor start gradients are large.
func (j *Job) update(i, step int, rate float64) {
	p, g, m := j.trained[i], j.grads[i], j.moments[i]
	if p.Kind == Weight {
		decay := 0.0
		if p.Decay {
			decay = j.Hyper.WeightDecay
		}
		j.opt.step(&j.Hyper, step, rate, decay, p.Value, g, m)
		return
	}
	for k, v := range p.Value {
		f := float64(p.levels)
		if p.Kind == Scale {
			f = float64(v)
			if j.opt.name == "sgd" {
				f = 1 / (f * math.Sqrt(float64(p.values)*float64(p.levels)))
			}
		}
		g[k] = float32(float64(g[k]) * f)
	}
	u := make([]float32, len(g))
	j.opt.step(&j.Hyper, step, rate, 0, u, g, m)
	for k, v := range u {
		v = min(max(v, -0.1), 0.1)
		if p.Kind == Scale {
			p.Value[k] = float32(float64(p.Value[k]) * math.Exp(float64(v)))
		} else {
			p.Value[k] += float32(float64(v) * float64(p.levels))
		}
	}
}
