package data

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // decoders that folders of pictures need
	_ "image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/npy"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/zoo/digits"
)

// digitSet is the embedded digits: the training half, then the test half.
type digitSet struct{ d *digits.Data }

func openDigits(path string) (Source, error) {
	if path != "" {
		return nil, &diag.Error{Found: strconv.Quote(path), Wanted: "digits alone: they are embedded"}
	}
	d, err := digits.Load()
	return &digitSet{d}, err
}

func (s *digitSet) Len() int { return s.d.Train.Len() + s.d.Test.Len() }

func (s *digitSet) Sample(i int) (Sample, error) {
	set := s.d.Train
	if n := set.Len(); i >= n {
		set, i = s.d.Test, i-n
	}
	x := set.Image(i)
	return Sample{Tensors: map[string]*ir.Tensor{"": x.Reshaped(x.Shape[1:]...)}, Label: int(set.Labels[i])}, nil
}

// bytesSet is a set of small pictures held as bytes.
type bytesSet struct {
	w, h, channels int
	planar         bool
	pixels         []byte
	labels         []byte
}

func (s *bytesSet) Len() int { return len(s.labels) }

func (s *bytesSet) Sample(i int) (Sample, error) {
	n := s.w * s.h * s.channels
	src := s.pixels[i*n : (i+1)*n]
	p := &Picture{W: s.w, H: s.h, C: s.channels, Pix: src}
	if s.planar {
		p.Pix = make([]byte, n)
		for c := range s.channels {
			for k := range s.w * s.h {
				p.Pix[k*s.channels+c] = src[c*s.w*s.h+k]
			}
		}
	}
	return Sample{Picture: p, Label: int(s.labels[i])}, nil
}

// readFile reads a file, unpacked where its name ends in .gz.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !strings.HasSuffix(path, ".gz") {
		return io.ReadAll(f)
	}
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, diag.At(path, err)
	}
	b, err := io.ReadAll(z)
	return b, diag.At(path, err)
}

// openCIFAR reads CIFAR-10's binary records: a label, then 3 planes of 32×32.
func openCIFAR(path string) (Source, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	const record = 1 + 3*32*32
	if len(b) == 0 || len(b)%record != 0 {
		return nil, &diag.Error{Place: path, Found: fmt.Sprintf("%d bytes", len(b)), Wanted: fmt.Sprintf("records of %d (CIFAR-10's binary form)", record)}
	}
	s := &bytesSet{w: 32, h: 32, channels: 3, planar: true}
	for len(b) > 0 {
		s.labels, s.pixels = append(s.labels, b[0]), append(s.pixels, b[1:record]...)
		b = b[record:]
	}
	return s, nil
}

// openIDX reads a pair of MNIST's idx files.
func openIDX(path string) (Source, error) {
	images, labels, ok := strings.Cut(path, ",")
	if !ok {
		return nil, &diag.Error{Found: strconv.Quote(path), Wanted: "idx:IMAGES,LABELS"}
	}
	return idx(images, labels)
}

func idx(images, labels string) (*bytesSet, error) {
	x, err := readFile(images)
	if err != nil {
		return nil, err
	}
	y, err := readFile(labels)
	if err != nil {
		return nil, err
	}
	if len(x) < 16 || binary.BigEndian.Uint32(x) != 0x803 {
		return nil, &diag.Error{Place: images, Found: "no idx header of pictures", Wanted: "an idx3-ubyte file"}
	}
	if len(y) < 8 || binary.BigEndian.Uint32(y) != 0x801 {
		return nil, &diag.Error{Place: labels, Found: "no idx header of labels", Wanted: "an idx1-ubyte file"}
	}
	n, h, w := int(binary.BigEndian.Uint32(x[4:])), int(binary.BigEndian.Uint32(x[8:])), int(binary.BigEndian.Uint32(x[12:]))
	if h < 1 || w < 1 || h > 1<<14 || w > 1<<14 || len(x)-16 != n*h*w || len(y)-8 != n {
		return nil, &diag.Error{Place: images, Found: fmt.Sprintf("%d pictures of %d×%d in %d bytes, %d labels", n, h, w, len(x)-16, len(y)-8), Wanted: "as many bytes and labels as the header says"}
	}
	return &bytesSet{w: w, h: h, channels: 1, pixels: x[16:], labels: y[8:]}, nil
}

// openMNIST reads a folder of idx files: the training pictures, then the test
// pictures (from 60000 on).
func openMNIST(dir string) (Source, error) {
	all, err := mnistPart(dir, "train")
	if err != nil {
		return nil, err
	}
	s, err := mnistPart(dir, "t10k")
	if err != nil {
		return nil, err
	}
	if s.w != all.w || s.h != all.h {
		return nil, &diag.Error{Place: dir, Found: "training and test pictures of two sizes"}
	}
	all.pixels = append(all.pixels[:len(all.pixels):len(all.pixels)], s.pixels...)
	all.labels = append(all.labels[:len(all.labels):len(all.labels)], s.labels...)
	return all, nil
}

// mnistPart reads one pair of a folder's files, packed or not: train or t10k.
func mnistPart(dir, part string) (*bytesSet, error) {
	find := func(name string) string {
		for _, ext := range []string{"", ".gz"} {
			if _, err := os.Stat(filepath.Join(dir, name+ext)); err == nil {
				return filepath.Join(dir, name+ext)
			}
		}
		return filepath.Join(dir, name)
	}
	s, err := idx(find(part+"-images-idx3-ubyte"), find(part+"-labels-idx1-ubyte"))
	if errors.Is(err, fs.ErrNotExist) {
		err = &diag.Error{Err: err, Wanted: "a folder of MNIST's four files, train- and t10k-images-idx3-ubyte and -labels-idx1-ubyte, packed (.gz) or not"}
	}
	return s, err
}

