package evaluate

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
)

// Set is labelled data, read once, in a part to train on and one to judge by.
type Set struct {
	Train, Valid data.Source
	Full, Judge  data.Source // before Shorten; nil: as they are
	Input        []int       // a sample's shape as networks take it: [H,W,C] of pictures
	Classes      int
	Preprocess   *nascfile.Preprocess // of pictures; nil: tensors
}

// keptBytes bounds the samples kept in memory; larger sets are read anew each
// time.
const keptBytes = 1 << 30

// Load opens a DATA argument and splits off the given share of each class, by
// the seed, to judge by. valid, where given, is a DATA argument that takes that
// part's place.
func Load(train, valid string, share float64, seed uint64) (*Set, error) {
	return (&Set{}).load(train, valid, share, seed)
}

// LoadFor is Load for a network that is there already: pictures become inputs
// in its way.
func LoadFor(g *ir.Graph, pre *nascfile.Preprocess, train, valid string, share float64, seed uint64) (*Set, error) {
	if len(g.Inputs) != 1 {
		return nil, &diag.Error{Place: "network @" + g.Name, Found: fmt.Sprintf("%d inputs", len(g.Inputs)), Wanted: "one"}
	}
	s := &Set{Input: g.Inputs[0].Type.Shape[1:]}
	if pre != nil {
		p := *pre
		p.Assumed = false // the networks are trained on it
		s.Preprocess = &p
	}
	return s.load(train, valid, share, seed)
}

func (s *Set) load(train, valid string, share float64, seed uint64) (*Set, error) {
	own := s.Input != nil // a network's
	src, err := data.Open(train)
	if err != nil {
		return nil, err
	}
	if valid == "" && !(share > 0 && share < 1) {
		return nil, &diag.Error{Place: "validation share", Found: fmt.Sprint(share), Wanted: "more than 0 and less than 1"}
	}
	first, err := src.Sample(0)
	if err != nil {
		return nil, err
	}
	if err := s.shape(first); err != nil {
		return nil, diag.At("data "+train, err)
	}
	all, err := s.kept(src, train)
	if err != nil {
		return nil, err
	}
	if valid != "" {
		other, err := data.Open(valid)
		if err != nil {
			return nil, err
		}
		judge, err := s.kept(other, valid)
		if err != nil {
			return nil, err
		}
		if s.Train, s.Valid = all, judge; own {
			return s, nil // the network says what its input is made of
		}
		return s, diag.At("--val "+valid, judge.like(all))
	}
	byClass := make([][]int, s.Classes)
	for i, l := range all.labels {
		byClass[l] = append(byClass[l], i)
	}
	r := rand.New(rand.NewPCG(seed, 0x76616c6964))
	var held, rest []int
	for _, index := range byClass {
		r.Shuffle(len(index), func(a, b int) { index[a], index[b] = index[b], index[a] })
		k := int(share*float64(len(index)) + 0.5)
		held, rest = append(held, index[:k]...), append(rest, index[k:]...)
	}
	slices.Sort(held)
	slices.Sort(rest)
	if len(held) == 0 || len(rest) == 0 {
		return nil, &diag.Error{Place: "data " + train, Found: fmt.Sprintf("%d samples", src.Len()), Wanted: "enough for a part to train on and one to judge by"}
	}
	s.Train, s.Valid = &part{all, rest}, &part{all, held}
	return s, nil
}

// Shorten leaves n samples to train on, drawn by the seed, and as many to judge
// by; last trainings still see all.
func (s *Set) Shorten(n int, seed uint64) {
	draw := func(of data.Source, salt uint64) data.Source {
		index := rand.New(rand.NewPCG(seed, salt)).Perm(of.Len())[:n]
		slices.Sort(index)
		return &part{of, index}
	}
	if n <= 0 || n >= s.Train.Len() {
		return
	}
	s.Full, s.Train = s.Train, draw(s.Train, 0x73686f7274)
	if n < s.Valid.Len() {
		s.Judge, s.Valid = s.Valid, draw(s.Valid, 0x6a75646765)
	}
}

// all is what there is to train on and to judge by.
func (s *Set) all() [2]data.Source {
	out := [2]data.Source{s.Train, s.Valid}
	if s.Full != nil {
		out[0] = s.Full
	}
	if s.Judge != nil {
		out[1] = s.Judge
	}
	return out
}

// Samples is how many samples there are to train on.
func (s *Set) Samples() int { return s.all()[0].Len() }

