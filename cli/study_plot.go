package cli

import (
	"fmt"
	"html"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/shrink"
	"github.com/nasc-dev/nasc/search/study"
	"github.com/nasc-dev/nasc/search/tabular"
	"github.com/nasc-dev/nasc/search/task"
)

func (a *app) studyPlot() *cobra.Command {
	var out, random string
	c := &cobra.Command{
		Use: "plot FILE -o OUT.svg|OUT.html", Short: "progress, front, choices and the winner's lineage, drawn", Args: cobra.ExactArgs(1),
		Long: "plot draws a page of charts (.html), or the progress alone (.svg). Progress is drawn beside random's: that of\n" +
			"--random, a study of the same space by the random strategy, and what as many networks drawn blindly reach on\n" +
			"average, by that study or by the tabular benchmark that was searched.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ext := strings.ToLower(filepath.Ext(out))
			if ext != ".svg" && ext != ".html" {
				return &diag.Error{Place: "-o", Found: fmt.Sprintf("%q", out), Wanted: "a file .svg or .html"}
			}
			s, err := study.Read(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer s.Close()
			p := &studyPage{meta: s.Meta, trials: s.Done()}
			p.meta.Command = retold(s)
			if strings.HasPrefix(s.Meta.SpaceText, teacherSpace) {
				if p.students, _, err = task.Students(study.Weights(s.Path), s.Meta.SpaceDigest); err != nil {
					return err
				}
			}
			if random != "" {
				r, err := study.Read(cmd.Context(), random)
				if err != nil {
					return err
				}
				defer r.Close()
				if r.Meta.SpaceDigest != s.Meta.SpaceDigest {
					return &diag.Error{Place: "--random " + random, Found: "a study of " + r.Meta.Space, Wanted: "one of " + s.Meta.Space}
				}
				p.random = r.Done()
			}
			if err := p.prepare(); err != nil {
				return err
			}
			err = replaceFile(out, func(w io.Writer) error {
				if ext == ".svg" {
					_, err := io.WriteString(w, styled(p.progress().svg()))
					return err
				}
				return p.write(w)
			})
			if err != nil {
				return err
			}
			return a.wrote(out)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "the picture (.svg) or page (.html) to write")
	c.Flags().StringVar(&random, "random", "", "a study by the random strategy to draw beside it")
	return c
}

// styled puts a chart's style into it: a file of its own has no page around it.
func styled(svg string) string {
	i := strings.Index(svg, ">") + 1
	return svg[:i] + chartStyle + `<rect width="100%" height="100%" fill="#fff"/><g font-family="sans-serif" font-size="11">` + strings.TrimSuffix(svg[i:], "</svg>") + "</g></svg>\n"
}

// studyPage draws a study.
type studyPage struct {
	meta      study.Meta
	trials    []*search.Trial
	random    []*search.Trial // another study's, by random; nil: none
	finalists []*task.Finalist

	goal  search.Goal
	genes []arch.Gene
	space *arch.Space // nil: the space is no architecture file's
	// students is a teacher's space, where the page is one of nasc compress and
	// the teacher is there.
	students *shrink.Space
	table    []float64 // the first objective of all networks of the benchmark that keep the limits
}

func (p *studyPage) prepare() error {
	var err error
	if p.goal, err = p.meta.Goal(); err != nil {
		return err
	}
	if p.students != nil {
		p.genes = p.students.Genes()
		return nil
	}
	if p.meta.SpaceText != "" && !task.IsBench(p.meta.SpaceText) {
		if p.space, err = arch.ParseSpace(p.meta.Space, []byte(p.meta.SpaceText)); err != nil {
			return err
		}
		p.genes = p.space.Genes
		return nil
	}
	if table, err := tabular.Open(p.meta.SpaceText); err == nil {
		p.genes = table.Space().Genes()
		for _, r := range table.Rows {
			m := maps.Clone(r.Metrics)
			m["accuracy"] = r.Val[0]
			if p.goal.Violation(m) == 0 {
				p.table = append(p.table, p.goal.Values(m)[0])
			}
		}
		return nil
	}
	n := 0
	for _, t := range p.trials {
		n = max(n, len(t.Genotype))
	}
	p.genes = make([]arch.Gene, n) // a benchmark's file is not needed to draw a study
	for i := range p.genes {
		p.genes[i].Name = fmt.Sprintf("choice %d", i+1)
		for _, t := range p.trials {
			for len(p.genes[i].Options) <= t.Genotype[i] {
				p.genes[i].Options = append(p.genes[i].Options, fmt.Sprint(len(p.genes[i].Options)))
			}
		}
	}
	return nil
}

// first is the objective whose progress is drawn; shown gives its values as
// they are read.
func (p *studyPage) first() search.Metric { return p.goal.Objectives[0] }

func (p *studyPage) shown(v float64) float64 {
	if !p.first().Maximize {
		return -v
	}
	return v
}

// steps are the best values so far, by trial.
func (p *studyPage) steps(trials []*search.Trial) []dot {
	var out []dot
	best := math.Inf(-1)
	for i, t := range trials {
		if t.Feasible() && t.Values[0] > best {
			best = t.Values[0]
			out = append(out, dot{x: float64(i + 1), y: p.shown(best), title: fmt.Sprintf("trial %d: %s", t.ID, metricsText(p.goal, t))})
		}
	}
	if n := len(out); n > 0 {
		out = append(out, dot{x: float64(len(trials)), y: out[n-1].y, title: "end"})
	}
	return out
}

// blind is what n networks drawn blindly reach on average, from the values of
// networks that were drawn blindly: the expected greatest of n.
func (p *studyPage) blind(values []float64, most int) []dot {
	if len(values) < 2 {
		return nil
	}
	slices.Sort(values)
	k := float64(len(values))
	var out []dot
	for n := 1; n <= most; n += max(1, n/8) {
		sum := 0.0
		for i, v := range values {
			lo, hi := float64(i)/k, float64(i+1)/k
			sum += v * (math.Pow(hi, float64(n)) - math.Pow(lo, float64(n)))
		}
		out = append(out, dot{x: float64(n), y: p.shown(sum), title: fmt.Sprintf("%d drawn blindly", n)})
	}
	return out
}

// drawn are the values of networks that were drawn blindly: the benchmark's, or
// the random study's.
func (p *studyPage) drawn() []float64 {
	if p.table != nil {
		return p.table
	}
	from := p.random
	if from == nil && p.meta.Strategy == "random" {
		from = p.trials
	}
	var values []float64
	for _, t := range from {
		if t.Feasible() && t.CopyOf == 0 {
			values = append(values, t.Values[0])
		}
	}
	return values
}

func (p *studyPage) progress() chart {
	c := chart{xName: "trials", yName: "best " + p.first().Name, near: true}
	c.lines = append(c.lines, chartLine{name: p.meta.Strategy, dots: p.steps(p.trials)})
	if p.random != nil {
		c.lines = append(c.lines, chartLine{name: "random", dots: p.steps(p.random)})
	}
	if values := p.drawn(); len(values) > 1 {
		c.lines = append(c.lines, chartLine{name: "random, expected", dots: p.blind(values, len(p.trials))})
	}
	for i, t := range p.trials {
		if t.Feasible() {
			c.dots = append(c.dots, dot{float64(i + 1), p.shown(t.Values[0]), "#bbb", fmt.Sprintf("trial %d: %s", t.ID, metricsText(p.goal, t))})
		}
	}
	return c
}

// fronts draws the first objective over each other metric that counts.
func (p *studyPage) fronts() []chart {
	var out []chart
	var others []search.Metric
	others = append(others, p.goal.Objectives[1:]...)
	for _, l := range p.goal.Limits {
		others = append(others, l.Metric)
	}
	of := p.first()
	if of.Name == "reward" { // what it is made of
		for _, m := range search.Metrics {
			switch m.Name {
			case "accuracy":
				of = m
			case "params":
				others = append([]search.Metric{m}, slices.DeleteFunc(others, func(o search.Metric) bool { return o.Name == m.Name })...)
			}
		}
	}
	if len(others) == 0 {
		for _, name := range []string{"ms", "macs", "params"} {
			m, err := search.FindMetric(name)
			if err == nil && slices.ContainsFunc(p.trials, func(t *search.Trial) bool { _, ok := t.Metrics[name]; return ok }) {
				others = append(others, m)
				break
			}
		}
	}
	front := map[int64]bool{}
	for _, t := range search.Front(p.trials) {
		front[t.ID] = len(p.goal.Objectives) > 1
	}
	for _, m := range others {
		c := chart{xName: strings.TrimSpace(m.Name + " " + m.Unit), yName: of.Name, near: true}
		var line []dot
		for _, t := range p.trials {
			x, okX := t.Metrics[m.Name]
			y, okY := t.Metrics[of.Name]
			if !okX || !okY || t.Fault != "" {
				continue
			}
			colour := "#bbb"
			if t.Note == search.LastNote || p.students != nil && t.ID == 1 { // the teacher
				colour = "#000"
			}
			d := dot{x, y, colour, fmt.Sprintf("trial %d: %s", t.ID, metricsText(p.goal, t))}
			if front[t.ID] {
				line = append(line, d)
			}
			c.dots = append(c.dots, d)
		}
		for _, f := range p.finalists {
			if m.Name == "ms" && of.Name == "accuracy" {
				c.dots = append(c.dots, dot{f.MS, f.Accuracy, "#a54b3b", fmt.Sprintf("trial %d compiled: measured %.4f ms, %.2f %%", f.Trial, f.MS, 100*f.Accuracy)})
			}
		}
		slices.SortFunc(line, func(a, b dot) int { return int(math.Copysign(1, a.x-b.x)) })
		if len(line) > 0 {
			c.lines = []chartLine{{name: "front", dots: line}}
		}
		out = append(out, c)
	}
	return out
}

// parallel draws a line a network through its choices, coloured by the first
// objective, the best on top.
func (p *studyPage) parallel() string {
	const row, left, width, top = 15, 190, 520, 20
	var list []*search.Trial
	for _, t := range p.trials {
		if t.Feasible() && t.CopyOf == 0 {
			list = append(list, t)
		}
	}
	if len(list) == 0 || len(p.genes) == 0 {
		return "<p>nothing to draw</p>"
	}
	slices.SortStableFunc(list, func(a, b *search.Trial) int { return int(math.Copysign(1, a.Values[0]-b.Values[0])) })
	const most = 400 // lines that can still be told apart
	if len(list) > most {
		list = list[len(list)-most:]
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg viewBox="0 0 %d %d" width="%d" xmlns="http://www.w3.org/2000/svg" class="chart">`, left+width+70, top+row*len(p.genes)+10, left+width+70)
	x := func(gene, option int) float64 {
		n := len(p.genes[gene].Options)
		if n < 2 {
			return left + width/2
		}
		return left + width*float64(option)/float64(n-1)
	}
	for i, g := range p.genes {
		y := top + row*i
		fmt.Fprintf(&s, `<line x1="%d" x2="%d" y1="%d" y2="%d" class="grid"/><text x="%d" y="%d" class="l" text-anchor="end">%s</text>`, left, left+width, y, y, left-8, y+4, html.EscapeString(g.Name))
		if n := len(g.Options); n > 1 {
			fmt.Fprintf(&s, `<text x="%d" y="%d" class="v"><title>%s</title>%s</text>`, left+width+6, y+4, html.EscapeString(strings.Join(g.Options, ", ")), html.EscapeString(clip(g.Options[n-1], 9)))
		}
	}
	for k, t := range list {
		share := 1.0
		if len(list) > 1 {
			share = float64(k) / float64(len(list)-1) // by rank
		}
		var pts []string
		active := map[int]bool{}
		if p.space != nil {
			p.space.Active(t.Genotype, func(i int) { active[i] = true })
		}
		for i := range p.genes {
			if i < len(t.Genotype) && (p.space == nil || active[i]) {
				pts = append(pts, fmt.Sprintf("%.1f,%d", x(i, t.Genotype[i]), top+row*i))
			}
		}
		colour, wide := fmt.Sprintf("hsl(%.0f 60%% 45%%)", 230-230*share), 0.6+share*share
		if k == len(list)-1 {
			colour, wide = "#000", 2.5
		}
		fmt.Fprintf(&s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="%.1f" stroke-opacity="%.2f"><title>trial %d: %s</title></polyline>`, strings.Join(pts, " "), colour, wide, 0.15+0.6*share*share, t.ID, html.EscapeString(metricsText(p.goal, t)))
	}
	s.WriteString("</svg>")
	return s.String()
}

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// write writes the page. Nothing in it is fetched from elsewhere.
func (p *studyPage) write(w io.Writer) error {
	var b strings.Builder
	title := "nasc: " + p.meta.Strategy + " on " + p.meta.Space
	fmt.Fprintf(&b, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>%s</title>%s%s<h1>%s</h1>\n", html.EscapeString(title), pageStyle, chartStyle, html.EscapeString(title))
	fmt.Fprintf(&b, "<p id=\"study\">%d trials, objective %s, seed %d, window %d; nasc %s.</p>", len(p.trials), html.EscapeString(p.meta.Objective), p.meta.Seed, p.meta.Window, html.EscapeString(p.meta.Nasc))
	best := search.Best(p.trials)
	if best != nil {
		fmt.Fprintf(&b, "<p>Best: trial <b id=\"best\">%d</b>, %s<br><code>%s</code></p>", best.ID, html.EscapeString(metricsText(p.goal, best)), best.Genotype)
	}
	if len(p.finalists) > 0 {
		fmt.Fprintf(&b, "<h2>Compiled and measured</h2><table id=\"finalists\"><tr><th>trial</th><th>accuracy f32</th><th>%s</th><th>ms predicted</th><th>ms measured</th><th>bytes</th><th>within limits</th></tr>", html.EscapeString(p.finalists[0].Target))
		for _, f := range p.finalists {
			ms := "–"
			if v, ok := f.Predicted["ms"]; ok {
				ms = fmt.Sprintf("%.4f", v)
			}
			fmt.Fprintf(&b, "<tr><td>%d</td><td>%.2f %%</td><td>%.2f %%</td><td>%s</td><td>%.4f</td><td>%s</td><td>%v</td></tr>", f.Trial, 100*f.Predicted["accuracy"], 100*f.Accuracy, ms, f.MS, bytesText(f.Bytes), f.Within)
		}
		b.WriteString("</table>")
	}
	b.WriteString("<h2>Progress</h2><div id=\"progress\">" + p.progress().svg() + "</div>")
	for _, c := range p.fronts() {
		b.WriteString("<h2>" + html.EscapeString(c.yName+" and "+c.xName) + "</h2><div class=\"front\">" + c.svg() + "</div>")
	}
	b.WriteString("<h2>Choices of the networks (black: the best)</h2><div id=\"choices\">" + p.parallel() + "</div>")
	b.WriteString("<h2>How the winner came about</h2>" + p.family())
	fmt.Fprintf(&b, "<h2>Again</h2><pre>%s</pre></html>\n", html.EscapeString(p.meta.Command))
	_, err := io.WriteString(w, b.String())
	return err
}
