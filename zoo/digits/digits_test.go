package digits

import (
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

func TestLoad(t *testing.T) {
	d, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if d.Train.Len() != TrainN || d.Test.Len() != 597 {
		t.Fatalf("%d and %d digits, want %d and 597", d.Train.Len(), d.Test.Len(), TrainN)
	}
	for _, s := range []*Set{&d.Train, &d.Test} {
		var count [Classes]int
		for _, l := range s.Labels {
			count[l]++
		}
		for l, n := range count {
			if n < s.Len()/15 {
				t.Errorf("only %d of %d digits are a %d", n, s.Len(), l)
			}
		}
		for i, v := range s.Images {
			if v < 0 || v > 1 {
				t.Fatalf("pixel %d is %g", i, v)
			}
		}
	}
	if im := d.Test.Image(3); !im.Shape.Equal(ir.Shape{1, Size, Size, 1}) || im.F32()[20] != d.Test.Images[3*64+20] {
		t.Errorf("image 3 is %v", im.Shape)
	}
}

// TestWeights runs the network in plain loops over the test digits.
func TestWeights(t *testing.T) {
	d, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	w, err := Weights()
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for i, label := range d.Test.Labels {
		x, size := d.Test.Image(i).F32(), Size
		for _, l := range Layers {
			x, size = layer(l, w[l.Name+".weight"].F32(), w[l.Name+".bias"].F32(), x, size)
		}
		best := 0
		for c, v := range x {
			if v > x[best] {
				best = c
			}
		}
		if best == label {
			right++
		}
	}
	t.Logf("%d of %d right", right, d.Test.Len())
	if right*100 < 98*d.Test.Len() {
		t.Errorf("%d of %d right, want 98 %%", right, d.Test.Len())
	}
}

func layer(l Layer, w, b, x []float32, size int) ([]float32, int) {
	if l.Kernel == 0 {
		y := make([]float32, l.Outputs)
		for j := range y {
			y[j] = b[j]
			for i, v := range x {
				y[j] += v * w[i*l.Outputs+j]
			}
		}
		return y, 1
	}
	o := (size-1)/l.Stride + 1
	y := make([]float32, o*o*l.Outputs)
	for i := range y {
		k, col, row := i%l.Outputs, i/l.Outputs%o, i/l.Outputs/o
		sum := b[k]
		for kh := range l.Kernel {
			for kw := range l.Kernel {
				r, c := row*l.Stride+kh-l.Kernel/2, col*l.Stride+kw-l.Kernel/2
				if r < 0 || c < 0 || r >= size || c >= size {
					continue
				}
				for in := range l.Inputs {
					sum += x[(r*size+c)*l.Inputs+in] * w[((kh*l.Kernel+kw)*l.Inputs+in)*l.Outputs+k]
				}
			}
		}
		y[i] = max(sum, 0)
	}
	return y, o
}
