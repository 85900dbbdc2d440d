package isa

import (
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for l := Portable; l <= NEONDot; l++ {
		got, err := Parse(l.String())
		if err != nil || got != l {
			t.Errorf("Parse(%q) = %v, %v", l.String(), got, err)
		}
	}
	if _, err := Parse("sse9"); err == nil || !strings.Contains(err.Error(), "portable, avx2, avxvnni, vnni, amx, neon, neondot") {
		t.Errorf("error of an unknown name: %v", err)
	}
}

func TestAvailable(t *testing.T) {
	ls := Available()
	if len(ls) == 0 || ls[len(ls)-1] != Portable || !slices.IsSortedFunc(ls, func(a, b Level) int { return int(b) - int(a) }) {
		t.Errorf("available %v: wanted best first and portable last", ls)
	}
}

func TestChoose(t *testing.T) {
	if l, err := choose(""); err != nil || l != available[0] {
		t.Errorf("no wish: %v, %v", l, err)
	}
	if l, err := choose("portable"); err != nil || l != Portable {
		t.Errorf("portable: %v, %v", l, err)
	}
	if _, err := choose("fast"); err == nil || !strings.HasPrefix(err.Error(), "NASC_ISA: unknown") {
		t.Errorf("unknown wish: %v", err)
	}
	old := available
	defer func() { available = old }()
	available = []Level{Portable}
	if _, err := choose("vnni"); err == nil || !strings.Contains(err.Error(), "cannot run vnni; wanted one of portable") {
		t.Errorf("unsupported wish: %v", err)
	}
}

func TestHas(t *testing.T) {
	for _, c := range []struct {
		l, k Level
		want bool
	}{{VNNI, AVX2, true}, {VNNI, AVXVNNI, false}, {AVXVNNI, AVX2, true}, {AVX2, AVXVNNI, false}, {Portable, Portable, true}, {Portable, AVX2, false}, {NEON, AVX2, false}, {NEONDot, NEON, true}, {NEON, NEONDot, false}, {VNNI, NEON, false}} {
		if c.l.Has(c.k) != c.want {
			t.Errorf("%v.Has(%v) = %v", c.l, c.k, !c.want)
		}
	}
}

func TestProcessorOf(t *testing.T) {
	const info = "processor\t: 0\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD  EPYC\n\nprocessor\t: 1\ncpu family\t: 99\n"
	if got, want := processorOf(info), "AMD EPYC family 26 model 2"; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	if got := processorOf("processor\t: 0\n"); got != runtime.GOARCH {
		t.Errorf("a processor without a name is %q", got)
	}
}
