package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// terminal says whether f is one.
func terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// bars draws one bar a stage, with the time left.
type bars struct {
	p     *mpb.Progress
	stage string
	bar   *mpb.Bar
	last  int
}

func newBars(w io.Writer) *bars { return &bars{p: mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))} }

func (b *bars) update(stage string, done, total int) {
	if stage != b.stage {
		b.end()
		b.stage, b.last = stage, 0
		b.bar = b.p.AddBar(int64(max(total, 1)),
			mpb.PrependDecorators(decor.Name(fmt.Sprintf("%-24s", stage))),
			mpb.AppendDecorators(decor.CountersNoUnit("%d/%d "), decor.AverageETA(decor.ET_STYLE_GO)))
	}
	b.bar.SetTotal(int64(max(total, 1)), false)
	b.bar.SetCurrent(int64(done))
}

func (b *bars) end() {
	if b.bar != nil {
		b.bar.SetTotal(-1, true)
	}
}

func (b *bars) finish() {
	b.end()
	b.p.Wait()
}

// lines writes a line when a stage begins, and one every few seconds.
type lines struct {
	w     io.Writer
	stage string
	begun time.Time
	last  time.Time
}

const lineEvery = 10 * time.Second

func (l *lines) update(stage string, done, total int) {
	now := time.Now()
	if stage != l.stage {
		l.stage, l.begun, l.last = stage, now, now
		fmt.Fprintf(l.w, "%s\n", stage)
		return
	}
	if now.Sub(l.last) < lineEvery || done == 0 {
		return
	}
	l.last = now
	left := time.Duration(float64(now.Sub(l.begun)) / float64(done) * float64(total-done))
	fmt.Fprintf(l.w, "%s %d/%d, %v left\n", stage, done, total, left.Round(time.Second))
}
