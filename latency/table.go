package latency

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Row is what one kernel costs, or one run of a network (see Net). Times are in
// microseconds.
type Row struct {
	Key              string
	Median, P10, P90 float64
	Runs             int     // 0: carried over from another table, not measured
	Outliers         int     // of the runs: three times the quartiles' distance above them
	Interval         float64 // half the 95 % confidence interval of the median, as a share of it
	MACs, Bytes      int64   // multiply-accumulates; bytes read and written
	Anchor           float64 // the anchor kernel's time meanwhile
	Noisy            bool    // measured while the anchor was slow or others took the processors, for want of quiet
	Time             time.Time
}

// Table is the measured rows of one device and target.
type Table struct {
	Facts []Fact
	Rows  []Row // of kernels
	Nets  []Net // of whole networks

	index  map[string]int
	whole  map[string]bool // networks by name
	fitted sync.Once
	model  *model
}

// Net is a whole network that was measured beside its kernels: what a run takes
// more or less than their sum is learned from these, and what a kernel takes in
// one network and another.
type Net struct {
	Row         // of whole runs; the key names the network and its kernels
	Name string // unique in the table
	Uses []Use
}

// Use is a kernel of a network.
type Use struct {
	Row  int     // of Table.Rows
	N    int     // how many of the network's steps have it
	Time float64 // what it took there, in µs; 0: not known
}

// netPrefix begins the keys of networks: "network NAME | 0*2@12.5 5@3 7@0.25",
// a row of the table, how often, at what time.
const netPrefix = "network "

func netKey(name string, uses []Use) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s |", netPrefix, strings.ReplaceAll(name, "|", "/"))
	for _, u := range uses {
		if fmt.Fprintf(&b, " %d", u.Row); u.N != 1 {
			fmt.Fprintf(&b, "*%d", u.N)
		}
		if u.Time > 0 {
			b.WriteString("@" + strconv.FormatFloat(u.Time, 'g', 5, 64))
		}
	}
	return b.String()
}

func parseNet(r Row, rows int) (Net, error) {
	name, list, _ := strings.Cut(r.Key, " |")
	n := Net{Row: r, Name: strings.TrimPrefix(name, netPrefix)}
	for _, f := range strings.Fields(list) {
		use, took, known := strings.Cut(f, "@")
		at, times, many := strings.Cut(use, "*")
		u := Use{N: 1}
		var errs [3]error
		u.Row, errs[0] = strconv.Atoi(at)
		if many {
			u.N, errs[1] = strconv.Atoi(times)
		}
		if known {
			u.Time, errs[2] = strconv.ParseFloat(took, 64)
		}
		if errors.Join(errs[:]...) != nil || u.Row < 0 || u.Row >= rows || u.N < 1 || !(u.Time >= 0) || math.IsInf(u.Time, 0) {
			return n, fmt.Errorf("network of kernel %q, with %d kernels before", f, rows)
		}
		n.Uses = append(n.Uses, u)
	}
	return n, nil
}

// Find gives the row of a key.
func (t *Table) Find(key string) (Row, bool) {
	if i, ok := t.index[key]; ok {
		return t.Rows[i], true
	}
	return Row{}, false
}

// add appends a row, or a network made of rows before it.
func (t *Table) add(r Row) error {
	if strings.HasPrefix(r.Key, netPrefix) {
		n, err := parseNet(r, len(t.Rows))
		if err == nil {
			t.Nets = append(t.Nets, n)
			if t.whole == nil {
				t.whole = map[string]bool{}
			}
			t.whole[n.Name] = true
		}
		return err
	}
	t.addKernel(r)
	return nil
}

func (t *Table) addKernel(r Row) {
	if t.index == nil {
		t.index = map[string]int{}
	}
	t.index[r.Key] = len(t.Rows)
	t.Rows = append(t.Rows, r)
}

// Fact gives a fact of the header, "" where it is not there.
func (t *Table) Fact(name string) string { return factOf(t.Facts, name) }

func factOf(fs []Fact, name string) string {
	for _, f := range fs {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

const (
	magic   = "# nasc latency table 3"
	columns = "key,median_us,p10_us,p90_us,runs,outliers,interval,macs,bytes,anchor_us,noisy,time,crc"
)

// header writes the first lines of a table.
func header(facts []Fact) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, magic)
	for _, f := range facts {
		fmt.Fprintf(&b, "# %s: %s\n", f.Name, f.Value)
	}
	fmt.Fprintln(&b, columns)
	return b.Bytes()
}

// line writes a row, its checksum over all before it as the last field.
func (r Row) line() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	us := func(f float64) string { return strconv.FormatFloat(f, 'f', 3, 64) }
	_ = w.Write([]string{ // a bytes.Buffer does not fail
		r.Key, us(r.Median), us(r.P10), us(r.P90), strconv.Itoa(r.Runs), strconv.Itoa(r.Outliers), strconv.FormatFloat(r.Interval, 'f', 4, 64),
		strconv.FormatInt(r.MACs, 10), strconv.FormatInt(r.Bytes, 10), us(r.Anchor), strconv.FormatBool(r.Noisy), r.Time.UTC().Format(time.RFC3339),
	})
	w.Flush()
	body := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	return fmt.Appendf(nil, "%s,%08x\n", body, crc32.ChecksumIEEE(body))
}

