package nascfile

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Manifest is what a file says of its model besides the graphs.
type Manifest struct {
	Producer     string   // nasc and its version
	Source       string   // name of the file the model came from
	SourceSHA256 string   // of its bytes, in hex
	Target       string   // what it was compiled for: cpu-int8, …
	Passes       []string // run, in order
	Calibration  Calibration
	Preprocess   *Preprocess // how pictures become the input; nil: raw tensors only
	Labels       []string    // of the classes, in order
	Notes        map[string]string
	Tuned        Tuned
}

// Tuned names the kernels that measured fastest on one device: another device
// takes its own choice.
type Tuned struct {
	Device  string
	Kernels map[string]string // by the layer's label
}

// On gives the kernels for a device; nil where the file has none for it.
func (t Tuned) On(device string) map[string]string {
	if device == "" || t.Device != device {
		return nil
	}
	return t.Kernels
}

// Calibration says how activation ranges were found.
type Calibration struct {
	Data    string // the DATA given, or "synthetic"
	Samples int
	Digest  string // of the inputs, in hex
	Method  string
}

// Preprocess is how a picture becomes the input tensor: resized so that its
// shorter side has Resize pixels (0: not unless it is smaller than the crop),
// centre-cropped to Height × Width, scaled by Scale (1/255), then (v − Mean) /
// Std per channel, in the given Layout and channel order.
type Preprocess struct {
	Layout        string // nchw or nhwc
	Order         string // rgb, bgr or gray
	Resize        int
	Height, Width int
	Scale         float64
	Mean, Std     []float64
	Assumed       bool // nobody said so: nasc's guess for such inputs
}

// maxSide bounds the pictures that a file may ask for.
const maxSide = 1 << 14

// Check says what of p cannot be carried out.
func (p *Preprocess) Check() error {
	channels := 3
	if p.Order == "gray" {
		channels = 1
	}
	bad := func(key string, found any, wanted string) error {
		return &diag.Error{Place: key, Found: fmt.Sprint(found), Wanted: wanted}
	}
	switch {
	case p.Layout != "nchw" && p.Layout != "nhwc":
		return bad("layout", strconv.Quote(p.Layout), "nchw or nhwc")
	case p.Order != "rgb" && p.Order != "bgr" && p.Order != "gray":
		return bad("order", strconv.Quote(p.Order), "rgb, bgr or gray")
	case p.Height < 1 || p.Height > maxSide:
		return bad("height", p.Height, fmt.Sprintf("1 to %d", maxSide))
	case p.Width < 1 || p.Width > maxSide:
		return bad("width", p.Width, fmt.Sprintf("1 to %d", maxSide))
	case p.Resize < 0 || p.Resize > maxSide:
		return bad("resize", p.Resize, fmt.Sprintf("0 (off) to %d", maxSide))
	case !(math.Abs(p.Scale) <= math.MaxFloat32):
		return bad("scale", p.Scale, "a finite number, such as 0.00392156862745098 (1/255)")
	}
	for _, l := range []struct {
		key    string
		values []float64
	}{{"mean", p.Mean}, {"std", p.Std}} {
		if n := len(l.values); n > 1 && n != channels {
			return bad(l.key, fmt.Sprintf("%d numbers", n), fmt.Sprintf("1 or %d", channels))
		}
		for _, v := range l.values {
			if !(math.Abs(v) <= math.MaxFloat32) || l.key == "std" && v == 0 {
				return bad(l.key, v, "finite numbers; a std is not 0")
			}
		}
	}
	return nil
}

func (m *Manifest) encode(format int) []byte {
	var w tomlWriter
	w.key("format", format)
	w.key("producer", m.Producer)
	w.key("source", m.Source)
	w.key("source_sha256", m.SourceSHA256)
	w.key("target", m.Target)
	w.key("passes", m.Passes)
	w.key("labels", m.Labels)
	if c := m.Calibration; c != (Calibration{}) {
		w.table("calibration")
		w.key("data", c.Data)
		w.key("samples", c.Samples)
		w.key("digest", c.Digest)
		w.key("method", c.Method)
	}
	if p := m.Preprocess; p != nil {
		w.table("preprocess")
		w.key("layout", p.Layout)
		w.key("order", p.Order)
		w.key("resize", p.Resize)
		w.key("height", p.Height)
		w.key("width", p.Width)
		w.key("scale", p.Scale)
		w.key("mean", p.Mean)
		w.key("std", p.Std)
		w.key("assumed", p.Assumed)
	}
	if len(m.Notes) > 0 {
		w.table("notes")
		for _, k := range slices.Sorted(maps.Keys(m.Notes)) {
			w.pair(k, tomlString(m.Notes[k]))
		}
	}
	if t := m.Tuned; t.Device != "" && len(t.Kernels) > 0 {
		w.table("tuned")
		w.key("device", t.Device)
		w.table("tuned_kernels")
		for _, k := range slices.Sorted(maps.Keys(t.Kernels)) {
			w.pair(k, tomlString(t.Kernels[k]))
		}
	}
	return w.b.Bytes()
}

