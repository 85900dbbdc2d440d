package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nasc-dev/nasc/cli"
	"github.com/nasc-dev/nasc/internal/npy"
	"github.com/nasc-dev/nasc/ir"
)

// extra are commands of the scripts that not every system has.
var extra = map[string]func(){}

func TestMain(m *testing.M) {
	commands := map[string]func(){
		"nasc": func() { // as cmd/nasc does
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			code := cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
			stop()
			os.Exit(code)
		},
	}
	maps.Copy(commands, extra)
	testscript.Main(m, commands)
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
			// nan FILE N overwrites 64 bytes at N percent so that floats there are NaN.
			"nan": func(ts *testscript.TestScript, _ bool, args []string) {
				path := ts.MkAbs(args[0])
				b, err := os.ReadFile(path)
				ts.Check(err)
				at := len(b) * number(args[1]) / 100
				copy(b[at:], bytes.Repeat([]byte{0xff}, 64))
				ts.Check(os.WriteFile(path, b, 0o600))
			},
			// tensor FILE DIM… writes float32 numbers that count up from 0 by 1/64.
			"tensor": func(ts *testscript.TestScript, _ bool, args []string) {
				shape := ir.Shape{}
				for _, a := range args[1:] {
					shape = append(shape, number(a))
				}
				x := ir.NewTensor(ir.F32, shape...)
				for i := range x.F32() {
					x.F32()[i] = float32(i) / 64
				}
				ts.Check(npy.Write(ts.MkAbs(args[0]), x))
			},
			// picture FILE W H writes a PNG.
			"picture": func(ts *testscript.TestScript, _ bool, args []string) {
				m := image.NewGray(image.Rect(0, 0, number(args[1]), number(args[2])))
				for i := range m.Pix {
					m.Pix[i] = byte(7 * i)
				}
				var b bytes.Buffer
				ts.Check(png.Encode(&b, m))
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o600))
			},
			// exits CODE COMMAND… fails where the command ends with another code.
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				code := 0
				if exit := (*exec.ExitError)(nil); errors.As(ts.Exec(args[1], args[2:]...), &exit) {
					code = exit.ExitCode()
				}
				if code != number(args[0]) {
					ts.Fatalf("%s ended with %d, wanted %s", strings.Join(args[1:], " "), code, args[0])
				}
			},
			"convnet": convnet,
			// smaller A B N fails where A has more than N percent of B's bytes.
			"smaller": func(ts *testscript.TestScript, _ bool, args []string) {
				a, b := ts.ReadFile(args[0]), ts.ReadFile(args[1])
				if 100*len(a) > number(args[2])*len(b) {
					ts.Fatalf("%s has %d bytes, %s %d", args[0], len(a), args[1], len(b))
				}
			},
			// samesize JSON FILE fails where JSON's file_bytes is not FILE's size.
			"samesize": func(ts *testscript.TestScript, _ bool, args []string) {
				want := fmt.Sprintf(`"file_bytes":%d,`, len(ts.ReadFile(args[1])))
				if !strings.Contains(ts.ReadFile(args[0]), want) {
					ts.Fatalf("%s has no %s", args[0], want)
				}
			},
			// cmptrials A B compares exported trials but for their times.
			"cmptrials": func(ts *testscript.TestScript, _ bool, args []string) {
				untimed := func(text string) (out string) {
					for line := range strings.Lines(text) {
						out += line[:strings.LastIndexByte(line, ',')+1] + "\n"
					}
					return out
				}
				if a, b := untimed(ts.ReadFile(args[0])), untimed(ts.ReadFile(args[1])); a != b {
					ts.Fatalf("other trials:\n%s\n%s", a, b)
				}
			},
			// leftovers fails where temporary files lie in the work folder.
			"leftovers": func(ts *testscript.TestScript, neg bool, _ []string) {
				entries, err := os.ReadDir(ts.MkAbs("."))
				ts.Check(err)
				for _, e := range entries {
					if e.Name() != ".tmp" && (strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(e.Name(), ".tmp")) {
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

// number reads a whole number.
func number(s string) int {
	n := 0
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}