// parseRow reads such a line without its newline.
func parseRow(line []byte) (Row, error) {
	at := bytes.LastIndexByte(line, ',')
	if at < 0 {
		return Row{}, errors.New("no checksum")
	}
	if sum, err := strconv.ParseUint(string(line[at+1:]), 16, 32); err != nil || uint32(sum) != crc32.ChecksumIEEE(line[:at]) {
		return Row{}, errors.New("the checksum does not fit the row")
	}
	f, err := csv.NewReader(bytes.NewReader(line[:at])).Read()
	if err != nil {
		return Row{}, err
	}
	if len(f) != 12 {
		return Row{}, fmt.Errorf("%d fields; wanted 13", len(f)+1)
	}
	r := Row{Key: f[0]}
	for i, p := range []*float64{&r.Median, &r.P10, &r.P90} {
		if *p, err = strconv.ParseFloat(f[1+i], 64); err != nil || !(*p >= 0) || math.IsInf(*p, 0) {
			return Row{}, fmt.Errorf("time %q", f[1+i])
		}
	}
	var errs [8]error
	r.Runs, errs[0] = strconv.Atoi(f[4])
	r.Outliers, errs[1] = strconv.Atoi(f[5])
	r.Interval, errs[2] = strconv.ParseFloat(f[6], 64)
	r.MACs, errs[3] = strconv.ParseInt(f[7], 10, 64)
	r.Bytes, errs[4] = strconv.ParseInt(f[8], 10, 64)
	r.Anchor, errs[5] = strconv.ParseFloat(f[9], 64)
	r.Noisy, errs[6] = strconv.ParseBool(f[10])
	r.Time, errs[7] = time.Parse(time.RFC3339, f[11])
	return r, errors.Join(errs[:]...)
}

// Read reads a table. In a partial one (torn) a last row that is cut short is
// left out; good is the length of what is whole.
func read(path string, torn bool) (t *Table, good int64, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, diag.At(path, err)
	}
	t = &Table{}
	rest, n, body := data, 0, false
	for len(rest) > 0 {
		n++
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		place := path + ":" + strconv.Itoa(n)
		if !whole && (!torn || !body) {
			return nil, 0, &diag.Error{Place: place, Found: "the file ends within a line", Wanted: "a whole table"}
		}
		switch {
		case n == 1 && string(line) != magic:
			return nil, 0, &diag.Error{Place: place, Found: fmt.Sprintf("%.40q", line), Wanted: strconv.Quote(magic), Fix: "make tables with nasc profile"}
		case n == 1:
		case !body && bytes.HasPrefix(line, []byte("# ")):
			k, v, ok := strings.Cut(string(line[2:]), ": ")
			if !ok {
				return nil, 0, diag.Errorf(place, "found %q in the header; wanted a name and a value", line)
			}
			t.Facts = append(t.Facts, Fact{k, v})
		case !body:
			if string(line) != columns {
				return nil, 0, &diag.Error{Place: place, Found: fmt.Sprintf("columns %q", line), Wanted: columns}
			}
			body = true
		default:
			r, err := parseRow(line)
			if torn && (!whole || err != nil && len(after) == 0) {
				return t, good, nil
			}
			if err != nil || !whole {
				return nil, 0, &diag.Error{Place: place, Found: "a bad row", Err: err, Fix: "the table is damaged: measure it again"}
			}
			if _, twice := t.Find(r.Key); twice {
				return nil, 0, diag.Errorf(place, "%s is there twice", r.Key)
			}
			if err := t.add(r); err != nil {
				return nil, 0, diag.At(place, err)
			}
		}
		good += int64(len(line)) + 1
		rest = after
	}
	if !body {
		return nil, 0, &diag.Error{Place: path, Found: "no rows' header", Wanted: "a latency table"}
	}
	return t, good, nil
}

// Read reads a finished table.
func Read(path string) (*Table, error) {
	t, _, err := read(path, false)
	return t, err
}

// Foreign says in which decisive facts a table differs from a device; nil when
// it may speak for it.
func (t *Table) Foreign(here []Fact) error {
	diffs := t.differs(here)
	if len(diffs) == 0 {
		return nil
	}
	return &diag.Error{Place: "latency table", Found: "it is of another device or version: " + strings.Join(diffs, "; "), Fix: "profile this device, or say --allow-foreign"}
}

// differs lists the decisive facts in which a table is not as here.
func (t *Table) differs(here []Fact) []string {
	var diffs []string
	for _, name := range decisive {
		if a, b := t.Fact(name), factOf(here, name); a != b {
			diffs = append(diffs, fmt.Sprintf("%s %q, here %q", name, a, b))
		}
	}
	return diffs
}