// decodeManifest reads a manifest; keys it does not know are skipped, so that
// files of one format version may say more.
func decodeManifest(file string, text []byte) (*Manifest, error) {
	doc, err := parseTOML(file, string(text))
	if err != nil {
		return nil, err
	}
	root := doc[""]
	v, ok := root["format"].(int64)
	switch {
	case !ok:
		return nil, &diag.Error{Place: file, Found: "no format version", Wanted: "format = " + strconv.Itoa(Version)}
	case v > Version:
		return nil, &diag.Error{Place: file, Found: fmt.Sprintf("format %d", v), Wanted: fmt.Sprintf("%d or less", Version), Fix: "a newer nasc wrote this file: update nasc"}
	case v < 1:
		return nil, &diag.Error{Place: file, Found: fmt.Sprintf("format %d", v), Wanted: "1 or more"}
	}
	d := &decoder{file: file}
	m := &Manifest{
		Producer: get[string](d, root, "producer"), Source: get[string](d, root, "source"), SourceSHA256: get[string](d, root, "source_sha256"),
		Target: get[string](d, root, "target"), Passes: list[string](d, root, "passes"), Labels: list[string](d, root, "labels"),
	}
	if t := doc["calibration"]; t != nil {
		m.Calibration = Calibration{
			Data: get[string](d, t, "data"), Samples: int(get[int64](d, t, "samples")), Digest: get[string](d, t, "digest"), Method: get[string](d, t, "method"),
		}
	}
	if t := doc["preprocess"]; t != nil {
		m.Preprocess = &Preprocess{
			Layout: get[string](d, t, "layout"), Order: get[string](d, t, "order"), Resize: int(get[int64](d, t, "resize")),
			Height: int(get[int64](d, t, "height")), Width: int(get[int64](d, t, "width")), Scale: get[float64](d, t, "scale"),
			Mean: list[float64](d, t, "mean"), Std: list[float64](d, t, "std"), Assumed: get[bool](d, t, "assumed"),
		}
	}
	if m.Preprocess != nil && d.err == nil {
		d.err = diag.At(file+": preprocess", m.Preprocess.Check())
	}
	if t := doc["notes"]; len(t) > 0 {
		m.Notes = map[string]string{}
		for k := range t {
			m.Notes[k] = get[string](d, t, k)
		}
	}
	if t := doc["tuned"]; t != nil {
		m.Tuned.Device = get[string](d, t, "device")
		m.Tuned.Kernels = map[string]string{}
		for k := range doc["tuned_kernels"] {
			m.Tuned.Kernels[k] = get[string](d, doc["tuned_kernels"], k)
		}
	}
	return m, d.err
}

// decoder keeps the first value of a wrong type.
type decoder struct {
	file string
	err  error
}

func get[T any](d *decoder, t map[string]any, key string) T {
	var zero T
	v, ok := t[key]
	if !ok {
		return zero
	}
	if i, isInt := v.(int64); isInt {
		if _, wantFloat := any(zero).(float64); wantFloat {
			v = float64(i)
		}
	}
	x, ok := v.(T)
	if !ok && d.err == nil {
		d.err = &diag.Error{Place: d.file + ": " + key, Found: fmt.Sprintf("%v", v), Wanted: fmt.Sprintf("a %T", zero)}
	}
	return x
}

func list[T any](d *decoder, t map[string]any, key string) []T {
	v, ok := t[key]
	if !ok {
		return nil
	}
	l, ok := v.([]any)
	if !ok {
		if d.err == nil {
			d.err = &diag.Error{Place: d.file + ": " + key, Found: fmt.Sprintf("%v", v), Wanted: "a list"}
		}
		return nil
	}
	out := make([]T, len(l))
	for i, e := range l {
		out[i] = get[T](d, map[string]any{key: e}, key)
	}
	return out
}