// imageSet reads pictures when they are asked for.
type imageSet struct {
	files  []string
	labels []int
}

// openImages reads LABELS.tsv: a picture's name (relative to it), a tab, its
// class. A folder without labels takes every picture in it.
func openImages(path string) (Source, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return Folder(path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &imageSet{}
	line := 0
	for text := range strings.Lines(string(b)) {
		line++
		text = strings.TrimRight(text, "\r\n")
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		name, class, ok := strings.Cut(text, "\t")
		k, err := strconv.Atoi(strings.TrimSpace(class))
		if !ok || err != nil {
			if line == 1 {
				continue // a heading
			}
			return nil, &diag.Error{Place: fmt.Sprintf("%s:%d", path, line), Found: strconv.Quote(text), Wanted: "a file name, a tab, a class number"}
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		s.files, s.labels = append(s.files, name), append(s.labels, k)
	}
	return s, nil
}

// Folder takes every .jpg, .jpeg and .png of a folder, sorted, without labels.
func Folder(dir string) (Source, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	s := &imageSet{}
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".jpg", ".jpeg", ".png":
			s.files, s.labels = append(s.files, filepath.Join(dir, e.Name())), append(s.labels, -1)
		}
	}
	if len(s.files) == 0 {
		return nil, &diag.Error{Place: dir, Found: "no pictures", Wanted: ".jpg or .png files"}
	}
	return s, nil
}

// Names lists the files of a folder of pictures.
func Names(s Source) []string {
	if i, ok := s.(*imageSet); ok {
		return i.files
	}
	return nil
}

func (s *imageSet) Len() int { return len(s.files) }

func (s *imageSet) Sample(i int) (Sample, error) {
	p, err := ReadPicture(s.files[i])
	return Sample{Picture: p, Label: s.labels[i]}, err
}

// ReadPicture decodes a JPEG or PNG file to RGB.
func ReadPicture(path string) (*Picture, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &diag.Error{Place: path, Err: err}
	}
	defer f.Close()
	cfg, _, err := image.DecodeConfig(bufio.NewReader(f))
	if err == nil && cfg.Width*cfg.Height > 1<<28 {
		err = errors.New("more than 268 million pixels")
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, &diag.Error{Place: path, Found: "no picture that can be read", Err: err, Wanted: "JPEG or PNG"}
	}
	m, _, err := image.Decode(bufio.NewReader(f))
	if err != nil {
		return nil, &diag.Error{Place: path, Found: "no picture that can be read", Err: err, Wanted: "JPEG or PNG"}
	}
	return fromImage(m), nil
}

// npySet gives rows of arrays.
type npySet struct {
	n      int
	names  []string
	heads  []npy.Header
	files  []*os.File
	labels *ir.Tensor
}

// openNPY reads npy:X.npy, npy:X.npy,Y.npy (Y the classes) or, for several
// inputs, npy:NAME=A.npy,NAME=B.npy,labels=Y.npy.
func openNPY(path string) (Source, error) {
	s := &npySet{n: -1}
	for i, part := range strings.Split(path, ",") {
		name, file, named := strings.Cut(part, "=")
		if !named {
			name, file = "", part
		}
		if name == "labels" || !named && i == 1 {
			t, err := npy.Read(file)
			if err != nil {
				return nil, err
			}
			if s.labels, err = Convert(t, ir.I64); err != nil {
				return nil, diag.At(file, err)
			}
			continue
		}
		if !named && i > 0 {
			return nil, &diag.Error{Found: "a third file without a name: " + part, Wanted: "npy:NAME=A.npy,NAME=B.npy,labels=Y.npy"}
		}
		if slices.Contains(s.names, name) {
			return nil, &diag.Error{Found: "a second file for " + name, Wanted: "one for each input"}
		}
		f, h, err := npy.Open(file)
		if err != nil {
			return nil, err
		}
		if len(h.Shape) == 0 {
			return nil, &diag.Error{Place: file, Found: "a single number", Wanted: "an array whose first axis counts the samples"}
		}
		if s.n >= 0 && s.n != h.Shape[0] {
			return nil, &diag.Error{Place: file, Found: fmt.Sprintf("%d rows", h.Shape[0]), Wanted: fmt.Sprintf("%d, as the other inputs", s.n)}
		}
		s.n = h.Shape[0]
		s.names, s.heads, s.files = append(s.names, name), append(s.heads, h), append(s.files, f)
	}
	if s.n < 0 {
		return nil, &diag.Error{Found: "labels alone", Wanted: "npy:X.npy,Y.npy"}
	}
	if s.labels != nil && s.labels.Len() != s.n {
		return nil, &diag.Error{Found: fmt.Sprintf("%d labels for %d samples", s.labels.Len(), s.n), Wanted: "one class number each"}
	}
	return s, nil
}

func (s *npySet) Len() int { return s.n }

func (s *npySet) Sample(i int) (Sample, error) {
	out := Sample{Tensors: map[string]*ir.Tensor{}, Label: -1}
	for k, f := range s.files {
		t, err := npy.ReadRows(f, s.heads[k], i, 1)
		if err != nil {
			return out, diag.At(f.Name(), err)
		}
		out.Tensors[s.names[k]] = t.Reshaped(t.Shape[1:]...)
	}
	if s.labels != nil {
		out.Label = s.labels.Int(i)
	}
	return out, nil
}
