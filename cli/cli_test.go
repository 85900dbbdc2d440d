package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nasc-dev/nasc/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"nasc": func() { os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs testdata/*.txtar: commands as a user types them, with what
// they print and leave behind.
func TestScripts(t *testing.T) {
	zoo, err := filepath.Abs("../zoo")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ZOO", zoo)
			e.Setenv("HOME", e.WorkDir)
			if d := os.Getenv("XDG_CACHE_HOME"); d != "" {
				e.Setenv("XDG_CACHE_HOME", d)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// cut FILE N keeps the first N bytes; flip FILE N changes the byte at N.
			"cut": func(ts *testscript.TestScript, _ bool, args []string) {
				path := ts.MkAbs(args[0])
				b, err := os.ReadFile(path)
				ts.Check(err)
				ts.Check(os.WriteFile(path, b[:len(b)*number(args[1])/100], 0o600))
			},
			"flip": func(ts *testscript.TestScript, _ bool, args []string) {
				path := ts.MkAbs(args[0])
				b, err := os.ReadFile(path)
				ts.Check(err)
				b[len(b)*number(args[1])/100] ^= 0xff
				ts.Check(os.WriteFile(path, b, 0o600))
			},
			// leftovers fails where temporary files lie in the work folder.
			"leftovers": func(ts *testscript.TestScript, neg bool, _ []string) {
				entries, err := os.ReadDir(ts.MkAbs("."))
				ts.Check(err)
				for _, e := range entries {
					if strings.HasPrefix(e.Name(), ".nasc-") || e.Name() != ".tmp" && strings.HasSuffix(e.Name(), ".tmp") {
						ts.Fatalf("%s was left behind", e.Name())
					}
				}
				if neg {
					ts.Fatalf("leftovers has no negation")
				}
			},
		},
	})
}

// number reads a percentage.
func number(s string) int {
	n := 0
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}
