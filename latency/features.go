package latency

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// kernelKey is a row's key taken apart again: what a model can learn from.
type kernelKey struct {
	ops      []string          // by name
	attrs    map[string]string // of all ops; the first of a name counts
	in, w    []shape
	out      []shape
	kernel   string // without the shapes in its name
	family   string // what kind of work it is
	sig      string // all but the extents: keys of one signature differ in size only
	extents  []float64
	features []float64
}

type shape struct {
	dtype string
	dims  []int
}

func (s shape) elems() float64 {
	n := 1.0
	for _, d := range s.dims {
		n *= float64(d)
	}
	return n
}

func (s shape) last() float64 {
	if len(s.dims) == 0 {
		return 1
	}
	return float64(s.dims[len(s.dims)-1])
}

var (
	sizeToken = regexp.MustCompile(`^(\d+(x\d+)*|k\d+x\d+s\d+g\d+)$`)
	bracketed = regexp.MustCompile(`\[[^\]]*\]`)
)

// parseKey reads what Key wrote.
func parseKey(key string) (*kernelKey, error) {
	parts := strings.Split(key, " | ")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%q is no key of a kernel", key)
	}
	k := &kernelKey{attrs: map[string]string{}}
	for _, op := range splitOps(parts[0]) {
		name, attrs, _ := strings.Cut(op, "[")
		k.ops = append(k.ops, name)
		for _, a := range strings.Fields(strings.TrimSuffix(attrs, "]")) {
			n, v, _ := strings.Cut(a, "=")
			if _, ok := k.attrs[n]; !ok {
				k.attrs[n] = v
			}
		}
	}
	in, out, _ := strings.Cut(" "+parts[1]+" ", " -> ")
	for _, f := range strings.Fields(in) {
		if rest, ok := strings.CutPrefix(f, "w:"); ok {
			k.w = append(k.w, parseShape(rest))
		} else {
			k.in = append(k.in, parseShape(f))
		}
	}
	for _, f := range strings.Fields(out) {
		k.out = append(k.out, parseShape(f))
	}
	var tokens []string
	for _, t := range strings.Split(bracketed.ReplaceAllString(parts[2], ""), "_") {
		if t != "" && !sizeToken.MatchString(t) {
			tokens = append(tokens, t)
		}
	}
	k.kernel = strings.Join(tokens, "_")
	k.family = k.kind()
	if len(k.in) > 0 && k.in[0].dtype == "f32" {
		k.family += " f32"
	}
	var sig strings.Builder
	fmt.Fprint(&sig, strings.Join(k.ops, "+"), " ", k.attrs["strides"], k.attrs["padding"], k.attrs["dilation"], k.attrs["kernel"], k.attrs["permutation"], k.attrs["axis"], k.attrs["axes"], k.attrs["transpose_b"], " ", k.kernel)
	for _, list := range [][]shape{k.in, k.w, k.out} {
		sig.WriteByte('|')
		for _, s := range list {
			fmt.Fprint(&sig, s.dtype, len(s.dims), " ")
			for _, d := range s.dims {
				k.extents = append(k.extents, float64(d))
			}
		}
	}
	k.sig = sig.String()
	return k, nil
}

// splitOps cuts at the + between ops, not within attributes.
func splitOps(s string) []string {
	var out []string
	depth, from := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '[':
			depth++
		case ']':
			depth--
		case '+':
			if depth == 0 {
				out, from = append(out, s[from:i]), i+1
			}
		}
	}
	return append(out, s[from:])
}

func parseShape(s string) shape {
	dtype, dims, _ := strings.Cut(strings.TrimSuffix(s, "]"), "[")
	out := shape{dtype: dtype}
	for _, d := range strings.Split(dims, ",") {
		if n, err := strconv.Atoi(d); err == nil {
			out.dims = append(out.dims, n)
		}
	}
	return out
}

// weighty ops decide a kernel's family where they are fused with others.
var weighty = []string{"convolution", "dot", "dot_general", "lstm", "gru", "layer_norm", "softmax"}

