//go:build !linux

package latency

// crowd would watch what other processes take; here the system does not tell.
type crowd struct{}

func newCrowd(int, int) *crowd { return &crowd{} }

func (*crowd) crowded() bool { return false }
