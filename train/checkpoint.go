package train

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/safetensors"
	"github.com/nasc-dev/nasc/ir"
)

// state is everything a training goes on from.
type state struct {
	Step    int     // done
	Config  Config  // that it was begun with
	Epochs  []Epoch // finished
	Sums    sums    // of the epoch that is not
	Data    string  // a digest of what it is trained on; "": not known
	Sum     uint32  // of the tensors' bytes; 0: not known
	tensors []ir.NamedTensor
}

// sum is a checksum of the tensors.
func (s *state) sum() uint32 {
	h := crc32.NewIEEE()
	for _, t := range s.tensors {
		h.Write(t.Tensor.RawBytes()) // a hash does not fail
	}
	return h.Sum32()
}

// readState parses a checkpoint file: its state, and its tensors by name.
func readState(path string) (*state, map[string]*ir.Tensor, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, diag.At(path, err)
	}
	bad := func(found string, err error) error {
		return &diag.Error{Place: path, Found: found, Wanted: "a checkpoint of nasc train", Err: err}
	}
	ts, err := safetensors.Read(b)
	if err != nil {
		return nil, nil, bad("", err)
	}
	meta := ts["nasc.state"]
	if meta == nil || meta.DType != ir.U8 {
		return nil, nil, bad("another file", nil)
	}
	s := &state{}
	if err := json.Unmarshal(meta.U8(), s); err != nil {
		return nil, nil, bad("", err)
	}
	if s.Step < 0 {
		return nil, nil, bad(fmt.Sprintf("step %d", s.Step), nil)
	}
	return s, ts, nil
}

// replaceable refuses to write a checkpoint over a file that is none.
func replaceable(path string) error {
	if st, err := os.Stat(path); err != nil || st.Mode().IsRegular() && st.Size() == 0 {
		return nil // there is nothing to lose
	}
	if _, _, err := readState(path); err != nil {
		return &diag.Error{Place: "--checkpoint", Err: err, Fix: "give another name, or remove the file"}
	}
	return nil
}

// save writes a checkpoint in one go: after a crash at any moment the file is
// the old one or the new one, whole.
func (s *state) save(path string) error {
	s.Sum = s.sum()
	meta, err := json.Marshal(s)
	if err != nil {
		return err
	}
	ts := append([]ir.NamedTensor{{Name: "nasc.state", Tensor: ir.From(meta, len(meta))}}, s.tensors...)
	f, err := os.CreateTemp(filepath.Dir(path), ".ckpt-*")
	if err != nil {
		return &diag.Error{Place: path, Found: "a place that cannot be written", Err: err}
	}
	defer os.Remove(f.Name()) // gone after the rename
	if err := safetensors.Write(f, ts); err != nil {
		f.Close()
		return diag.At(path, err)
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return diag.At(path, err)
	}
	if err := f.Close(); err != nil {
		return diag.At(path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return diag.At(path, err)
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		defer d.Close()
		_ = d.Sync() // not every file system syncs folders; the rename is done
	}
	return nil
}

// load reads a checkpoint into the tensors of s, which say names and shapes.
func (s *state) load(path string) error {
	old, ts, err := readState(path)
	if err != nil {
		return err
	}
	bad := func(found string) error {
		return &diag.Error{Place: path, Found: found, Wanted: "a checkpoint of this network", Fix: "start anew without --resume"}
	}
	if k := changed(reflect.ValueOf(old.Config), reflect.ValueOf(s.Config)); k != "" {
		return &diag.Error{Place: path, Found: "another " + k, Wanted: "the settings that the training began with", Fix: "give the same, or start anew without --resume"}
	}
	if old.Data != "" && s.Data != "" && old.Data != s.Data {
		return &diag.Error{Place: path, Found: "a training on other data", Wanted: "the data that it began with", Fix: "give the same --data, or start anew without --resume"}
	}
	for _, t := range s.tensors {
		o := ts[t.Name]
		if o == nil || o.DType != t.Tensor.DType || !o.Shape.Equal(t.Tensor.Shape) {
			return bad("no " + t.Name + " " + t.Tensor.Type().String())
		}
		ir.CopyData(t.Tensor, o)
	}
	if old.Sum != 0 && old.Sum != s.sum() {
		return &diag.Error{Place: path, Found: "another checksum", Wanted: fmt.Sprintf("%08x", old.Sum), Fix: "the file is damaged: start anew without --resume"}
	}
	s.Step, s.Epochs, s.Sums = old.Step, old.Epochs, old.Sums
	return nil
}

// changed names a field in which two configurations differ, with both values.
func changed(a, b reflect.Value) string {
	for i := range a.NumField() {
		x, y := a.Field(i), b.Field(i)
		switch {
		case x.Equal(y):
		case x.Kind() == reflect.Struct:
			return a.Type().Field(i).Name + "." + changed(x, y)
		default:
			return fmt.Sprintf("%s: %#v, now %#v", a.Type().Field(i).Name, x, y)
		}
	}
	return ""
}
