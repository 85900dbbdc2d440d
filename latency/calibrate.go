package latency

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Facts of a table's header that networks which were predicted and measured have
// set: the factor of its intervals, and that of its times.
const widthFact, levelFact = "interval", "level"

// leastCalibrated is how many times make a calibration: of fewer the 90 % rank
// is the last. leastProcesses is how many say how much processes differ.
const leastCalibrated, leastProcesses = 20, 3

// width is the factor of the table's intervals; 1 where it was not calibrated.
func (t *Table) width() float64 { return t.factor(widthFact) }

// level is the factor of the times of networks; 1 where it was not calibrated.
func (t *Table) level() float64 { return t.factor(levelFact) }

func (t *Table) factor(fact string) float64 {
	k := 1.0
	if f := t.Fact(fact); f != "" {
		if _, err := fmt.Sscanf(f, "x%g", &k); err != nil || !(k > 0) || math.IsInf(k, 0) {
			return 1
		}
	}
	return k
}

// Calibrating is a network that was predicted and measured, times in any one unit.
type Calibrating struct {
	Predicted, Hi float64
	Measured      []float64 // what its prediction is to be right for
	// Processes are its times in several processes, in an order that all networks
	// have in common; none where that is not known.
	Processes []float64
}

// Calibrated is what a calibration multiplied a table's times and intervals by.
type Calibrated struct{ Level, Width float64 }

// Calibrate brings the predictions of the table at path to the level of networks
// like those given, and makes its intervals so wide that 90 % of them lie within:
// by the conformal rank of how many half intervals each was off.
func (t *Table) Calibrate(path string, nets []Calibrating) (Calibrated, error) {
	shift, spread := levelOf(nets)
	var off []float64
	for _, n := range nets {
		for _, m := range n.Measured {
			if half := math.Log(n.Hi / n.Predicted); half > 0 && m > 0 {
				// The processes to come differ from each other as these did.
				off = append(off, math.Sqrt(math.Pow(math.Log(m/n.Predicted)-shift, 2)+2*spread)/half)
			}
		}
	}
	if len(off) < leastCalibrated {
		return Calibrated{}, &diag.Error{Place: "networks", Found: fmt.Sprintf("%d times", len(off)), Wanted: fmt.Sprintf("%d or more", leastCalibrated)}
	}
	c := Calibrated{math.Exp(shift), conformal(off, 0.9)}
	facts := slices.DeleteFunc(slices.Clone(t.Facts), func(f Fact) bool { return f.Name == widthFact || f.Name == levelFact })
	facts = append(facts, Fact{widthFact, fmt.Sprintf("x%.4g by %d times", c.Width*t.width(), len(off))})
	if level := c.Level * t.level(); level != 1 {
		facts = append(facts, Fact{levelFact, fmt.Sprintf("x%.4g by %d networks", level, len(nets))})
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Calibrated{}, diag.At(path, err)
	}
	_, rows, ok := bytes.Cut(data, []byte(columns+"\n"))
	if !ok {
		return Calibrated{}, &diag.Error{Place: path, Found: "no line of columns", Wanted: "a table of nasc profile"}
	}
	if err := os.WriteFile(path+".new", append(header(facts), rows...), 0o644); err != nil {
		return Calibrated{}, diag.At(path, err)
	}
	return c, diag.At(path, os.Rename(path+".new", path))
}

// levelOf is the logarithm of what networks take beside their predictions, and the
// variance of it: each process meets the machine in a mood of its own. The median
// of the processes counts, as for what is to be predicted, and what they differ by
// says how much it is off by. A level within its own error counts for nothing,
// others for what is beyond it (James and Stein's shrinking, of one value).
func levelOf(nets []Calibrating) (shift, variance float64) {
	var of []float64
	for r := 0; ; r++ {
		var logs []float64
		for _, n := range nets {
			if r < len(n.Processes) && n.Processes[r] > 0 && n.Predicted > 0 {
				logs = append(logs, math.Log(n.Processes[r]/n.Predicted))
			}
		}
		if len(logs) == 0 {
			break
		}
		of = append(of, median(logs))
	}
	if len(of) < leastProcesses {
		return 0, 0
	}
	shift = median(of)
	var from []float64
	for _, v := range of {
		from = append(from, math.Abs(v-shift))
	}
	// Of a normal distribution, by the median distance from the median.
	const sd, ofMedian = 1.4826, math.Pi / 2
	variance = math.Pow(sd*median(from), 2) * ofMedian / float64(len(of))
	if shift == 0 {
		return 0, variance
	}
	return shift * math.Max(0, 1-variance/(shift*shift)), variance
}
