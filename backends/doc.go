// Package backends says what a target is: something that compiles a static
// graph for one kind of machine and runs it. It owns the interface, the checks
// of tensors that every target makes alike, and the description of a plan's
// steps. The targets themselves are the packages below it; their list is
// package nasc's. It may import ir and internal/diag only.
package backends
