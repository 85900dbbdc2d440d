package a64

import (
	"bufio"
	"debug/elf"
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/encodings.txt anew, by GNU as")

// samples has every operation, with registers and lanes that use all bits of
// their fields.
func samples() []Inst {
	var is []Inst
	for _, op := range slices.Sorted(maps.Keys(three)) {
		arrs := []Arr{S2, S4}
		if three[op].size == bySize {
			arrs = []Arr{B8, B16, H4, H8, S4}
		} else if three[op].bits&0xf000 == 0x1000 { // of bytes
			arrs = []Arr{B8, B16}
		}
		for _, a := range arrs {
			is = append(is, Three(op, a, 31, 10, 21))
		}
	}
	for _, op := range slices.Sorted(maps.Keys(two)) {
		is = append(is, Two(op, S4, 21, 10), Two(op, S2, 10, 31))
	}
	for _, op := range slices.Sorted(maps.Keys(across)) {
		is = append(is, Across(op, 30, 9))
	}
	for _, a := range []Arr{B8, B16, H4, H8} {
		for _, op := range slices.Sorted(maps.Keys(long)) {
			is = append(is, Long(op, a, 30, 5, 17))
		}
		for _, op := range slices.Sorted(maps.Keys(addWide)) {
			is = append(is, AddWide(op, a, 30, 5, 17))
		}
		for _, op := range slices.Sorted(maps.Keys(extend)) {
			is = append(is, Extend(op, a, 9, 22))
		}
		for _, op := range slices.Sorted(maps.Keys(narrow)) {
			is = append(is, Narrow(op, a, 9, 22))
		}
	}
	for _, op := range slices.Sorted(maps.Keys(shifts)) {
		is = append(is, Shift(op, 3, 30, 1), Shift(op, 3, 30, 23), Shift(op, 3, 30, 31))
	}
	is = append(is, Mov(17, 30), Dot(1, 18, 31), Table("tbl", 1, 16, 4, 7), Table("tbx", 30, 0, 4, 31), Table("tbl", 2, 5, 1, 6), Table("tbl", 2, 5, 2, 6))
	for lane := range uint32(4) {
		is = append(is, DotLane(8, 31, 20, lane), FmaLane(9, 22, 30, lane), MulLane(9, 22, 30, lane), LoadLane(7, lane, 19), StoreLane(7, lane, 19))
		is = append(is, LongLane(H4, 31, 6, 15, 2*lane), LongLane(H8, 31, 6, 15, 2*lane+1), Dup(S4, 3, 20, lane), Dup(H8, 3, 20, 7-lane), Dup(B16, 3, 20, 15-lane))
	}
	is = append(is, DupX(S4, 30, 9), DupX(H8, 30, 9), DupX(B16, 30, 9), Movi(31, 0x80), Movi(1, 0x7f), Movi(2, 0))
	for _, s := range []Size{Q, D, S, B} {
		is = append(is, Load(s, 17, 26, 0), Load(s, 17, 26, 7*s.bytes), Store(s, 17, 26, 7*s.bytes), LoadPost(s, 18, 25, int(s.bytes)), LoadPost(s, 18, 25, -256), StorePost(s, 18, 25, int(s.bytes)), LoadAt(s, 9, 20, 17), StoreAt(s, 9, 20, 17))
	}
	return append(is, Store3Post(B16, 17, 9), Store3Post(S4, 17, 9), Three("zip2", D2, 9, 22, 31), Dup(D2, 3, 20, 1), LoadDup(S4, 8, 21), LoadDup(B16, 8, 21), LoadDup(H8, 8, 21), LoadDupPost(S4, 29, 16, 9))
}

// Every encoding is the one that GNU as gives its text; testdata/encodings.txt
// holds what it gave.
func TestEncodings(t *testing.T) {
	const file = "testdata/encodings.txt"
	is := samples()
	if *rewrite {
		var out strings.Builder
		for i, code := range assemble(t, is) {
			fmt.Fprintf(&out, "%08x %s\n", code, is[i].Text)
		}
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	known := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		code, text, _ := strings.Cut(s.Text(), " ")
		known[text] = code
	}
	for _, i := range is {
		if got := fmt.Sprintf("%08x", i.Code); got != known[i.Text] {
			t.Errorf("%s is %s, GNU as gives %s", i.Text, got, known[i.Text])
		}
	}
}

// Every word of the generated assembly is what GNU as makes of its comment.
func TestGeneratedWords(t *testing.T) {
	if _, err := exec.LookPath(gnuAs); err != nil {
		t.Skip(gnuAs + " is not installed")
	}
	word := regexp.MustCompile(`(?m)^\tWORD \$0x([0-9a-f]{8}) // (.*)$`)
	files, err := filepath.Glob("../*/*_arm64.s")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Inst]bool{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range word.FindAllStringSubmatch(string(b), -1) {
			code, _ := strconv.ParseUint(m[1], 16, 32)
			seen[Inst{uint32(code), m[2]}] = true
		}
	}
	is := slices.Collect(maps.Keys(seen))
	for n, code := range assemble(t, is) {
		if is[n].Code != code {
			t.Errorf("%s is %08x, GNU as gives %08x", is[n].Text, is[n].Code, code)
		}
	}
}

const gnuAs = "aarch64-linux-gnu-as"

func assemble(t *testing.T, is []Inst) []uint32 {
	t.Helper()
	var src strings.Builder
	for _, i := range is {
		src.WriteString(i.Text + "\n")
	}
	obj := filepath.Join(t.TempDir(), "x.o")
	cmd := exec.Command(gnuAs, "-march=armv8.2-a+dotprod", "-o", obj, "-")
	cmd.Stdin = strings.NewReader(src.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := elf.Open(obj)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := f.Section(".text").Data()
	if err != nil || len(text) != 4*len(is) {
		t.Fatalf("%d bytes of %d instructions: %v", len(text), len(is), err)
	}
	codes := make([]uint32, len(is))
	for i := range codes {
		codes[i] = binary.LittleEndian.Uint32(text[4*i:])
	}
	return codes
}