// kind is the family: the op that most of the work is for, whatever its types,
// convolutions by how they meet channels.
func (k *kernelKey) kind() string {
	main := k.ops[0]
	for _, op := range k.ops {
		for _, w := range weighty {
			if strings.TrimPrefix(op, "q_") == w {
				main = op
			}
		}
	}
	main = strings.TrimPrefix(main, "q_")
	if main != "convolution" || len(k.w) == 0 || len(k.w[0].dims) < 3 {
		return main
	}
	if m := k.attrs["winograd"]; m != "" && m != "0" {
		return "Winograd convolution"
	}
	w := k.w[0].dims
	switch groups, _ := strconv.Atoi(k.attrs["groups"]); {
	case groups > 1 && w[len(w)-2] == 1:
		return "depthwise convolution"
	case groups > 1:
		return "grouped convolution"
	case w[0] == 1 && w[1] == 1:
		return "pointwise convolution"
	}
	return main
}

// measure fills in what the models look at: sizes on a logarithmic scale, the
// work, and how much of the last tile of rows and channels is filled.
func (k *kernelKey) measure(macs, bytes int64) {
	lg := func(v float64) float64 { return math.Log2(v + 1) }
	first := func(s []shape) shape {
		if len(s) > 0 {
			return s[0]
		}
		return shape{}
	}
	in, w, out := first(k.in), first(k.w), first(k.out)
	taps, inner := 1.0, in.last()
	if n := len(w.dims); n >= 2 {
		inner = float64(w.dims[n-2])
		for _, d := range w.dims[:n-2] {
			taps *= float64(d)
		}
	}
	rows, cols := out.elems()/out.last(), out.last()
	waste := func(n, tile float64) float64 { return math.Ceil(n/tile) * tile / math.Max(n, 1) }
	stride := 1.0
	if s := strings.Trim(k.attrs["strides"], "[]"); s != "" {
		stride, _ = strconv.ParseFloat(strings.Split(s, ",")[0], 64)
	}
	is := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	has := func(part string) float64 { return is(strings.Contains(strings.Join(k.ops, "+"), part)) }
	k.features = []float64{
		lg(float64(macs)), lg(float64(bytes)), lg(in.elems()), lg(w.elems()), lg(out.elems()),
		lg(rows), lg(cols), lg(inner), lg(taps), lg(in.last()), stride,
		waste(cols, 16), waste(cols, 32), waste(cols, 64), waste(rows, 6), waste(rows, 7), waste(rows, 16), waste(inner*taps, 4), waste(inner*taps, 64),
		float64(len(k.in)), float64(len(k.ops)), has("lookup"), has("add"), has("multiply"),
		is(out.dtype == "f32"), is(in.dtype == "f32"), is(out.dtype == "s8"), lg(math.Max(float64(bytes)-48<<10, 0)), lg(math.Max(w.elems(), in.elems()) / 4096),
		lg(innerRun(k)),
	}
}

// innerRun is what a mover moves in one piece: the extent after the last axis
// that is permuted, joined or reduced.
func innerRun(k *kernelKey) float64 {
	if len(k.in) == 0 {
		return 0
	}
	p := strings.Split(strings.Trim(k.attrs["permutation"], "[]"), ",")
	run := 1.0
	for i := len(k.in[0].dims) - 1; i >= 0; i-- {
		run *= float64(k.in[0].dims[i])
		if len(p) == len(k.in[0].dims) && p[i] != strconv.Itoa(i) {
			break
		}
	}
	return run
}

// similar is how much one kernel tells of another of its family, below 1: less
// with each doubling of an extent.
func (k *kernelKey) similar(o *kernelKey) float64 {
	if k.family != o.family || len(k.extents) != len(o.extents) {
		return 0
	}
	d := 0.0
	for i, e := range k.extents {
		l := math.Log2(e / o.extents[i])
		d += l * l
	}
	s := 0.9 * math.Exp(-math.Sqrt(d)/2)
	if k.attrs["strides"] != o.attrs["strides"] {
		s *= 0.3
	}
	return s
}
