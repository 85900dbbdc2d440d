package cli

import (
	"fmt"
	"html"
	"strings"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/search"
)

// family draws the winner and its ancestors, each as a row of its blocks, with
// the edits that lead from one to the next.
func (p *studyPage) family() string {
	steps := lineage(p.trials)
	if len(steps) == 0 {
		return "<p>no network could be evaluated</p>"
	}
	byID := map[int64]*search.Trial{}
	for _, t := range p.trials {
		byID[t.ID] = t
	}
	var b strings.Builder
	var before []arch.Stage
	for _, s := range steps {
		fmt.Fprintf(&b, `<div class="step"><p>trial %d, %s`, s.ID, s.accuracyText())
		if len(s.Edits) > 0 {
			fmt.Fprintf(&b, "; <code>%s</code>, max |Δlogit| %.2g of %.3g", html.EscapeString(strings.Join(s.Edits, "; ")), s.Delta, s.MaxOut)
		}
		if p.students != nil {
			fmt.Fprintf(&b, "; <code>%s</code>", html.EscapeString(strings.Join(p.students.Edits(byID[s.ID].Genotype), "; ")))
		}
		b.WriteString("</p>")
		stages := p.stages(byID[s.ID])
		if stages == nil {
			fmt.Fprintf(&b, "<p><code>%s</code></p></div>", html.EscapeString(s.Genotype))
			continue
		}
		b.WriteString(stagesSVG(stages, before) + "</div>")
		before = stages
	}
	return b.String()
}

// stages are the blocks of a trial's network; nil for a benchmark's.
func (p *studyPage) stages(t *search.Trial) []arch.Stage {
	if p.space == nil {
		return nil
	}
	text, err := p.space.Instance(t.Genotype)
	if err != nil {
		return nil
	}
	_, info, err := arch.Trace(p.space.Name, []byte(text))
	if err != nil {
		return nil
	}
	return info.Stages
}

// stagesSVG draws blocks in a row, as high as they are wide in channels; those
// that the network before did not have are coloured.
func stagesSVG(stages, before []arch.Stage) string {
	const w, gap, high = 62, 6, 74
	was := map[string]string{}
	for _, s := range before {
		was[s.Name] = s.Params
	}
	most := 1
	channels := func(s arch.Stage) int {
		if n := len(s.Out.Shape); n > 0 {
			return max(1, s.Out.Shape[n-1])
		}
		return 1
	}
	for _, s := range stages {
		most = max(most, channels(s))
	}
	var b strings.Builder
	wide := len(stages) * (w + gap)
	fmt.Fprintf(&b, `<div style="overflow:auto"><svg viewBox="0 0 %d %d" width="%d" xmlns="http://www.w3.org/2000/svg">`, wide, high+34, wide)
	for i, s := range stages {
		h := max(14, high*channels(s)/most)
		colour := "#dbe7f3"
		if params, there := was[s.Name]; before != nil && !there {
			colour = "#c9e2b3"
		} else if before != nil && params != s.Params {
			colour = "#f5ecc8"
		}
		x := i * (w + gap)
		kind, _, _ := strings.Cut(s.Params, " ")
		fmt.Fprintf(&b, `<g><title>%s: %s → %v</title><rect x="%d" y="%d" width="%d" height="%d" rx="4" fill="%s" stroke="#888"/><text x="%d" y="%d" class="v" text-anchor="middle">%s</text><text x="%d" y="%d" class="l" text-anchor="middle">%d</text></g>`,
			html.EscapeString(s.Name), html.EscapeString(s.Params), s.Out.Shape, x, high-h, w, h, colour, x+w/2, high+13, html.EscapeString(clip(kind, 10)), x+w/2, high+27, channels(s))
	}
	b.WriteString("</svg></div>")
	return b.String()
}
