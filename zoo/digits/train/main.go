// Command train trains the digits network of package digits with gomlx's
// pure-Go backend and writes its weights: go run ./zoo/digits/train. The same
// seed gives the same file on one kind of machine.
package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"

	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/nasc-dev/nasc/internal/safetensors"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/zoo/digits"
)

func main() {
	out := flag.String("out", "zoo/digits/weights.safetensors", "file to write")
	epochs := flag.Int("epochs", 60, "passes over the training digits")
	seed := flag.Uint64("seed", 1, "of the first weights, the order and the shifts")
	flag.Parse()
	if err := run(os.Stderr, *out, *epochs, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

func run(log io.Writer, out string, epochs int, seed uint64) error {
	data, err := digits.Load()
	if err != nil {
		return err
	}
	m, err := newModel(seed)
	if err != nil {
		return err
	}
	for e := range epochs {
		loss, err := m.epoch(&data.Train, float64(e)/float64(epochs))
		if err != nil {
			return err
		}
		if e%5 == 4 || e == epochs-1 {
			right, err := m.accuracy(&data.Test)
			if err != nil {
				return err
			}
			fmt.Fprintf(log, "epoch %d: loss %.4f, test accuracy %.2f %%\n", e+1, loss, 100*right)
		}
	}
	return m.write(out)
}

const pixelsPer = digits.Size * digits.Size

const batch = 60 // divides digits.TrainN

// model is the parameters, their Adam moments and the compiled graphs.
type model struct {
	rand         *rand.Rand
	names        []string
	shapes       [][]int
	params, m, v [][]float32
	step         int
	train, infer *graph.Exec
}

func newModel(seed uint64) (*model, error) {
	m := &model{rand: rand.New(rand.NewPCG(seed, 1))}
	for _, l := range digits.Layers {
		fan := l.Inputs * max(1, l.Kernel*l.Kernel)
		w := make([]float32, fan*l.Outputs)
		for i := range w {
			w[i] = float32(m.rand.NormFloat64() * math.Sqrt(2/float64(fan)))
		}
		shape := []int{l.Inputs, l.Outputs}
		if l.Kernel > 0 {
			shape = []int{l.Kernel, l.Kernel, l.Inputs, l.Outputs}
		}
		m.add(l.Name+".weight", shape, w)
		m.add(l.Name+".bias", []int{l.Outputs}, make([]float32, l.Outputs))
	}
	backend, err := gobackend.New("")
	if err != nil {
		return nil, err
	}
	if m.train, err = graph.NewExec(backend, lossAndGradients); err != nil {
		return nil, err
	}
	m.infer, err = graph.NewExec(backend, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{graph.ArgMax(logits(in[0], in[1:]), -1)}
	})
	return m, err
}

func (m *model) add(name string, shape []int, w []float32) {
	m.names, m.shapes, m.params = append(m.names, name), append(m.shapes, shape), append(m.params, w)
	m.m, m.v = append(m.m, make([]float32, len(w))), append(m.v, make([]float32, len(w)))
}

// logits is the network. gomlx's Go backend is slow at convolutions, so each is
// the product of its gathered windows with the weights.
func logits(x *graph.Node, params []*graph.Node) *graph.Node {
	n := x.Shape().Dimensions[0]
	for i, l := range digits.Layers {
		w, b := params[2*i], params[2*i+1]
		if l.Kernel == 0 {
			x = graph.Reshape(x, n, l.Inputs)
			return graph.Add(graph.MatMul(x, w), graph.Reshape(b, 1, l.Outputs))
		}
		size := x.Shape().Dimensions[1]
		o := (size-1)/l.Stride + 1
		x = surround(surround(x, 1), 2)
		var taps []*graph.Node
		for kh := range l.Kernel {
			for kw := range l.Kernel {
				taps = append(taps, graph.Slice(x, graph.AxisRange(),
					graph.AxisRange(kh, kh+(o-1)*l.Stride+1).Stride(l.Stride), graph.AxisRange(kw, kw+(o-1)*l.Stride+1).Stride(l.Stride)))
			}
		}
		k := l.Kernel * l.Kernel * l.Inputs
		cols := graph.Reshape(graph.Concatenate(taps, -1), n*o*o, k)
		y := graph.Add(graph.MatMul(cols, graph.Reshape(w, k, l.Outputs)), graph.Reshape(b, 1, l.Outputs))
		x = graph.Reshape(graph.Max(y, graph.ScalarZero(x.Graph(), x.DType())), n, o, o, l.Outputs)
	}
	panic("BUG: the last layer is not dense")
}

// surround puts a row of zeros before and after an axis (Pad has no gradient).
func surround(x *graph.Node, axis int) *graph.Node {
	s := x.Shape().Clone()
	s.Dimensions[axis] = 1
	z := graph.Zeros(x.Graph(), s)
	return graph.Concatenate([]*graph.Node{z, x, z}, axis)
}

// lossAndGradients takes images, one-hot labels and parameters; it gives the
// mean cross entropy and its gradient by each parameter.
func lossAndGradients(in []*graph.Node) []*graph.Node {
	params := in[2:]
	p := graph.LogSoftmax(logits(in[0], params))
	loss := graph.Neg(graph.ReduceAllSum(graph.Mul(p, in[1])))
	loss = graph.DivScalar(loss, float64(in[0].Shape().Dimensions[0]))
	return append([]*graph.Node{loss}, graph.Gradient(loss, params...)...)
}

func (m *model) inputs(first ...any) []any {
	for i, p := range m.params {
		first = append(first, tensors.FromFlatDataAndDimensions(p, m.shapes[i]...))
	}
	return first
}

// epoch trains on all digits once, in a new order, each shifted by up to a
// pixel; at is the share of the training that lies behind.
func (m *model) epoch(s *digits.Set, at float64) (float64, error) {
	order := m.rand.Perm(s.Len())
	sum := 0.0
	for b := 0; b+batch <= len(order); b += batch {
		x, y := make([]float32, batch*pixelsPer), make([]float32, batch*digits.Classes)
		for i, j := range order[b : b+batch] {
			shifted(x[i*pixelsPer:(i+1)*pixelsPer], s.Images[j*pixelsPer:(j+1)*pixelsPer], nudge(m.rand), nudge(m.rand))
			y[i*digits.Classes+s.Labels[j]] = 1
		}
		res, err := m.train.Call(m.inputs(
			tensors.FromFlatDataAndDimensions(x, batch, digits.Size, digits.Size, 1),
			tensors.FromFlatDataAndDimensions(y, batch, digits.Classes))...)
		if err != nil {
			return 0, err
		}
		sum += float64(tensors.ToScalar[float32](res[0]))
		// The rate falls from 3e-3 to 0 along a half cosine.
		m.adam(res[1:], 3e-3*0.5*(1+math.Cos(math.Pi*at)))
	}
	return sum / float64(len(order)/batch), nil
}

// shifted writes the picture moved by dy, dx to dst.
func shifted(dst, src []float32, dy, dx int) {
	for i := range dst {
		y, x := i/digits.Size-dy, i%digits.Size-dx
		if y >= 0 && y < digits.Size && x >= 0 && x < digits.Size {
			dst[i] = src[y*digits.Size+x]
		}
	}
}

// adam updates the parameters (Kingma and Ba 2015), with decoupled weight decay.
func (m *model) adam(grads []*tensors.Tensor, rate float64) {
	m.step++
	c1, c2 := 1-math.Pow(0.9, float64(m.step)), 1-math.Pow(0.999, float64(m.step))
	for i, g := range grads {
		p, mo, ve := m.params[i], m.m[i], m.v[i]
		for j, d := range tensors.MustCopyFlatData[float32](g) {
			mo[j] = 0.9*mo[j] + 0.1*d
			ve[j] = 0.999*ve[j] + 0.001*d*d
			step := float64(mo[j]) / c1 / (math.Sqrt(float64(ve[j])/c2) + 1e-8)
			p[j] -= float32(rate * (step + 1e-3*float64(p[j])))
		}
	}
}

func (m *model) accuracy(s *digits.Set) (float64, error) {
	res, err := m.infer.Call(m.inputs(tensors.FromFlatDataAndDimensions(s.Images, s.Len(), digits.Size, digits.Size, 1))...)
	if err != nil {
		return 0, err
	}
	right := 0
	for i, c := range tensors.MustCopyFlatData[int32](res[0]) {
		if int(c) == s.Labels[i] {
			right++
		}
	}
	return float64(right) / float64(s.Len()), nil
}

// write stores the parameters in one go: a file is whole or not there.
func (m *model) write(path string) error {
	var ts []ir.NamedTensor
	for i, n := range m.names {
		ts = append(ts, ir.NamedTensor{Name: n, Tensor: ir.From(m.params[i], m.shapes[i]...)})
	}
	f, err := os.CreateTemp(".", "weights-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	if err := safetensors.Write(f, ts); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// nudge is a shift of -1, 0 or 1 pixel; most pictures stay where they are.
func nudge(r *rand.Rand) int {
	switch r.IntN(8) {
	case 0:
		return -1
	case 1:
		return 1
	}
	return 0
}
