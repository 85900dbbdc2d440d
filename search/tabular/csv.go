package tabular

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

// file is a table being read, a row at a time.
type file struct {
	path   string
	header []string
	row    []string
	r      *csv.Reader
	err    error
}

// openCSV reads a file, packed or not, and its header. Lines that begin with #
// are comments.
func openCSV(path string) (*file, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, &diag.Error{Place: path, Err: err}
	}
	if len(b) > 1 && b[0] == 0x1f && b[1] == 0x8b {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err == nil {
			b, err = io.ReadAll(bufio.NewReader(z))
		}
		if err != nil {
			return nil, &diag.Error{Place: path, Found: "a damaged gzip file", Err: err, Fix: "fetch it again"}
		}
	}
	f := &file{path: path, r: csv.NewReader(bytes.NewReader(b))}
	f.r.Comment = '#'
	f.r.ReuseRecord = true
	f.header, err = f.r.Read()
	if err != nil {
		return nil, &diag.Error{Place: path, Found: "no header", Wanted: "a CSV table", Err: err}
	}
	f.header = slices.Clone(f.header)
	return f, nil
}

// next goes to the next row.
func (f *file) next() bool {
	if f.err != nil {
		return false
	}
	f.row, f.err = f.r.Read()
	return f.err == nil
}

// done is the error that ended the reading, nil at the end of the file.
func (f *file) done() error {
	if errors.Is(f.err, io.EOF) {
		return nil
	}
	var p *csv.ParseError
	if errors.As(f.err, &p) {
		return &diag.Error{
			Place: fmt.Sprintf("%s:%d:%d", f.path, p.Line, p.Column), Err: p.Err,
			Wanted: fmt.Sprintf("%d columns a row, as the header has", len(f.header)), Fix: "the file is damaged: fetch it or make it again",
		}
	}
	return diag.At(f.path, f.err)
}

// place says where the row, or a column of it, stands.
func (f *file) place(column string) string {
	i := slices.Index(f.header, column)
	if i < 0 || f.row == nil {
		line, _ := f.r.FieldPos(0)
		return fmt.Sprintf("%s:%d", f.path, line)
	}
	line, col := f.r.FieldPos(i)
	return fmt.Sprintf("%s:%d:%d: %s", f.path, line, col, column)
}

// need refuses a table without these columns.
func (f *file) need(form string, columns ...string) error {
	for _, c := range columns {
		if !slices.Contains(f.header, c) {
			return &diag.Error{Place: f.path, Found: "columns " + strings.Join(f.header, ","), Wanted: fmt.Sprintf("a column %s (this is no %s table)", c, form)}
		}
	}
	return nil
}

func (f *file) text(column string) string { return f.row[slices.Index(f.header, column)] }

// number reads a column between two bounds.
func (f *file) number(column string, lo, hi float64) (float64, error) {
	return f.parse(column, f.text(column), lo, hi)
}

func (f *file) parse(column, text string, lo, hi float64) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || v < lo || v > hi {
		return 0, &diag.Error{Place: f.place(column), Found: fmt.Sprintf("%q", text), Wanted: fmt.Sprintf("a number from %g to %g", lo, hi)}
	}
	return v, nil
}

// percent reads an accuracy from 0 to 100 and gives it from 0 to 1.
func (f *file) percent(column string) (float64, error) {
	v, err := f.number(column, 0, 100)
	return v / 100, err
}

// most bounds numbers that are only known to be positive.
const most = 1e18
