package cpu

import "github.com/nasc-dev/nasc/ir"

// Choices names the kernels of the layers that have several.
func (p *program) Choices() map[string][]string {
	out := map[string][]string{}
	for i := range p.steps {
		works := []work{p.steps[i].work}
		if b, ok := p.steps[i].work.(*beside); ok {
			works = b.works
		}
		labels := layersOf(p.steps[i].info.Nodes)
		for k, w := range works {
			if q, ok := w.(int8Work); ok && k < len(labels) {
				if c, ok := q.Kernel.(interface{ Choices() []string }); ok && len(c.Choices()) > 1 {
					out[labels[k]] = c.Choices()
				}
			}
		}
	}
	return out
}

// layersOf gives the labels of a step's contractions.
func layersOf(nodes []*ir.Node) []string {
	var out []string
	for _, n := range nodes {
		if n.Op.Name == "q_convolution" || n.Op.Name == "q_dot" {
			out = append(out, n.Label())
		}
	}
	return out
}
