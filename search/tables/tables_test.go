package tables

import (
	"bytes"
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/train"
)

const spaceText = `name = "four"
input = [8, 8, 1]
[[stage]]
block = "conv"
name = "a"
channels = { choose = [2, 4] }
stride = 2
[[stage]]
name = "b"
choose = [[], [{ block = "conv", name = "b", channels = 4 }]]
[[stage]]
block = "flatten"
[[stage]]
block = "dense"
name = "fc"
out = 10
`

func small(t *testing.T, change func(*Setup)) *Table {
	t.Helper()
	file := filepath.Join(t.TempDir(), "four.toml")
	if err := os.WriteFile(file, []byte(spaceText), 0o644); err != nil {
		t.Fatal(err)
	}
	s := Setup{SpaceFile: file, Data: "digits[0:200]", Test: "digits[1200:1300]", Seeds: 2, Config: train.Default()}
	s.Config.Epochs, s.Config.Batch, s.Config.LR, s.Config.ValSplit = 2, 50, 1e-2, 0.25
	if change != nil {
		change(&s)
	}
	tab, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// rows reads a table's rows without its times.
func rows(t *testing.T, path string) [][]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(b))
	r.Comment = '#'
	all, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	head := all[0]
	for _, row := range all[1:] {
		for _, c := range []string{"ms", "ms_f32"} {
			i := slices.Index(head, c)
			if row[i] == "0" || strings.HasPrefix(row[i], "-") {
				t.Errorf("%s of %s is %s", c, row[0], row[i])
			}
			row[i] = ""
		}
	}
	return all
}

// A table that was stopped in each pass, with a torn line, is the table that was
// not, but for the times; rows come out again to the bit.
func TestTableStoppedAndWhole(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	whole, parts := filepath.Join(dir, "whole.csv"), filepath.Join(dir, "parts.csv")
	tab := small(t, nil)
	r, err := tab.Run(ctx, Options{Out: whole, Jobs: 3, Rounds: 1})
	if err != nil || !r.Done || r.Trained != 8 || r.Measured != 4 {
		t.Fatalf("%+v, %v", r, err)
	}
	stop, cancel := context.WithCancel(ctx)
	_, err = tab.Run(stop, Options{Out: parts, TrainOnly: true, Jobs: 1, Rounds: 2, Progress: func(_ string, done, _ int) {
		if done == 3 {
			cancel()
		}
	}})
	if err == nil {
		t.Fatal("a stopped run gave no error")
	}
	part := parts + ".partial"
	b, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Count(b, []byte("\ntrain,"))
	if lines < 2 || lines > 5 {
		t.Fatalf("%d trainings kept:\n%s", lines, b)
	}
	if err := os.WriteFile(part, b[:len(b)-7], 0o644); err != nil { // as a kill tears the last line
		t.Fatal(err)
	}
	if r, err = tab.Run(ctx, Options{Out: parts, MeasureOnly: true, Rounds: 2}); err != nil || r.Done || r.Measured != 4 || r.Trained != lines-1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err = tab.Run(ctx, Options{Out: parts, TrainOnly: true, Jobs: 2, Rounds: 2}); err != nil || !r.Done {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := os.Stat(part); err == nil {
		t.Error("the partial table is still there")
	}
	a, c := rows(t, whole), rows(t, parts)
	for i := range a {
		if !slices.Equal(a[i], c[i]) {
			t.Errorf("row %d:\n%q\n%q", i, a[i], c[i])
		}
	}
	if got, want := a[1][:3], []string{"0.0", "2", "none"}; !slices.Equal(got, want) {
		t.Errorf("the first row begins with %q, wanted %q", got, want)
	}
	check, err := tab.CheckRow(ctx, whole, 3)
	if err != nil || !check.Same || check.Genotype != "1.1" {
		t.Errorf("%+v, %v", check, err)
	}
	b, err = os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	weights := check.Seeds[1].Weights
	if err := os.WriteFile(whole, bytes.ReplaceAll(b, []byte(weights), []byte("00000000")), 0o644); err != nil {
		t.Fatal(err)
	}
	if check, err = tab.CheckRow(ctx, whole, 3); err != nil || check.Same || len(check.Other) != 1 || !strings.Contains(check.Other[0], weights) {
		t.Errorf("%+v, %v", check, err)
	}
	if _, err := tab.Run(ctx, Options{Out: whole, Rounds: 1}); err == nil || !strings.Contains(err.Error(), "a finished table") {
		t.Errorf("a finished table was begun again: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	ctx := context.Background()
	out := filepath.Join(t.TempDir(), "t.csv")
	if _, err := small(t, nil).Run(ctx, Options{Out: out, TrainOnly: true, Rounds: 1}); err != nil {
		t.Fatal(err)
	}
	other := small(t, func(s *Setup) { s.Config.Epochs = 3 })
	if _, err := other.Run(ctx, Options{Out: out, Rounds: 1}); err == nil || !strings.Contains(err.Error(), "2 epochs") {
		t.Errorf("other settings: %v", err)
	}
	part := out + ".partial"
	b, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(part, bytes.Replace(b, []byte("train,0.1,0,0."), []byte("train,0.1,0,1."), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := small(t, nil).Run(ctx, Options{Out: out, Rounds: 1}); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a changed line: %v", err)
	}
	b = append(b, "device,cpu another,00000000\n"...)
	if err := os.WriteFile(part, b, 0o644); err != nil {
		t.Fatal(err)
	}
	j, err := small(t, nil).open(out) // the bad line is the last: dropped
	if err != nil {
		t.Fatal(err)
	}
	if err := j.append("device", "cpu another"); err != nil {
		t.Fatal(err)
	}
	if _, err := small(t, nil).Run(ctx, Options{Out: out, Rounds: 1}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("two at once: %v", err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := small(t, nil).Run(ctx, Options{Out: out, MeasureOnly: true, Rounds: 1}); err == nil || !strings.Contains(err.Error(), "times of another device") {
		t.Errorf("another device: %v", err)
	}
	small8 := Setup{SpaceFile: "../../zoo/spaces/m2k-cnn.toml", Data: "digits", Test: "digits", Seeds: 1, Config: train.Config{ValSplit: 0.1}}
	if _, err := New(small8); err == nil || !strings.HasPrefix(err.Error(), "--data digits: ") || !strings.Contains(err.Error(), "[8,8,1]; wanted [N,14,14,1]; give data of the space's input") {
		t.Errorf("data of another shape: %v", err)
	}
	for _, s := range []Setup{
		{SpaceFile: "../../zoo/spaces/mobilenetv3.toml", Data: "digits", Test: "digits", Seeds: 1},
		{SpaceFile: "../../zoo/spaces/m2k-cnn.toml", Data: "digits", Test: "digits", Config: train.Config{ValSplit: 0.1}},
		{SpaceFile: "../../zoo/spaces/m2k-cnn.toml", Data: "digits", Test: "digits", Seeds: 1},
		{SpaceFile: "../../zoo/spaces/m2k-cnn.toml", Test: "digits", Seeds: 1, Config: train.Config{ValSplit: 0.1}},
	} {
		if _, err := New(s); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
}
