package latency

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
)

// widthFact of a table's header is the factor of its intervals, by networks
// that were predicted and measured.
const widthFact = "interval"

// leastCalibrated is how many times make a calibration: of fewer the 90 % rank
// is the last.
const leastCalibrated = 20

// width is the factor of the table's intervals; 1 where it was not calibrated.
func (t *Table) width() float64 {
	k := 1.0
	if f := t.Fact(widthFact); f != "" {
		if _, err := fmt.Sscanf(f, "x%g", &k); err != nil || !(k > 0) || math.IsInf(k, 0) {
			return 1
		}
	}
	return k
}

// Calibrate makes the intervals of the table at path so wide that 90 % of
// networks like those given lie within: by the conformal rank of how many half
// intervals each was off. It gives the factor. Times are in any one unit.
func (t *Table) Calibrate(path string, predicted, hi, measured []float64) (float64, error) {
	var off []float64
	for i, p := range predicted {
		if half := math.Log(hi[i] / p); half > 0 && measured[i] > 0 {
			off = append(off, math.Abs(math.Log(measured[i]/p))/half)
		}
	}
	if len(off) < leastCalibrated {
		return 0, &diag.Error{Place: "networks", Found: fmt.Sprintf("%d times", len(off)), Wanted: fmt.Sprintf("%d or more", leastCalibrated)}
	}
	k := conformal(off, 0.9)
	facts := slices.DeleteFunc(slices.Clone(t.Facts), func(f Fact) bool { return f.Name == widthFact })
	facts = append(facts, Fact{widthFact, fmt.Sprintf("x%.4g by %d times", k*t.width(), len(off))})
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, diag.At(path, err)
	}
	_, rows, ok := bytes.Cut(data, []byte(columns+"\n"))
	if !ok {
		return 0, &diag.Error{Place: path, Found: "no line of columns", Wanted: "a table of nasc profile"}
	}
	if err := os.WriteFile(path+".new", append(header(facts), rows...), 0o644); err != nil {
		return 0, diag.At(path, err)
	}
	return k, diag.At(path, os.Rename(path+".new", path))
}
