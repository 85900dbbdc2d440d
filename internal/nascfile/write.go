package nascfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/safetensors"
	"github.com/nasc-dev/nasc/ir"
)

// alignment of the parts in a file.
const alignment = 64

// Write puts a module with its manifest into a file: wholly or not at all.
func Write(path string, m *ir.Module, man *Manifest) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return diag.At(path, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			err = diag.At(path, err)
		}
	}()
	if err := Encode(f, m, man); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Encode writes the file's bytes. The same module and manifest give the same.
func Encode(w io.Writer, m *ir.Module, man *Manifest) error {
	if p := man.Preprocess; p != nil { // what is written can be read
		if err := p.Check(); err != nil {
			return diag.At("preprocess", err)
		}
	}
	var text, weights bytes.Buffer
	if err := m.Print(&text); err != nil {
		return err
	}
	tensors, format := packed(m.Tensors())
	if err := safetensors.Write(&weights, tensors); err != nil {
		return err
	}
	count := &counter{w: w}
	z := zip.NewWriter(count)
	for _, p := range []struct {
		name string
		data []byte
	}{{manifestPart, man.encode(format)}, {graphPart, text.Bytes()}, {weightsPart, weights.Bytes()}} {
		if err := z.Flush(); err != nil {
			return err
		}
		h := &zip.FileHeader{
			Name: p.name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(p.data),
			CompressedSize64: uint64(len(p.data)), UncompressedSize64: uint64(len(p.data)),
			Extra: padding(count.n + 30 + int64(len(p.name))),
		}
		pw, err := z.CreateRaw(h)
		if err != nil {
			return err
		}
		if _, err := pw.Write(p.data); err != nil {
			return err
		}
	}
	return z.Close()
}

// padding is an extra field that brings what follows position at to a multiple
// of the alignment: id 0xd935 (Android's zipalign) and zeros.
func padding(at int64) []byte {
	n := int(-(at + 4) % alignment)
	if n < 0 {
		n += alignment
	}
	b := binary.LittleEndian.AppendUint16(nil, 0xd935)
	b = binary.LittleEndian.AppendUint16(b, uint16(n))
	return append(b, make([]byte, n)...)
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
