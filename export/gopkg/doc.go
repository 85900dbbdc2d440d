// Package gopkg writes a network as a Go package of its own: the engine's plan
// as Go code, the weights embedded, copies of the kernels that the plan needs,
// a command, an example, and a test with golden outputs. What it writes needs
// the standard library and golang.org/x/sys only, and computes the same bits as
// nasc does.
//
// It may import backends/cpu, ir and internal/diag. The kernels' source text
// comes from the caller, who embeds it.
package gopkg
