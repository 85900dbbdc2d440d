package move

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

// CopySpec copies the first Bytes bytes of X to Y.
type CopySpec struct{ Bytes int }

// Copy prepares a plain copy.
func Copy(s CopySpec, _ isa.Level) (Kernel, error) { return &s, nil }

const copyPiece = 32 << 10

// Name is the kernel's name in plans.
func (s *CopySpec) Name() string { return "copy" }

// Tiles is the number of 32 KiB pieces.
func (s *CopySpec) Tiles() int { return (s.Bytes + copyPiece - 1) / copyPiece }

// ScratchBytes is none.
func (s *CopySpec) ScratchBytes() int { return 0 }

// Run copies pieces [lo, hi).
func (s *CopySpec) Run(lo, hi int, a *Args) {
	from, to := lo*copyPiece, min(hi*copyPiece, s.Bytes)
	copy(a.Y[from:to], a.X[from:to])
}

// FillSpec sets all of Y to one element's bytes, again and again.
type FillSpec struct{ Value []byte }

// Fill prepares a fill.
func Fill(s FillSpec, _ isa.Level) (Kernel, error) { return &s, nil }

// Name is the kernel's name in plans.
func (s *FillSpec) Name() string { return "fill" }

// Tiles is one.
func (s *FillSpec) Tiles() int { return 1 }

// ScratchBytes is none.
func (s *FillSpec) ScratchBytes() int { return 0 }

// Run fills.
func (s *FillSpec) Run(_, _ int, a *Args) {
	for at := copy(a.Y, s.Value); at > 0 && at < len(a.Y); at *= 2 {
		copy(a.Y[at:], a.Y[:at])
	}
}
