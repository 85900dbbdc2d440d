package cli

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/queue"
	"github.com/nasc-dev/nasc/search/strategy"
	"github.com/nasc-dev/nasc/search/study"
)

// command is what makes a study again: its settings that are not the flags' own
// defaults, and the budget that it takes.
func command(c *cobra.Command, spacePath string, m study.Meta, budget string) string {
	args := []string{"nasc", c.Name()}
	if spacePath != "" {
		args = append(args, shellWord(spacePath))
	}
	add := func(name, value string) {
		if f := c.Flags().Lookup(name); f != nil && f.DefValue == value {
			return
		}
		args = append(args, "--"+name, shellWord(value))
	}
	args = append(args, "--strategy", m.Strategy)
	for _, k := range slices.Sorted(maps.Keys(m.Options)) {
		args = append(args, "--opt", shellWord(k+"="+m.Options[k]))
	}
	for t := range strings.SplitSeq(m.Settings["table"], "\n") {
		if t != "" {
			args = append(args, "--table", shellWord(t))
		}
	}
	if c.Flags().Lookup("objective") != nil {
		add("objective", m.Objective)
	}
	for _, k := range slices.Sorted(maps.Keys(m.Limits)) {
		add("max-"+k, strconv.FormatFloat(m.Limits[k], 'g', -1, 64))
	}
	add("data", m.Data)
	for _, name := range slices.Concat(settings, given) {
		if v, ok := m.Settings[name]; ok {
			if c.Flags().Lookup(name).Value.Type() == "bool" {
				if v == "true" {
					args = append(args, "--"+name)
				}
				continue
			}
			add(name, v)
		}
	}
	if f := c.Flags().Lookup("allow-foreign"); f != nil && f.Value.String() == "true" {
		args = append(args, "--allow-foreign")
	}
	args = append(args, "--seed", fmt.Sprint(m.Seed), "--window", fmt.Sprint(m.Window))
	return strings.Join(args, " ") + budgetArgs(m, budget)
}

// budgetArgs ends a command: the budget, and what the strategy was set up for
// where that decides what it proposes.
func budgetArgs(m study.Meta, budget string) string {
	text := " --budget " + shellWord(budget)
	if trials, err := strconv.Atoi(budget); err == nil && m.Budget != trials {
		if row, err := strategy.Lookup(m.Strategy); err == nil && row.Planned {
			text += " --plan " + fmt.Sprint(m.Budget)
		}
	}
	return text
}

// retold is a study's command with the trials that it has by now, where its
// budget was a time or has grown.
func retold(s *study.Study) string {
	trials := 0
	for _, r := range s.Rows() {
		if r.Note != search.LastNote {
			trials++
		}
	}
	head, tail, ok := cutLast(s.Meta.Command, " --budget ")
	if !ok || trials == 0 {
		return s.Meta.Command
	}
	was, _, _ := strings.Cut(tail, " ")
	if n, err := strconv.Atoi(was); err == nil && n >= trials {
		return s.Meta.Command
	}
	return head + budgetArgs(s.Meta, fmt.Sprint(trials))
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// budgetText is a budget of so many trials that were made, or what was asked
// for where there are none.
func (r *searching) budgetText(trials int) string {
	if trials == 0 {
		return r.budget
	}
	return fmt.Sprint(trials)
}

// again is what makes a search and its result again, in files of their own: what
// is there is not written over.
func again(r *searching, trials int) string {
	args := []string{command(r.cmd, r.space, r.meta, r.budgetText(trials))}
	for _, name := range []string{"finalists", "final-epochs", "test"} {
		if f := r.cmd.Flags().Lookup(name); f != nil && f.Changed {
			args = append(args, "--"+name, shellWord(f.Value.String()))
		}
	}
	if s := r.searchFlags.study; s != "" {
		args = append(args, "--study", shellWord(besides(s)))
	}
	if t := r.teacher; t != nil && t.policyOut != "" {
		args = append(args, "--policy-out", shellWord(besides(t.policyOut)))
	}
	if r.out != "" {
		args = append(args, "-o", shellWord(besides(r.out)))
	}
	return strings.Join(args, " ")
}

// besides is a file's name for a second one: s-again.db.
func besides(path string) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-again" + ext
}

// unkept are the flags that a study does not hold: what goes on with it needs
// them again.
var unkept = []string{
	"budget", "jobs", "allow-foreign", "nats", "nats-listen", "workers", "ack-wait", "finalists", "final-epochs", "test", "policy-out", "report", "output", "json",
}

// goesOn is the command that goes on with a study and ends as this one would
// have.
func (r *searching) goesOn() string {
	args := []string{"nasc", r.cmd.Name(), "--study", shellWord(r.searchFlags.study)}
	for _, name := range unkept {
		f := r.cmd.Flags().Lookup(name)
		if f == nil || !slices.Contains(r.said, name) {
			continue
		}
		v := f.Value.String()
		if name == "nats" {
			v = queue.Hidden(v)
		}
		switch {
		case f.Value.Type() == "bool":
			args = append(args, "--"+name)
		case name == "output":
			args = append(args, "-o", shellWord(v))
		default:
			args = append(args, "--"+name, shellWord(v))
		}
	}
	return strings.Join(args, " ")
}

// interrupted says what is kept of a search that was stopped, and how it goes on.
func (r *searching) interrupted(a *app, trials int) {
	switch {
	case r.study != nil:
		a.note("%d trials are done; this goes on: %s", trials, r.goesOn())
	case trials > 0:
		a.note("%d trials were done, and nothing keeps them: --study FILE.db does", trials)
	}
}

// spaceOf is the path of a space or model in a command that shellWord wrote; ""
// where there is none.
func spaceOf(command string) string {
	words := strings.SplitN(command, " ", 3)
	if len(words) < 3 || strings.HasPrefix(words[2], "--") {
		return ""
	}
	text := words[2]
	if !strings.HasPrefix(text, "'") {
		word, _, _ := strings.Cut(text, " ")
		return word
	}
	var out strings.Builder
	for text != "" && text[0] != ' ' { // 'a'\''b'
		switch text[0] {
		case '\'':
			part, rest, _ := strings.Cut(text[1:], "'")
			out.WriteString(part)
			text = rest
		case '\\':
			out.WriteString(text[1:min(2, len(text))])
			text = text[min(2, len(text)):]
		default:
			out.WriteByte(text[0])
			text = text[1:]
		}
	}
	return out.String()
}

// shellWord quotes what a shell would take apart.
func shellWord(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\n\"'`$&|;<>()[]{}*?!#~\\") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// limit reads --budget.
func (s *searchFlags) limit() (trials int, wall time.Duration, err error) {
	if n, err := strconv.Atoi(s.budget); err == nil && n > 0 {
		return n, 0, nil
	}
	if d, err := time.ParseDuration(s.budget); err == nil && d > 0 {
		return 0, d, nil
	}
	return 0, 0, &diag.Error{Place: "--budget", Found: fmt.Sprintf("%q", s.budget), Wanted: "trials (2000) or wall time (20m)"}
}
