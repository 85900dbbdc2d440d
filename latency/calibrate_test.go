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
	draw := func(n int, half float64) (predicted, hi, measured []float64) {
		for range n {
			predicted, hi = append(predicted, 2), append(hi, 2*math.Exp(half))
			measured = append(measured, 2*math.Exp(0.01*r.NormFloat64()))
		}
		return predicted, hi, measured
	}
	if _, err := before.Calibrate(path, []float64{1}, []float64{1.1}, []float64{1}); err == nil {
		t.Error("one time makes a calibration")
	}
	predicted, hi, measured := draw(400, 0.05)
	k, err := before.Calibrate(path, predicted, hi, measured)
	if err != nil {
		t.Fatal(err)
	}
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
	predicted, hi, measured = draw(400, 0.05*k)
	if again, err := after.Calibrate(path, predicted, hi, measured); err != nil || math.Abs(again-1) > 0.15 {
		t.Errorf("a second calibration: factor %.3f, %v", again, err)
	}
	if err := after.Foreign(options().Facts); err != nil {
		t.Errorf("a calibrated table is foreign: %v", err)
	}
}
