package latency

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

// A profile of many networks holds measurements back until their rows can be
// made (see pending). A kill would lose them, so they are written to FILE.waiting
// meanwhile: lines like a table's, of kernels, and of networks whose kernels are
// named, since they have no place in the table yet. The file stands beside
// FILE.partial and goes with it.
const waitingSuffix = ".waiting"

// waitingNet is the key of such a network, after netPrefix.
type waitingNet struct {
	Name    string       `json:"name"`
	Kernels []waitingUse `json:"kernels"`
}

type waitingUse struct {
	Key  string  `json:"key"`
	N    int     `json:"n"`
	Time float64 `json:"time"`
}

// openWaiting reads what waits beside a journal, and goes on with it. What is
// damaged or of another device is measured again.
func (j *journal) openWaiting(facts []Fact) error {
	name := j.path + waitingSuffix
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diag.At(name, err)
	}
	head, good := header(facts), 0
	if bytes.HasPrefix(data, head) {
		for good = len(head); ; {
			line, _, whole := bytes.Cut(data[good:], []byte("\n"))
			r, err := parseRow(line)
			if !whole || err != nil {
				break
			}
			j.waited = append(j.waited, r)
			good += len(line) + 1
		}
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return diag.At(name, err)
	}
	j.waiting = f
	if err := f.Truncate(int64(good)); err != nil {
		return diag.At(name, err)
	}
	if _, err := f.Seek(int64(good), 0); err != nil {
		return diag.At(name, err)
	}
	if good > 0 {
		return nil
	}
	_, err = f.Write(head)
	return diag.At(name, err)
}

// wait writes a measurement that has no place in the table yet.
func (j *journal) wait(r Row) error {
	_, err := j.waiting.Write(r.line())
	return diag.At(j.waiting.Name(), err)
}

// waitNet writes such a network.
func (j *journal) waitNet(n pendingNet) error {
	w := waitingNet{Name: n.name}
	for _, k := range n.kernels {
		w.Kernels = append(w.Kernels, waitingUse{k.key, k.N, k.Time})
	}
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	n.row.Key = netPrefix + string(text)
	return j.wait(n.row)
}

// parseWaitingNet reads what waitNet wrote; ok is false of a kernel's row.
func parseWaitingNet(r Row) (n pendingNet, ok bool) {
	text, ok := strings.CutPrefix(r.Key, netPrefix)
	if !ok {
		return n, false
	}
	var w waitingNet
	if json.Unmarshal([]byte(text), &w) != nil {
		return n, false
	}
	n = pendingNet{row: r, name: w.Name}
	for _, k := range w.Kernels {
		n.kernels = append(n.kernels, pendingUse{k.Key, Use{N: k.N, Time: k.Time}})
	}
	return n, true
}
