package passes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// Args are a pass's arguments by name.
type Args map[string]string

// takes says whether the pass may change node n: argument node names the only
// one, by its own name or its result's.
func (a Args) takes(n *ir.Node) bool {
	name, ok := a["node"]
	return !ok || n.Name == name || n.Out().Name == name
}

// check refuses the name of a node that the graph does not have.
func (a Args) check(g *ir.Graph) error {
	if name, ok := a["node"]; ok && !slices.ContainsFunc(g.Nodes, a.takes) {
		return &diag.Error{Place: "node=" + name, Found: "no node of this name in graph @" + g.Name, Wanted: "the name of a node or its result; nasc inspect lists them"}
	}
	return nil
}

// Parse reads passes with their arguments: "fold-bn,fuse-activation" or
// "fuse-bias(node=fc1),cse". Without node= a pass takes every place it can.
func Parse(spec string) ([]Pass, error) {
	if err := checkOrder(List); err != nil {
		panic("BUG: " + err.Error())
	}
	parts, err := splitSpec(spec)
	if err != nil {
		return nil, err
	}
	var out []Pass
	for _, s := range parts {
		name, args, given := strings.Cut(s, "(")
		name = strings.TrimSpace(name)
		if name == "" && !given {
			continue
		}
		row := Lookup(name)
		if row == nil {
			return nil, &diag.Error{Place: "--passes", Found: fmt.Sprintf("%q", name), Wanted: "passes of " + strings.Join(Names(), ", ")}
		}
		p := *row
		if given {
			if p.Args, err = parseArgs(p, strings.TrimSuffix(args, ")")); err != nil {
				return nil, err
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// splitSpec cuts at the commas outside parentheses.
func splitSpec(spec string) ([]string, error) {
	bad := func(found string) error {
		return &diag.Error{Place: "--passes", Found: fmt.Sprintf("%s in %q", found, spec), Wanted: "pass,pass(name=value,…)"}
	}
	var parts []string
	start, depth := 0, 0
	for i, c := range spec {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			parts = append(parts, strings.TrimSpace(spec[start:i]))
			start = i + 1
		case depth == 0 && i > start && spec[i-1] == ')' && c != ' ':
			return nil, bad("text after a closing parenthesis")
		}
		if depth < 0 || depth > 1 {
			return nil, bad("an unexpected parenthesis")
		}
	}
	if depth != 0 {
		return nil, bad("an open parenthesis")
	}
	return append(parts, strings.TrimSpace(spec[start:])), nil
}

func parseArgs(p Pass, text string) (Args, error) {
	a := Args{}
	for _, s := range strings.Split(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(s), "=")
		switch {
		case len(p.Takes) == 0:
			return nil, &diag.Error{Place: "--passes", Found: p.Name + "(" + text + ")", Wanted: p.Name + " without arguments: it takes none"}
		case !ok || value == "" || !slices.Contains(p.Takes, key):
			return nil, &diag.Error{Place: "--passes " + p.Name, Found: fmt.Sprintf("argument %q", s), Wanted: strings.Join(p.Takes, "=…, ") + "=…"}
		}
		if _, twice := a[key]; twice {
			return nil, &diag.Error{Place: "--passes " + p.Name, Found: key + " given twice", Wanted: "each argument once"}
		}
		a[key] = value
	}
	return a, nil
}
