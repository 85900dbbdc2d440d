package nascfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/safetensors"
	"github.com/nasc-dev/nasc/ir"
)

// File is an open .nasc file. The module's constants may be views of the
// mapped file: they are valid until Close.
type File struct {
	Module   *ir.Module
	Manifest *Manifest
	close    func() error
}

// Close frees the file's memory; the module must not be used any more.
func (f *File) Close() error {
	c := f.close
	f.close = nil
	if c == nil {
		return nil
	}
	return c()
}

// Open maps a file, or reads it where mapping is not to be had.
func Open(path string) (*File, error) {
	data, closer, err := mapFile(path)
	if err != nil {
		return nil, diag.At(path, err)
	}
	f, err := Decode(path, data)
	if err != nil {
		return nil, errors.Join(err, closer())
	}
	f.close = closer
	return f, nil
}

// OpenFS reads a file of a file system, an embedded one for example.
func OpenFS(fsys fs.FS, name string) (*File, error) {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, diag.At(name, err)
	}
	return Decode(name, data)
}

// Decode reads a file's bytes; name stands in errors. Constants are views of
// data.
func Decode(name string, data []byte) (*File, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, &diag.Error{Place: name, Found: fmt.Sprintf("%d bytes that are no whole zip", len(data)), Wanted: "a .nasc file", Fix: "copy or compile it again", Err: err}
	}
	text, err := part(name, z, data, manifestPart)
	if err != nil {
		return nil, err
	}
	man, err := decodeManifest(name+"/"+manifestPart, text)
	if err != nil {
		return nil, err
	}
	graphs, err := part(name, z, data, graphPart)
	if err != nil {
		return nil, err
	}
	weights, err := part(name, z, data, weightsPart)
	if err != nil {
		return nil, err
	}
	tensors, err := safetensors.Read(weights)
	if err != nil {
		return nil, diag.At(name+"/"+weightsPart, err)
	}
	if err := unpack(tensors); err != nil {
		return nil, diag.At(name+"/"+weightsPart, err)
	}
	m, err := ir.Parse(name+"/"+graphPart, string(graphs), ir.WeightMap(tensors))
	if err != nil {
		return nil, err
	}
	return &File{Module: m, Manifest: man}, nil
}

// maxPart bounds a compressed part, so that a small file cannot fill memory.
const maxPart = 8 << 30

// part gives a part's bytes: in place where it is stored, as nasc writes it.
func part(name string, z *zip.Reader, data []byte, want string) ([]byte, error) {
	for _, f := range z.File {
		if f.Name != want {
			continue
		}
		place := name + "/" + want
		if f.UncompressedSize64 > maxPart {
			return nil, diag.Errorf(place, "it claims %d bytes", f.UncompressedSize64)
		}
		if f.Method != zip.Store {
			r, err := f.Open()
			if err != nil {
				return nil, diag.At(place, err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				return nil, diag.At(place, err)
			}
			return b, r.Close()
		}
		at, err := f.DataOffset()
		if err != nil {
			return nil, diag.At(place, err)
		}
		n := int64(f.UncompressedSize64)
		if f.CompressedSize64 != f.UncompressedSize64 || at < 0 || n < 0 || at > int64(len(data)) || n > int64(len(data))-at {
			return nil, diag.Errorf(place, "it lies outside the file's %d bytes", len(data))
		}
		b := data[at : at+n : at+n]
		if sum := crc32.ChecksumIEEE(b); sum != f.CRC32 {
			return nil, &diag.Error{Place: place, Found: fmt.Sprintf("checksum %08x", sum), Wanted: fmt.Sprintf("%08x", f.CRC32), Fix: "the file is damaged: copy or compile it again"}
		}
		return b, nil
	}
	return nil, &diag.Error{Place: name, Found: "no " + want + " in the zip", Wanted: "a .nasc file"}
}
