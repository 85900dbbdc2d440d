package a64

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"strings"
)

// Writer collects the functions of one file of assembly and their Go
// declarations. Scalar instructions are lines of Go's assembler, whose R5 is X 5.
type Writer struct {
	asm, stubs bytes.Buffer
	labels     int
}

// NewWriter begins the files of a package; header is the first line of both.
func NewWriter(header, pkg string) *Writer {
	w := new(Writer)
	fmt.Fprintf(&w.asm, "%s\n\n//go:build arm64\n\n#include \"textflag.h\"\n", header)
	fmt.Fprintf(&w.stubs, "%s\n\npackage %s\n\n", header, pkg)
	return w
}

// Func begins a function func(a *block) whose argument is loaded into R0.
func (w *Writer) Func(name, block, doc string) {
	fmt.Fprintf(&w.asm, "\n// func %s(a *%s)\nTEXT ·%s(SB), NOSPLIT, $0-8\n", name, block, name)
	fmt.Fprintf(&w.stubs, "// %s %s\n//\n//go:noescape\nfunc %s(a *%s)\n\n", name, doc, name, block)
	w.Op("MOVD a+0(FP), R0")
}

// Declare writes to the Go file.
func (w *Writer) Declare(form string, args ...any) { fmt.Fprintf(&w.stubs, form, args...) }

// Op writes a line of Go's assembler.
func (w *Writer) Op(form string, args ...any) {
	fmt.Fprintf(&w.asm, "\t"+form+"\n", args...)
}

// Put writes encoded instructions.
func (w *Writer) Put(is ...Inst) {
	for _, i := range is {
		fmt.Fprintf(&w.asm, "\tWORD $0x%08x // %s\n", i.Code, i.Text)
	}
}

// NewLabel makes a label that Label places; labels are unique in the file.
func (w *Writer) NewLabel(name string) string {
	w.labels++
	return fmt.Sprintf("%s%d", name, w.labels)
}

// Label places a label.
func (w *Writer) Label(l string) { fmt.Fprintf(&w.asm, "%s:\n", l) }

// Data places 32-bit values, repeated in four lanes each, in read-only memory
// that MOVD $name<>(SB) addresses.
func (w *Writer) Data(name string, values []uint32) {
	fmt.Fprintln(&w.asm)
	for i, v := range values {
		for lane := range 4 {
			fmt.Fprintf(&w.asm, "DATA %s<>+%d(SB)/4, $0x%08x\n", name, 16*i+4*lane, v)
		}
	}
	fmt.Fprintf(&w.asm, "GLOBL %s<>(SB), RODATA|NOPTR, $%d\n", name, 16*len(values))
}

// Fields loads 64-bit fields of the argument block into registers.
func (w *Writer) Fields(fields map[int]X) {
	for off := 0; off < 4096; off += 8 {
		if r, ok := fields[off]; ok {
			w.Op("MOVD %d(R0), R%d", off, r)
		}
	}
}

// Loop writes body until register n, an iteration count, is 0; at once if it is.
func (w *Writer) Loop(name string, n X, body func()) {
	loop, done := w.NewLabel(name), w.NewLabel(name+"done")
	w.Op("CBZ R%d, %s", n, done)
	w.Label(loop)
	body()
	w.Op("SUBS $1, R%d", n)
	w.Op("BNE %s", loop)
	w.Label(done)
}

// LoopBy writes body, which does by units of n, as long as there are as many.
func (w *Writer) LoopBy(name string, n X, by int, body func()) {
	loop, done := w.NewLabel(name), w.NewLabel(name+"done")
	w.Op("CMP $%d, R%d", by, n)
	w.Op("BLT %s", done)
	w.Label(loop)
	body()
	w.Op("SUB $%d, R%d", by, n)
	w.Op("CMP $%d, R%d", by, n)
	w.Op("BGE %s", loop)
	w.Label(done)
}

// Save writes the assembly to path, which ends in .s, and the declarations
// beside it.
func (w *Writer) Save(path string) error {
	if err := os.WriteFile(path, w.asm.Bytes(), 0o644); err != nil {
		return err
	}
	src, err := format.Source(append(bytes.TrimRight(w.stubs.Bytes(), "\n"), '\n'))
	if err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(path, ".s")+".go", src, 0o644)
}
