package main

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/nasc-dev/nasc/bench/report"
)

// arms in the order of the table, with what they are.
var arms = [][2]string{
	{"base", "float training"},
	{"f32", "base trained on in float"},
	{"ptq8", "f32 quantized after training"},
	{"qat8", "base trained on as int8 runs it"},
	{"qat4", "the same, weights of 4 bits"},
}

// pair is the paired difference of two arms over seeds, in points.
type pair struct {
	mean, lo, hi float64
	n            int
}

// paired gives the mean of arm less another, and its 95 % interval by
// Student's t.
func paired(rows map[string]map[uint64]row, arm, other string) pair {
	var d []float64
	for seed, r := range rows[arm] {
		if f, ok := rows[other][seed]; ok {
			d = append(d, 100*(r.Top1-f.Top1))
		}
	}
	if len(d) == 0 {
		return pair{mean: math.NaN(), lo: math.NaN(), hi: math.NaN()}
	}
	m, s := stat.MeanStdDev(d, nil)
	if len(d) == 1 {
		return pair{m, math.Inf(-1), math.Inf(1), 1}
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(len(d) - 1)}.Quantile(0.975)
	h := t * s / math.Sqrt(float64(len(d)))
	return pair{m, m - h, m + h, len(d)}
}

// markdown is the report.
func markdown(s *settings, all []row) (string, error) {
	rows := map[string]map[uint64]row{}
	for _, r := range all {
		if r.Seed < s.first || r.Seed >= s.first+uint64(s.seeds) {
			continue
		}
		if rows[r.Arm] == nil {
			rows[r.Arm] = map[uint64]row{}
		}
		rows[r.Arm][r.Seed] = r
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Quantization-aware training, %s\n\n", time.Now().Format("2006-01-02"))
	fmt.Fprintf(&b, "`go run ./bench/qat -first %d -seeds %d -epochs %d -more %d -more-lr %g -more-lr4 %g -ema %g -freeze-norm=%v -train %s -test %s` on %s, one thread a seed.\n\n",
		s.first, s.seeds, s.epochs, s.more, s.moreLR, s.moreLR4, s.ema, s.freeze, filepath.Base(s.train), filepath.Base(s.test), report.Machine())
	fmt.Fprintf(&b, "A small MobileNetV3 for 32×32 pictures (bench/qat/net.toml: its kinds of blocks, depthwise, squeeze-excite, hard swish) on the CIFAR-10 sample: %d epochs of AdamW from drawn weights at rate %g, batch %d, then %d epochs more at %g for each arm, from the same weights, in the same order of pictures. Judged once, at the end, on the test pictures; nothing was chosen by them.\n\n", s.epochs, s.lr, s.batch, s.more, s.moreLR)
	b.WriteString("| arm | |")
	for seed := range s.seeds {
		fmt.Fprintf(&b, " seed %d |", s.first+uint64(seed))
	}
	b.WriteString(" mean | less f32, paired (95 % interval) | differing bits | MACs in int8 | constants |\n|---|---|" + strings.Repeat("---|", s.seeds+5) + "\n")
	differ, compared := 0, 0
	for _, a := range arms {
		fmt.Fprintf(&b, "| %s | %s |", a[0], a[1])
		var top []float64
		var last row
		d, n := 0, 0
		for seed := range s.seeds {
			r, ok := rows[a[0]][s.first+uint64(seed)]
			if !ok {
				b.WriteString(" |")
				continue
			}
			fmt.Fprintf(&b, " %.2f |", 100*r.Top1)
			top, last = append(top, 100*r.Top1), r
			d, n = d+r.Differ, n+r.Bits
		}
		differ, compared = differ+d, compared+n
		p := paired(rows, a[0], "f32")
		diff, bits, share := "", "", ""
		if a[0] != "f32" {
			diff = fmt.Sprintf("%+.2f (%+.2f to %+.2f)", p.mean, p.lo, p.hi)
		}
		if n > 0 {
			bits = fmt.Sprintf("%d of %d", d, n)
		}
		if last.Share > 0 {
			share = fmt.Sprintf("%.1f %%", 100*last.Share)
		}
		fmt.Fprintf(&b, " %.2f | %s | %s | %s | %.0f kB |\n", stat.Mean(top, nil), diff, bits, share, float64(last.Bytes)/1e3)
	}
	q8, q4 := paired(rows, "qat8", "f32"), paired(rows, "qat4", "f32")
	b8, b4 := paired(rows, "qat8", "base"), paired(rows, "qat4", "base")
	fmt.Fprintf(&b, "\nAgainst the float network that quantization-aware training starts from (base, without the epochs more): int8 %+.2f (%+.2f to %+.2f), weights of 4 bits %+.2f (%+.2f to %+.2f).\n", b8.mean, b8.lo, b8.hi, b4.mean, b4.lo, b4.hi)
	b.WriteString("\nWhat was to be shown, against float training of as many epochs:\n\n")
	verdict := func(ok bool, text string) {
		word := "met"
		if !ok {
			word = "not met"
		}
		fmt.Fprintf(&b, "- %s: **%s**\n", text, word)
	}
	verdict(q8.mean >= -0.1, fmt.Sprintf("int8 within 0.1 points of f32 on average: %+.2f", q8.mean))
	verdict(q8.lo > -0.5, fmt.Sprintf("the lower end of the 95 %% interval above −0.5: %+.2f", q8.lo))
	verdict(q4.mean >= -1, fmt.Sprintf("weights of 4 bits within 1 point: %+.2f", q4.mean))
	verdict(differ == 0 && compared > 0, fmt.Sprintf("no bit of the logits differs between the trained network on cpu-f32 and the compiled file on cpu-int8: %d of %d", differ, compared))
	return b.String(), nil
}
