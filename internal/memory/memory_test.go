package memory

import (
	"math"
	"testing"
	"testing/fstest"
)

// A container's limit counts, of either version and of groups above, and what
// the kernel can drop is free.
func TestLeftToGroups(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	root := fstest.MapFS{
		"memory.max": file("max"), "memory.current": file("900"),
		"a/memory.max": file("5000"), "a/memory.current": file("2000"), "a/memory.stat": file("anon 7\ninactive_file 300\nslab 9"),
		"a/b/memory.max": file("9000"), "a/b/memory.current": file("1500"),
		"memory/memory.limit_in_bytes": file("9223372036854771712"), "memory/memory.usage_in_bytes": file("1000"),
		"memory/c/memory.limit_in_bytes": file("800"), "memory/c/memory.usage_in_bytes": file("900"),
	}
	for groups, want := range map[string]int64{
		"0::/a/b\n":                3300,
		"0::/\n":                   math.MaxInt64,
		"3:cpu:/x\n4:memory:/c\n":  1, // more than there is: 0 stands for not known
		"4:memory:/gone\n0::/a\n":  3300,
		"2:memory:/\nnot a line\n": 9223372036854770712,
		"":                         math.MaxInt64,
	} {
		if got := leftToGroups(root, groups); got != want {
			t.Errorf("%q leaves %d, wanted %d", groups, got, want)
		}
	}
}
