//go:build !amd64 && !arm64

package move

import "github.com/nasc-dev/nasc/backends/cpu/kernels/isa"

// vectors names the kernels of this file, which has none.
const vectors = isa.Portable

// interleave3 gives the kernel for elements of a size, nil where there is none.
func interleave3(int, isa.Level) planes { return nil }

// turner gives the kernel that transposes blocks of elements of a size, nil
// where there is none.
func turner(int, isa.Level) turn { return nil }
