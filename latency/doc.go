// Package latency measures what the kernels of a plan cost on this device,
// keeps that in a table, and predicts networks from it.
//
// The unit is a step of a plan: the kernel as the target executes it, fused,
// with its shapes. It is timed inside runs of whole networks, where it meets
// the caches as it will (long runs pause for looks at an anchor: RunPieces), so
// that a network is the sum of its rows; what runs take beside that is learned
// from whole networks (correction). What a kernel
// took in each network stays in the table, and the middle of it counts
// (settle). Of a target whose compiler fuses as it likes the unit is a block of
// the graph, timed alone on inputs that are where the program works (ByBlocks);
// what blocks take in networks is learned from whole ones (within). Their
// times are multiples of an anchor's beside them, since their runs are too long
// for all to meet the machine at one speed (steady). A kernel that
// is not in the table is predicted by a model of its family (family): a roof
// over work and traffic, and what it leaves over from boosted trees and from
// rows of the same form, blended as rows held out liked it best. Of a kind that
// the table has not at all it is an error that names it, never zero.
//
// The package may import backends, backends/cpu, passes, ir and what is below.
package latency
