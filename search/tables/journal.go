package tables

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/gofrs/flock"

	"github.com/nasc-dev/nasc/internal/diag"
)

// A partial table is a header and lines that are only appended, each with a
// checksum as its last field:
//
//	train,GENOTYPE,SEED,VAL,TEST,CURVE,WEIGHTS,crc
//	device,FINGERPRINT,crc
//	size,GENOTYPE,PARAMS,MACS,BYTES,crc
//	time,GENOTYPE,TARGET,ROUND,MS,crc
//
// What a killed run wrote whole is kept; a torn last line is dropped.
type journal struct {
	mu   sync.Mutex
	path string
	f    *os.File
	lock *flock.Flock

	trained map[trainKey]Training
	sizes   map[string]Sizes
	times   map[timeKey]float64
	device  string
}

type trainKey struct {
	genotype string
	seed     int
}

type timeKey struct {
	genotype, target string
	round            int
}

const partialMagic = "# nasc search table, partial"

func (t *Table) header(magic string) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, magic)
	for _, f := range t.facts {
		fmt.Fprintf(&b, "# %s: %s\n", f.name, f.value)
	}
	return b.Bytes()
}

// open goes on with FILE.partial, or begins it, for this process alone.
func (t *Table) open(path string) (*journal, error) {
	lock := flock.New(path + ".lock")
	switch got, err := lock.TryLock(); {
	case err != nil:
		return nil, &diag.Error{Place: path + ".lock", Err: err, Fix: "name a table in a folder that can be written to"}
	case !got:
		return nil, &diag.Error{Place: path, Found: "another process that makes this table", Wanted: "one at a time", Fix: "wait for it, or stop it: nothing is lost"}
	}
	j, err := t.resume(path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	j.lock = lock
	return j, nil
}

// close ends the writing and lets others go on. The lock's file stays: another
// process may hold it by now.
func (j *journal) close() error { return errors.Join(j.f.Close(), j.lock.Close()) }

func (t *Table) resume(path string) (*journal, error) {
	part := path + ".partial"
	head := t.header(partialMagic)
	b, err := os.ReadFile(part)
	if errors.Is(err, fs.ErrNotExist) {
		tmp := part + ".new"
		if err := os.WriteFile(tmp, head, 0o644); err != nil {
			return nil, diag.At(path, err)
		}
		if err := os.Rename(tmp, part); err != nil {
			return nil, diag.At(path, err)
		}
		b = head
	} else if err != nil {
		return nil, diag.At(part, err)
	}
	j := &journal{path: part, trained: map[trainKey]Training{}, sizes: map[string]Sizes{}, times: map[timeKey]float64{}}
	if !bytes.HasPrefix(b, head) {
		return nil, &diag.Error{Place: part, Found: strings.TrimSpace(firstOther(b, head)), Wanted: "the space, data and settings it was begun with:\n" + strings.TrimSpace(string(head)), Fix: "give these, or another -o"}
	}
	good := len(head)
	for line := 0; good < len(b); line++ {
		end := bytes.IndexByte(b[good:], '\n')
		if end < 0 {
			break // torn
		}
		if err := j.read(string(b[good : good+end])); err != nil {
			if good+end+1 == len(b) {
				break
			}
			return nil, &diag.Error{Place: fmt.Sprintf("%s, entry %d", part, line+1), Found: err.Error(), Wanted: "what nasc wrote", Fix: "remove the line: its network is trained or timed again"}
		}
		good += end + 1
	}
	if j.f, err = os.OpenFile(part, os.O_RDWR, 0); err != nil {
		return nil, diag.At(part, err)
	}
	if err := j.f.Truncate(int64(good)); err != nil {
		return nil, errors.Join(diag.At(part, err), j.f.Close())
	}
	if _, err := j.f.Seek(int64(good), 0); err != nil {
		return nil, errors.Join(diag.At(part, err), j.f.Close())
	}
	return j, nil
}

// firstOther is the first line of b that differs from the header.
func firstOther(b, head []byte) string {
	is, want := bytes.Split(b, []byte("\n")), bytes.Split(head, []byte("\n"))
	for i := range is {
		if i >= len(want) || !bytes.Equal(is[i], want[i]) {
			return string(is[i])
		}
	}
	return "the end of the file"
}

// read takes one line, without its newline.
func (j *journal) read(line string) error {
	at := strings.LastIndexByte(line, ',')
	if at < 0 {
		return errors.New("no checksum")
	}
	if sum, err := strconv.ParseUint(line[at+1:], 16, 32); err != nil || uint32(sum) != crc32.ChecksumIEEE([]byte(line[:at])) {
		return errors.New("a checksum that does not fit the line")
	}
	f, err := csv.NewReader(strings.NewReader(line[:at])).Read()
	if err != nil {
		return err
	}
	wants := map[string]int{"train": 7, "device": 2, "size": 5, "time": 5}
	if n := wants[f[0]]; n != len(f) {
		return fmt.Errorf("a line %q of %d fields", f[0], len(f))
	}
	p := parser{f: f}
	switch f[0] {
	case "train":
		v := Training{Val: p.float(3), Test: p.float(4), Weights: f[6]}
		for s := range strings.FieldsSeq(f[5]) {
			v.Curve = append(v.Curve, p.parse(s))
		}
		j.trained[trainKey{f[1], p.int(2)}] = v
	case "device":
		j.device = f[1]
	case "size":
		j.sizes[f[1]] = Sizes{int64(p.int(2)), int64(p.int(3)), int64(p.int(4))}
	case "time":
		j.times[timeKey{f[1], f[2], p.int(3)}] = p.float(4)
	}
	return p.err
}

// parser reads numbers and keeps the first fault.
type parser struct {
	f   []string
	err error
}

func (p *parser) parse(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	p.err = errors.Join(p.err, err)
	return v
}

func (p *parser) float(i int) float64 { return p.parse(p.f[i]) }

func (p *parser) int(i int) int {
	v, err := strconv.Atoi(p.f[i])
	p.err = errors.Join(p.err, err)
	return v
}

// append writes a line and takes it.
func (j *journal) append(fields ...string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(fields) // a bytes.Buffer does not fail
	w.Flush()
	body := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	line := fmt.Sprintf("%s,%08x", body, crc32.ChecksumIEEE(body))
	if _, err := j.f.WriteString(line + "\n"); err != nil {
		return diag.At(j.path, err)
	}
	return j.read(line)
}

func (j *journal) training(g string, seed int, v Training) error {
	return j.append("train", g, strconv.Itoa(seed), number(v.Val), number(v.Test), curveText(v.Curve), v.Weights)
}

func curveText(c []float64) string {
	s := make([]string, len(c))
	for i, v := range c {
		s[i] = strings.TrimPrefix(number(v), "0") // .95: the curves are half of a table
	}
	return strings.Join(s, " ")
}
