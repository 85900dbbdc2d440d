package latency

import (
	"context"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// After a calibration 90 % of networks like those it was made with lie within
// their intervals, the rows are what they were, and a second calibration with
// intervals that are right changes little.
func TestCalibrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.csv")
	if _, err := Profile(context.Background(), path, work(1), options()); err != nil {
		t.Fatal(err)
	}
	before, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	p := plan(t, work(1)[0])
	wide, err := before.Predict(p)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 3))
	draw := func(n int, half float64) (nets []Calibrating) {
		for range n {
			nets = append(nets, Calibrating{Predicted: 2, Hi: 2 * math.Exp(half), Measured: []float64{2 * math.Exp(0.01*r.NormFloat64())}})
		}
		return nets
	}
	if _, err := before.Calibrate(path, []Calibrating{{Predicted: 1, Hi: 1.1, Measured: []float64{1}}}); err == nil {
		t.Error("one time makes a calibration")
	}
	c, err := before.Calibrate(path, draw(400, 0.05))
	if err != nil {
		t.Fatal(err)
	}
	k := c.Width
	if want := 1.645 * 0.01 / 0.05; math.Abs(k/want-1) > 0.15 {
		t.Errorf("factor %.3f; wanted about %.3f", k, want)
	}
	after, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := after.Predict(p)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := math.Log(narrow.Hi/narrow.Total), k*math.Log(wide.Hi/wide.Total); math.Abs(a/b-1) > 0.01 || narrow.Total != wide.Total || len(after.Rows) != len(before.Rows) {
		t.Errorf("half the interval is %.4f; wanted %.4f", a, b)
	}
	if again, err := after.Calibrate(path, draw(400, 0.05*k)); err != nil || math.Abs(again.Width-1) > 0.15 || again.Level != 1 {
		t.Errorf("a second calibration: %+v, %v", again, err)
	}
	if err := after.Foreign(options().Facts); err != nil {
		t.Errorf("a calibrated table is foreign: %v", err)
	}
}

// A shift on which processes agree becomes the table's, in every way to predict;
// one that is the processes' own moods does not, and makes the intervals wider.
func TestCalibrateLevel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.csv")
	if _, err := Profile(context.Background(), path, work(1), options()); err != nil {
		t.Fatal(err)
	}
	before, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	p := plan(t, work(1)[0])
	was, err := before.Predict(p)
	if err != nil {
		t.Fatal(err)
	}
	nets := func(moods ...float64) (list []Calibrating) {
		r := rand.New(rand.NewPCG(7, 7))
		for range 60 {
			n := Calibrating{Predicted: 2, Hi: 2 * math.Exp(0.05)}
			own := 0.01 * r.NormFloat64()
			for _, m := range moods {
				n.Processes = append(n.Processes, 2*math.Exp(m+own))
			}
			n.Measured = []float64{2 * math.Exp(median(moods)+own)}
			list = append(list, n)
		}
		return list
	}
	moody, err := before.Calibrate(path, nets(0.06, -0.05, 0.02))
	if err != nil || math.Abs(moody.Level-1) > 0.002 {
		t.Errorf("moods became a level: %+v, %v", moody, err)
	}
	if before, err = Read(path); err != nil {
		t.Fatal(err)
	}
	steady, err := before.Calibrate(path, nets(-0.041, -0.04, -0.039))
	if err != nil || math.Abs(math.Log(steady.Level)+0.04) > 0.005 {
		t.Errorf("processes that agree gave %+v, %v", steady, err)
	}
	if steady.Width >= moody.Width {
		t.Errorf("intervals %.2f times as wide where processes agree, %.2f where not", steady.Width, moody.Width)
	}
	after, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	now, err := after.Predict(p)
	if err != nil {
		t.Fatal(err)
	}
	if got := now.Total / was.Total; math.Abs(got/(moody.Level*steady.Level)-1) > 1e-3 {
		t.Errorf("predictions changed by %.4f, the level by %.4f", got, moody.Level*steady.Level)
	}
	sum := after.RunCost()
	for _, n := range now.PerNode {
		sum += after.StepCost(n.MS)
	}
	if math.Abs(sum/now.Total-1) > 1e-9 {
		t.Errorf("%g by steps, %g as a whole", sum, now.Total)
	}
	if err := after.Foreign(options().Facts); err != nil {
		t.Errorf("a calibrated table is foreign: %v", err)
	}
}
