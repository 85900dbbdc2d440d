// Package digits holds 1797 handwritten digits of 8x8 pixels and the trained
// weights of zoo/digits-cnn.toml, both embedded, so that one command shows the
// whole way of a network with nothing to fetch. README.md says where the digits
// come from and how the weights were made.
//
// It owns the split into training and test; it may import ir,
// internal/safetensors and the standard library.
package digits

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/nasc-dev/nasc/internal/safetensors"
	"github.com/nasc-dev/nasc/ir"
)

//go:embed digits.csv.gz
var table []byte

//go:embed weights.safetensors
var weights []byte

// Size is the width and height of a digit, Classes the number of labels.
const (
	Size    = 8
	Classes = 10
)

// TrainN is the number of digits that the weights were trained on; the others
// are the test.
const TrainN = 1200

// Set is labelled digits.
type Set struct {
	// Images holds Size*Size values a digit, row by row, ink in [0, 1].
	Images []float32
	Labels []int
}

// Len is the number of digits.
func (s *Set) Len() int { return len(s.Labels) }

// Image gives digit i as a [1,8,8,1] tensor that shares the set's memory.
func (s *Set) Image(i int) *ir.Tensor {
	const n = Size * Size
	return ir.From(s.Images[i*n:(i+1)*n:(i+1)*n], 1, Size, Size, 1)
}

// Data is the digits, split once and for all by a seeded shuffle.
type Data struct{ Train, Test Set }

// Load reads the embedded digits.
func Load() (*Data, error) {
	z, err := gzip.NewReader(bytes.NewReader(table))
	if err != nil {
		return nil, fmt.Errorf("digits: %w", err)
	}
	r := csv.NewReader(z)
	r.FieldsPerRecord = Size*Size + 1
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("digits: %w", err)
	}
	if len(rows) <= TrainN {
		return nil, fmt.Errorf("digits: %d rows; wanted more than %d", len(rows), TrainN)
	}
	shuffle := rand.New(rand.NewPCG(2026, 8))
	shuffle.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	d := &Data{}
	for i, row := range rows {
		s := &d.Train
		if i >= TrainN {
			s = &d.Test
		}
		if err := s.add(row); err != nil {
			return nil, fmt.Errorf("digits: row %d: %w", i+1, err)
		}
	}
	return d, nil
}

// add appends a row of 64 pixels from 0 to 16 and a label.
func (s *Set) add(row []string) error {
	for _, f := range row[:Size*Size] {
		v, err := strconv.Atoi(f)
		if err != nil {
			return err
		}
		s.Images = append(s.Images, float32(v)/16)
	}
	label, err := strconv.Atoi(row[Size*Size])
	if err != nil {
		return err
	}
	if label < 0 || label >= Classes {
		return fmt.Errorf("label %d", label)
	}
	s.Labels = append(s.Labels, label)
	return nil
}

// Layer is one layer of the network: its weights are Name.weight, HWIO (the
// dense layer's [K,N]), and Name.bias.
type Layer struct {
	Name            string
	Kernel, Stride  int // Kernel 0: the dense layer, over the flattened input
	Inputs, Outputs int
}

// Layers is the network of zoo/digits-cnn.toml: three convolutions with padding
// 1 and relu, then a dense layer over the 4x4x32 values.
var Layers = []Layer{
	{"conv1", 3, 1, 1, 16},
	{"conv2", 3, 2, 16, 32},
	{"conv3", 3, 1, 32, 32},
	{"fc", 0, 0, 512, Classes},
}

// Weights gives the trained weights by name.
func Weights() (map[string]*ir.Tensor, error) {
	w, err := safetensors.Read(weights)
	if err != nil {
		return nil, fmt.Errorf("digits: %w", err)
	}
	return w, nil
}

// WeightsFile is the safetensors file of the trained weights.
func WeightsFile() []byte { return bytes.Clone(weights) }
