// Package xlaplugin finds the XLA plugin (a PJRT shared library) on this
// machine. It loads nothing and needs no cgo; it imports only diag.
package xlaplugin

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Find gives the path of the CPU plugin. It looks at GOMLX_BACKEND=xla:FILE,
// then the folders of PJRT_PLUGIN_LIBRARY_PATH, then NASC_XLA_DIR or the
// user's cache, where `make xla` puts it, then go-xla's own places.
func Find() (string, error) {
	if f, ok := strings.CutPrefix(os.Getenv("GOMLX_BACKEND"), "xla:"); ok && filepath.IsAbs(f) {
		if _, err := os.Stat(f); err != nil {
			return "", diag.At("GOMLX_BACKEND", err)
		}
		return f, nil
	}
	dirs := filepath.SplitList(os.Getenv("PJRT_PLUGIN_LIBRARY_PATH"))
	if d := os.Getenv("NASC_XLA_DIR"); d != "" {
		dirs = append(dirs, d)
	} else if d := cacheDir(); d != "" {
		dirs = append(dirs, filepath.Join(d, "nasc", "xla"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, ".local", "lib", "go-xla"))
	}
	dirs = append(dirs, "/usr/local/lib/go-xla")
	ext := map[string]string{"darwin": ".dylib", "windows": ".dll"}[runtime.GOOS]
	if ext == "" {
		ext = ".so"
	}
	for _, d := range dirs {
		for _, pattern := range []string{"pjrt_c_api_cpu_plugin", "pjrt-plugin-cpu", "pjrt_plugin_cpu"} {
			if f := filepath.Join(d, pattern+ext); exists(f) {
				return f, nil
			}
		}
	}
	return "", &diag.Error{
		Place: "XLA plugin", Found: "no pjrt_c_api_cpu_plugin" + ext + " in " + strings.Join(dirs, ", "),
		Fix: "`make xla` brings it, or set PJRT_PLUGIN_LIBRARY_PATH to its folder",
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// cacheDir is where the shell script that fetches the plugin puts caches.
func cacheDir() string {
	if d := os.Getenv("XDG_CACHE_HOME"); d != "" {
		return d
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".cache")
}
