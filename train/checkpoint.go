package train

import (
	"encoding/json"
	"fmt"
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
	tensors []ir.NamedTensor
}

// save writes a checkpoint in one go: after a crash at any moment the file is
// the old one or the new one, whole.
func (s *state) save(path string) error {
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
	b, err := os.ReadFile(path)
	if err != nil {
		return diag.At(path, err)
	}
	ts, err := safetensors.Read(b)
	if err != nil {
		return diag.At(path, err)
	}
	bad := func(found string) error {
		return &diag.Error{Place: path, Found: found, Wanted: "a checkpoint of this network", Fix: "start anew without --resume"}
	}
	meta := ts["nasc.state"]
	if meta == nil || meta.DType != ir.U8 {
		return bad("no checkpoint of nasc train")
	}
	old := state{}
	if err := json.Unmarshal(meta.U8(), &old); err != nil {
		return bad(err.Error())
	}
	if k := changed(old.Config, s.Config); k != "" {
		return &diag.Error{Place: path, Found: "another " + k, Wanted: "the settings that the training began with", Fix: "give the same, or start anew without --resume"}
	}
	for _, t := range s.tensors {
		o := ts[t.Name]
		if o == nil || o.DType != t.Tensor.DType || !o.Shape.Equal(t.Tensor.Shape) {
			return bad("no " + t.Name + " " + t.Tensor.Type().String())
		}
		ir.CopyData(t.Tensor, o)
	}
	if old.Step < 0 {
		return bad(fmt.Sprintf("step %d", old.Step))
	}
	s.Step, s.Epochs, s.Sums = old.Step, old.Epochs, old.Sums
	return nil
}

// changed names a field in which two configurations differ.
func changed(a, b Config) string {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if !x.Field(i).Equal(y.Field(i)) {
			return x.Type().Field(i).Name
		}
	}
	return ""
}
