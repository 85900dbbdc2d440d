package train

// zeros lists for each parameter the elements that a mask has set to zero: those
// of weights of convolutions and dense layers, which passes' mask sets. A weight
// of nothing but zeros has no mask: it waits to be trained, as in a block that
// begins as nothing.
func (n *Network) zeros() [][]int {
	weights := map[string]bool{}
	for _, d := range n.graph.Nodes {
		if d.Op.Name != "convolution" && d.Op.Name != "dot" {
			continue
		}
		w := d.Inputs[1]
		if w.Def != nil && w.Def.Op.Name == "fake_quantize" {
			w = w.Def.Inputs[0]
		}
		if w.IsConst() {
			weights[w.Name] = true
		}
	}
	out := make([][]int, len(n.Params))
	for i, p := range n.Params {
		if !weights[p.Name] {
			continue
		}
		for k, v := range p.Value {
			if v == 0 {
				out[i] = append(out[i], k)
			}
		}
		if len(out[i]) == len(p.Value) {
			out[i] = nil
		}
	}
	return out
}

// keepZeros takes masked elements out of the gradients, so that neither their
// norm nor the moments see them.
func (j *Job) keepZeros(grads [][]float32) {
	for i := range grads {
		j.keepZero(i, grads[i])
	}
}

func (j *Job) keepZero(i int, v []float32) {
	if i >= len(j.zeros) { // no mask, or a teacher's adapter
		return
	}
	for _, k := range j.zeros[i] {
		v[k] = 0
	}
}
