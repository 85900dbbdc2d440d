// Package coupling finds which channels of which tensors belong together: what
// must be removed, copied or moved with them when a network is pruned, widened
// or sorted. It owns the dependency analysis, with a rule for every op of the
// table, and the rewriting of weights and attributes that follows from a plan.
// What to remove or copy is its callers' business. It imports ir and diag.
//
// Every position of every axis that can change gets an atom. Two relations join
// atoms: same (it is one channel: the operands of an addition, the result of a
// convolution and its bias) and, wider, unit (it cannot be separated: the
// channels of one group, the values of one attention head). A plan says for
// each unit how many copies stay, 0 to remove it; each op's rule then brings
// its attributes in line or says why it cannot.
package coupling
