// Package data opens the data sets that commands name (digits, mnist:DIR,
// m2k:DIR and m2k-test:DIR, cifar10:FILE, images:LABELS.tsv, idx:IMAGES,LABELS, npy:X.npy,Y.npy) and
// turns samples into the inputs of a model. Samples are read one at a time:
// memory does not grow with the set. It may not import passes or backends.
package data

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// Sample is one example: a picture, or tensors that go into the model as they
// are (without the batch axis).
type Sample struct {
	Picture *Picture
	Tensors map[string]*ir.Tensor // by input name; "" is the first input
	Label   int                   // −1 where there is none
}

// Source gives samples by index.
type Source interface {
	Len() int
	Sample(i int) (Sample, error)
}

// Kinds lists the forms of DATA for messages and help.
const Kinds = "digits, mnist:DIR, m2k:DIR or m2k-test:DIR (MNIST at 14×14, 2,000 to train on), cifar10:FILE.bin[.gz], images:LABELS.tsv, idx:IMAGES,LABELS or npy:X.npy,Y.npy (of several inputs npy:NAME=A.npy,NAME=B.npy,labels=Y.npy), with [a:b] or ?seed=7&n=100 at the end"

// Open reads a DATA argument.
func Open(arg string) (Source, error) {
	spec, rest := arg, ""
	if i := strings.LastIndex(spec, "?"); i >= 0 {
		spec, rest = spec[:i], spec[i+1:]
	}
	lo, hi := 0, -1
	if strings.HasSuffix(spec, "]") {
		i := strings.LastIndex(spec, "[")
		if i < 0 {
			return nil, bad(arg, "a ] without [")
		}
		a, b, ok := strings.Cut(spec[i+1:len(spec)-1], ":")
		if !ok {
			return nil, bad(arg, "a range without :")
		}
		var err error
		if a != "" {
			if lo, err = strconv.Atoi(a); err != nil || lo < 0 {
				return nil, &diag.Error{Place: "data " + arg, Found: "range start " + strconv.Quote(a), Wanted: "a whole number from 0 on"}
			}
		}
		if b != "" {
			if hi, err = strconv.Atoi(b); err != nil || hi < lo {
				return nil, &diag.Error{Place: "data " + arg, Found: "range end " + strconv.Quote(b), Wanted: fmt.Sprintf("a whole number from %d on", lo)}
			}
		}
		spec = spec[:i]
	}
	kind, path, _ := strings.Cut(spec, ":")
	open, ok := map[string]func(string) (Source, error){
		"digits": openDigits, "mnist": openMNIST, "m2k": openM2K, "m2k-test": openM2KTest, "cifar10": openCIFAR, "images": openImages, "idx": openIDX, "npy": openNPY,
	}[kind]
	if !ok {
		return nil, bad(arg, strconv.Quote(kind))
	}
	s, err := open(path)
	if err != nil {
		return nil, diag.At("data "+arg, err)
	}
	if hi < 0 || hi > s.Len() {
		if hi > s.Len() {
			return nil, &diag.Error{Place: "data " + arg, Found: fmt.Sprintf("a range up to %d", hi), Wanted: fmt.Sprintf("at most %d, the size of the set", s.Len())}
		}
		hi = s.Len()
	}
	if lo > hi {
		return nil, &diag.Error{Place: "data " + arg, Found: fmt.Sprintf("a range from %d", lo), Wanted: fmt.Sprintf("less than %d, the size of the set", s.Len())}
	}
	index := make([]int, 0, hi-lo)
	for i := lo; i < hi; i++ {
		index = append(index, i)
	}
	if rest != "" {
		q, err := url.ParseQuery(rest)
		if err != nil {
			return nil, bad(arg, strconv.Quote(rest))
		}
		for k := range q {
			if k != "seed" && k != "n" {
				return nil, bad(arg, "option "+strconv.Quote(k))
			}
		}
		n, seed := len(index), uint64(0)
		if v := q.Get("n"); v != "" {
			if n, err = strconv.Atoi(v); err != nil || n < 1 || n > len(index) {
				return nil, &diag.Error{Place: "data " + arg, Found: "n=" + v, Wanted: fmt.Sprintf("1 to %d", len(index))}
			}
		}
		if v := q.Get("seed"); v != "" {
			if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
				return nil, bad(arg, "seed="+v)
			}
		}
		rand.New(rand.NewPCG(seed, 0x64617461)).Shuffle(len(index), func(i, j int) { index[i], index[j] = index[j], index[i] })
		index = index[:n]
		slices.Sort(index)
	}
	if len(index) == 0 {
		return nil, &diag.Error{Place: "data " + arg, Found: "no samples", Wanted: "one or more"}
	}
	return &part{s, index}, nil
}

func bad(arg, found string) error {
	return &diag.Error{Place: "data " + arg, Found: found, Wanted: Kinds}
}

// part is a selection of a source.
type part struct {
	Source
	index []int
}

func (p *part) Len() int                     { return len(p.index) }
func (p *part) Sample(i int) (Sample, error) { return p.Source.Sample(p.index[i]) }
