package data

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
)

// Feed turns the samples of a source into the inputs of a model, a batch of
// one each. It is what calibration and evaluation read.
type Feed struct {
	Source     Source
	Inputs     []*ir.Value
	Preprocess *nascfile.Preprocess // for pictures
}

// NewFeed checks that the first sample fits the model.
func NewFeed(s Source, inputs []*ir.Value, pp *nascfile.Preprocess) (*Feed, error) {
	f := &Feed{s, inputs, pp}
	_, err := f.At(0)
	return f, err
}

// OpenFeed is NewFeed of what a DATA argument names.
func OpenFeed(arg string, inputs []*ir.Value, pp *nascfile.Preprocess) (*Feed, error) {
	s, err := Open(arg)
	if err != nil {
		return nil, err
	}
	return NewFeed(s, inputs, pp)
}

// Len is the number of samples.
func (f *Feed) Len() int { return f.Source.Len() }

// At gives the inputs of sample i.
func (f *Feed) At(i int) ([]*ir.Tensor, error) {
	in, _, err := f.Labelled(i)
	return in, err
}

// Labelled gives the inputs of sample i and its class, −1 where there is none.
func (f *Feed) Labelled(i int) ([]*ir.Tensor, int, error) {
	s, err := f.Source.Sample(i)
	if err != nil {
		return nil, 0, err
	}
	if s.Picture != nil {
		if f.Preprocess == nil || len(f.Inputs) != 1 {
			return nil, 0, &diag.Error{
				Place: fmt.Sprintf("sample %d", i), Found: "a picture for inputs " + types(f.Inputs), Wanted: "one input that is a picture",
				Fix: "give tensors as npy:NAME=FILE.npy, or say how with --preprocess",
			}
		}
		t, err := s.Picture.Input(f.Preprocess)
		if err != nil {
			return nil, 0, diag.At(fmt.Sprintf("sample %d", i), err)
		}
		s.Tensors = map[string]*ir.Tensor{"": t}
	}
	in := make([]*ir.Tensor, len(f.Inputs))
	used := 0
	for k, v := range f.Inputs {
		t := s.Tensors[v.Name]
		if t == nil && k == 0 {
			t = s.Tensors[""]
		}
		if t == nil {
			if v.Type.DType.IsInt() && k > 0 { // token types and the like are zeros
				in[k] = ir.NewTensor(v.Type.DType, v.Type.Shape.With(1)...)
				continue
			}
			return nil, 0, &diag.Error{Place: fmt.Sprintf("sample %d", i), Found: "nothing for input " + v.Name, Wanted: v.Type.String(), Fix: "give npy:" + v.Name + "=FILE.npy"}
		}
		used++
		if in[k], err = Fit(t, v); err == nil {
			err = number(in[k])
		}
		if err != nil {
			return nil, 0, diag.At(fmt.Sprintf("sample %d, input %s", i, v.Name), err)
		}
	}
	if used < len(s.Tensors) {
		return nil, 0, &diag.Error{Place: fmt.Sprintf("sample %d", i), Found: "tensors for inputs that the model has not: " + strings.Join(f.unknown(s), ", "), Wanted: types(f.Inputs) + ", and labels"}
	}
	return in, s.Label, nil
}

// unknown lists the names of a sample's tensors that are not inputs.
func (f *Feed) unknown(s Sample) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.Tensors)) {
		if !slices.ContainsFunc(f.Inputs, func(v *ir.Value) bool { return v.Name == name }) {
			out = append(out, name)
		}
	}
	return out
}

// number refuses NaN, of which one makes a mean, a range or a gradient NaN. An
// infinite number may be meant: it masks what a softmax reads.
func number(t *ir.Tensor) error {
	at := -1
	switch {
	case t.DType == ir.F32: // nearly always, and At is slow
		at = slices.IndexFunc(t.F32(), func(x float32) bool { return x != x })
	case t.DType.IsFloat():
		for i := 0; i < t.Len() && at < 0; i++ {
			if math.IsNaN(t.At(i)) {
				at = i
			}
		}
	}
	if at < 0 {
		return nil
	}
	return &diag.Error{Found: fmt.Sprintf("element %d is NaN", at), Wanted: "numbers", Fix: "mend the file, or leave the sample out"}
}

// Fit brings a sample to the type of an input with a batch of one: adds the
// batch axis and converts numbers; another shape is refused. A picture of one
// channel may come without its channel axis, or with it on the other side.
func Fit(t *ir.Tensor, v *ir.Value) (*ir.Tensor, error) {
	want := v.Type.Shape.With(1)
	t, err := Convert(t, v.Type.DType)
	if err != nil {
		return nil, err
	}
	if t.Shape.Equal(want) {
		return t, nil
	}
	if squeezed(t.Shape).Equal(squeezed(want)) {
		return t.Reshaped(want...), nil
	}
	e := &diag.Error{Found: "a sample of shape " + t.Shape.String(), Wanted: v.Type.Shape.String()}
	if n := want[:min(1, len(want))].Elems(); n > 1 && n*t.Len() == want.Elems() {
		e.Fix = fmt.Sprintf("the model takes %d samples at once, always: make it with a free first axis (N)", n)
	}
	return nil, e
}

// Convert brings a tensor to another element type. Floats are rounded to a
// narrower one; a number that an integer type does not hold is refused.
func Convert(t *ir.Tensor, d ir.DType) (*ir.Tensor, error) {
	out := t.Converted(d)
	if !d.IsInt() || out == t {
		return out, nil
	}
	for i := range t.Len() {
		if x := t.At(i); out.At(i) != x {
			return nil, &diag.Error{Found: fmt.Sprintf("element %d is %v", i, x), Wanted: "whole numbers that " + d.String() + " holds", Fix: "convert them as the model's inputs are meant"}
		}
	}
	return out, nil
}

// squeezed drops extents of 1.
func squeezed(s ir.Shape) ir.Shape {
	out := ir.Shape{}
	for _, d := range s {
		if d != 1 {
			out = append(out, d)
		}
	}
	return out
}

func types(vs []*ir.Value) string {
	s := make([]string, len(vs))
	for i, v := range vs {
		s[i] = v.Name + " " + v.Type.String()
	}
	return strings.Join(s, ", ")
}

// Digest is a hash of all inputs, for the record.
func (f *Feed) Digest() (string, error) {
	h := sha256.New()
	for i := range f.Len() {
		in, err := f.At(i)
		if err != nil {
			return "", err
		}
		for _, t := range in {
			h.Write(t.RawBytes()) // a hash does not fail
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Random is a feed of seeded random inputs, for timing only.
type Random struct {
	Inputs []*ir.Value
	N      int
	Draw   func(i int) []*ir.Tensor
}

// Len is the number of samples.
func (r *Random) Len() int { return r.N }

// At gives sample i.
func (r *Random) At(i int) ([]*ir.Tensor, error) { return r.Draw(i), nil }
