//go:build !linux

package peak

// hasAMX: only Linux is asked for the tiles here.
func hasAMX() bool { return false }