// Digest is a hash of all samples as networks get them, and of their labels.
func (s *Set) Digest() (string, error) {
	h := sha256.New() // a hash does not fail
	for _, src := range s.all() {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(src.Len())))
		for i := range src.Len() {
			x, err := src.Sample(i)
			if err != nil {
				return "", err
			}
			h.Write(binary.LittleEndian.AppendUint64(nil, uint64(x.Label)))
			h.Write(x.Tensors[""].RawBytes())
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// shape finds how a sample becomes an input.
func (s *Set) shape(x data.Sample) error {
	if s.Input != nil { // a network's
		if x.Picture != nil && s.Preprocess == nil {
			return &diag.Error{Found: "pictures", Wanted: "tensors: the network's input is no picture", Fix: "say how with --preprocess"}
		}
		return nil
	}
	if p := x.Picture; p != nil {
		s.Input = []int{p.H, p.W, p.C}
		s.Preprocess = data.Assume(ir.T(ir.F32, ir.Batch, p.H, p.W, p.C))
		if s.Preprocess == nil || s.Preprocess.Layout != "nhwc" {
			return &diag.Error{Found: fmt.Sprintf("pictures of %d×%d", p.H, p.W), Wanted: "at least 4×4"}
		}
		s.Preprocess.Assumed = false // the networks are trained on it
		return nil
	}
	t := x.Tensors[""]
	if t == nil || len(x.Tensors) != 1 {
		return &diag.Error{Found: fmt.Sprintf("samples of %d tensors", len(x.Tensors)), Wanted: "one input"}
	}
	s.Input = slices.Clone([]int(t.Shape))
	if len(s.Input) == 2 { // gray pictures without their channel axis
		s.Input = append(s.Input, 1)
	}
	return nil
}

// kept reads all labels, and the samples too where they fit.
func (s *Set) kept(src data.Source, arg string) (*kept, error) {
	k := &kept{Source: src, set: s, labels: make([]int, src.Len())}
	if int64(4*ir.Shape(s.Input).Elems())*int64(src.Len()) <= keptBytes {
		k.tensors = make([]*ir.Tensor, src.Len())
	}
	for i := range k.labels {
		x, err := src.Sample(i)
		if err != nil {
			return nil, diag.At("data "+arg, err)
		}
		if x.Label < 0 {
			return nil, &diag.Error{Place: fmt.Sprintf("data %s, sample %d", arg, i), Found: "no label", Wanted: "labelled data"}
		}
		if form := formOf(x); i == 0 {
			k.form = form
		} else if form != k.form {
			k.form = form.without(k.form)
		}
		k.labels[i] = x.Label
		s.Classes = max(s.Classes, x.Label+1)
	}
	return k, nil
}

// kept is a source whose samples are kept as the tensors they become.
type kept struct {
	data.Source
	set     *Set
	labels  []int
	form    form // of all samples
	mu      sync.Mutex
	tensors []*ir.Tensor
}

// form is what samples are before they become inputs: pictures or tensors, and how
// large. 0 stands for what differs among them.
type form struct {
	picture    bool
	h, w, c    int
	dimensions string // of tensors
}

func formOf(x data.Sample) form {
	if p := x.Picture; p != nil {
		return form{picture: true, h: p.H, w: p.W, c: p.C}
	}
	if t := x.Tensors[""]; t != nil {
		return form{dimensions: fmt.Sprint(t.Shape)}
	}
	return form{}
}

// without leaves out of f where o differs.
func (f form) without(o form) form {
	if f.h != o.h || f.w != o.w {
		f.h, f.w = 0, 0
	}
	if f.c != o.c {
		f.c = 0
	}
	return f
}

func (f form) String() string {
	if !f.picture {
		return "tensors " + f.dimensions
	}
	size, colour := fmt.Sprintf("%d×%d", f.w, f.h), map[int]string{1: "gray ", 3: "colour "}[f.c]
	if f.h == 0 {
		size = "several sizes"
	}
	return colour + "pictures of " + size
}

// like says where what networks are judged by is of another form than what they
// are trained on, which pictures are silently resized to.
func (k *kept) like(train *kept) error {
	a, b := train.form, k.form
	if a.picture == b.picture && a.dimensions == b.dimensions && (a.h == 0 || a.h == b.h && a.w == b.w) && (a.c == 0 || a.c == b.c) {
		return nil
	}
	return &diag.Error{Found: b.String(), Wanted: a.String() + ", as --data has them", Fix: "judge by data of the kind that is trained on, or leave --val out for a share of --data"}
}

// Sample gives sample i as a tensor.
func (k *kept) Sample(i int) (data.Sample, error) {
	if k.tensors != nil {
		k.mu.Lock()
		t := k.tensors[i]
		k.mu.Unlock()
		if t != nil {
			return data.Sample{Tensors: map[string]*ir.Tensor{"": t}, Label: k.labels[i]}, nil
		}
	}
	x, err := k.Source.Sample(i)
	if err != nil {
		return x, err
	}
	t := x.Tensors[""]
	if x.Picture != nil {
		if t, err = x.Picture.Input(k.set.Preprocess); err != nil {
			return x, err
		}
	}
	if t == nil {
		return x, &diag.Error{Place: fmt.Sprintf("sample %d", i), Found: "no tensor", Wanted: "one input"}
	}
	if k.tensors != nil {
		k.mu.Lock()
		k.tensors[i] = t
		k.mu.Unlock()
	}
	return data.Sample{Tensors: map[string]*ir.Tensor{"": t}, Label: x.Label}, nil
}

// part is a selection of a source.
type part struct {
	data.Source
	index []int
}

func (p *part) Len() int                          { return len(p.index) }
func (p *part) Sample(i int) (data.Sample, error) { return p.Source.Sample(p.index[i]) }