// journal is a table being measured: rows are appended to FILE.partial, which
// becomes FILE in the end. What a killed run wrote whole is kept.
type journal struct {
	path    string
	f       *os.File
	table   *Table
	waiting *os.File // measurements without a row
	waited  []Row    // those of a run before
	free    func() error
}

// openJournal goes on with FILE.partial, or with FILE, or begins, when no other
// process measures into the table.
func openJournal(ctx context.Context, path string, facts []Fact, waiting func()) (j *journal, err error) {
	free, err := locked(ctx, path, waiting)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, free())
		}
	}()
	part := path + ".partial"
	if _, err := os.Stat(part); errors.Is(err, fs.ErrNotExist) {
		if err := os.Remove(path + waitingSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, diag.At(path+waitingSuffix, err)
		}
		start := header(facts)
		if old, err := os.ReadFile(path); err == nil {
			if t, _, err := read(path, false); err != nil {
				return nil, err
			} else if err := t.goesOn(path, facts); err != nil {
				return nil, err
			}
			start = old
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, diag.At(path, err)
		}
		tmp := part + ".new"
		if err := os.WriteFile(tmp, start, 0o644); err != nil {
			return nil, diag.At(path, err)
		}
		if err := os.Rename(tmp, part); err != nil {
			return nil, diag.At(path, err)
		}
	}
	t, good, err := read(part, true)
	if err != nil {
		return nil, err
	}
	if err := t.goesOn(part, facts); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		return nil, diag.At(part, err)
	}
	if err := f.Truncate(good); err != nil {
		return nil, errors.Join(diag.At(part, err), f.Close())
	}
	if _, err := f.Seek(good, 0); err != nil {
		return nil, errors.Join(diag.At(part, err), f.Close())
	}
	j = &journal{path: path, f: f, table: t, free: free}
	if err := j.openWaiting(facts); err != nil {
		return nil, errors.Join(err, j.closeFiles())
	}
	return j, nil
}

// closeFiles closes what the journal writes to.
func (j *journal) closeFiles() error {
	err := j.f.Close()
	if j.waiting != nil {
		err = errors.Join(err, j.waiting.Close())
	}
	return err
}

// goesOn refuses to measure into a table of other facts.
func (t *Table) goesOn(path string, facts []Fact) error {
	if diffs := t.differs(facts); len(diffs) > 0 {
		return &diag.Error{Place: path, Found: "a table of another device or version: " + strings.Join(diffs, "; "), Wanted: "one to go on with", Fix: "choose another file, or remove this one"}
	}
	return nil
}

// append writes one row: wholly, or what is torn is dropped when read.
func (j *journal) append(r Row) error {
	if _, twice := j.table.Find(r.Key); twice {
		return nil
	}
	if _, err := j.f.Write(r.line()); err != nil {
		return diag.At(j.f.Name(), err)
	}
	return j.table.add(r)
}

// stop leaves the partial table, but for an empty one: it would stand in the way
// of the next profile into the file.
func (j *journal) stop() error {
	err := j.closeFiles()
	if len(j.table.Rows)+len(j.table.Nets) == 0 {
		err = errors.Join(err, os.Remove(j.path+".partial"), os.Remove(j.path+waitingSuffix))
	}
	return errors.Join(err, j.free())
}

// finish makes the partial table the table.
func (j *journal) finish() error {
	if err := errors.Join(j.f.Sync(), j.closeFiles()); err != nil {
		return errors.Join(diag.At(j.path, err), j.free())
	}
	err := j.compact()
	if err == nil {
		err = os.Rename(j.path+".partial", filepath.Clean(j.path))
	}
	if err == nil {
		err = os.Remove(j.path + waitingSuffix)
	}
	return errors.Join(diag.At(j.path, err), j.free())
}

// compact leaves out what was measured again.
func (j *journal) compact() error {
	t := j.table.compacted()
	if len(t.Nets) == len(j.table.Nets) {
		return nil
	}
	text := header(t.Facts)
	for _, r := range t.Rows {
		text = append(text, r.line()...)
	}
	for _, n := range t.Nets { // after all rows that they name
		text = append(text, n.line()...)
	}
	part := j.path + ".partial"
	f, err := os.Create(part + ".new")
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(part+".new", part)
}

// Keys lists the table's keys, sorted.
func (t *Table) Keys() []string {
	var ks []string
	for _, r := range t.Rows {
		ks = append(ks, r.Key)
	}
	slices.Sort(ks)
	return ks
}

// HasNet says whether a network was measured into the table as a whole.
func (t *Table) HasNet(name string) bool { return t.whole[name] }

// With gives a table with the other's kernels, too; of a kernel that both have
// the row of t counts. Facts and networks are t's.
func (t *Table) With(other *Table) *Table {
	out := &Table{Facts: t.Facts}
	for _, list := range [][]Row{t.Rows, other.Rows} {
		for _, r := range list {
			if _, ok := out.Find(r.Key); !ok {
				out.addKernel(r)
			}
		}
	}
	out.Nets = t.Nets // their indices are those of t's rows, which come first
	return out
}
