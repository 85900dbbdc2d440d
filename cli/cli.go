// Package cli is the command line: one file a command, flags, output, exit
// codes. What commands do is in package nasc and below; here is only how it is
// asked for and shown.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/diag"
)

// Exit codes.
const (
	exitDone  = 0
	exitUnmet = 1 // it ran, and a budget or check was not met
	exitBad   = 2 // bad input or usage
)

// errUnmet is returned by commands whose check failed after their output was
// printed.
type errUnmet struct{ text string }

func (e errUnmet) Error() string { return e.text }

// app holds what all commands share.
type app struct {
	out, err io.Writer
	json     bool
}

// Main runs a command line and gives the exit code.
func Main(ctx context.Context, args []string, out, stderr io.Writer) int {
	a := &app{out: out, err: stderr}
	root := &cobra.Command{
		Use:           "nasc",
		Short:         "a compiler for neural networks that proves each step",
		Long:          "nasc takes a trained ONNX model or an architecture, quantizes it to int8, compiles it for\nthis CPU or XLA, measures what changed and exports what can be deployed.",
		Version:       nasc.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetVersionTemplate("nasc {{.Version}}\n")
	root.SetOut(out)
	root.SetErr(stderr)
	root.SetArgs(args)
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print one JSON object on stdout and nothing else there")
	root.AddCommand(a.targets(), a.compile(), a.run(), a.eval(), a.bench(), a.verify(), a.inspect(), a.opt(), a.export(), a.profile(), a.latency(), a.space(), a.design(), a.train(), a.prune(), a.compress(), a.search(), a.study(), a.worker())
	for _, c := range root.Commands() {
		explain(c)
	}
	root.SetFlagErrorFunc(misspelt)
	err := root.ExecuteContext(ctx)
	var unmet errUnmet
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &unmet):
		fmt.Fprintln(stderr, "nasc:", err)
		return exitUnmet
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "nasc: interrupted")
		return exitUnmet
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(stderr, "nasc:", strings.TrimRight(line, "\n"))
	}
	if errors.Is(err, diag.ErrUnmet) {
		return exitUnmet
	}
	return exitBad
}

// explain makes a command say which arguments it takes where others are given, and
// a group of commands refuse a name that it does not have, instead of printing help
// as if all were well.
func explain(c *cobra.Command) {
	subs := c.Commands()
	for _, s := range subs {
		explain(s)
	}
	use := strings.TrimSuffix(c.CommandPath(), c.Name()) + c.Use
	for _, s := range subs {
		if !s.Hidden {
			use += ", or " + s.CommandPath()
		}
	}
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if check(cmd, args) == nil {
				return nil
			}
			found := "no arguments"
			if len(args) > 0 {
				found = "arguments " + strings.Join(args, " ")
			}
			return &diag.Error{Place: cmd.Name(), Found: found, Wanted: use, Fix: cmd.CommandPath() + " --help says more"}
		}
	}
	if c.RunE == nil && len(subs) > 0 {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			var names []string
			for _, s := range subs {
				if !s.Hidden {
					names = append(names, s.Name())
				}
			}
			return &diag.Error{Place: cmd.Name(), Found: "unknown command " + strconv.Quote(args[0]), Wanted: "one of " + strings.Join(names, ", ")}
		}
	}
}

// misspelt names the flag that an unknown one is nearest to.
func misspelt(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return diag.At(c.CommandPath(), err)
	}
	name, nearest, least := unknown.GetSpecifiedName(), "", 3 // changes that a slip makes
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if d := changes(name, f.Name); !f.Hidden && d < least && d < len(f.Name) {
			nearest, least = f.Name, d
		}
	})
	e := &diag.Error{Place: c.CommandPath(), Found: err.Error(), Fix: c.CommandPath() + " --help lists them"}
	if nearest != "" {
		e.Wanted = "perhaps --" + nearest
	}
	return e
}

// changes is the least number of letters to put in, take out or replace that make
// b of a.
func changes(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := before
			if a[i] != b[j] {
				d++
			}
			before = row[j+1]
			row[j+1] = min(d, before+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// show prints v as JSON where asked for, and by text otherwise.
func (a *app) show(v any, text func(w io.Writer)) error {
	if !a.json {
		text(a.out)
		return nil
	}
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// note writes a line for people, never to stdout.
func (a *app) note(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }

// progress gives a callback that draws a bar on a terminal and lines
// otherwise.
func (a *app) progress() (update func(stage string, done, total int), finish func()) {
	f, ok := a.err.(*os.File)
	if !ok || !terminal(f) {
		p := &lines{w: a.err}
		return p.update, func() {}
	}
	b := newBars(f)
	return b.update, b.finish
}

func bytesText(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 10<<10:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}

func countText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f G", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2f M", float64(n)/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.1f k", float64(n)/1e3)
	}
	return fmt.Sprint(n)
}
