package passes

// transforms are the passes that change a network and keep its function. They
// run where they are named only.
var transforms = []Pass{
	{Name: "widen", Doc: "copies channels, factor= times as many or to= of them", Promise: Keeps, Grow: widen, Takes: []string{"node", "factor", "to", "noise", "seed"}, Optional: true},
	{Name: "deepen", Doc: "an identity layer behind a layer", Promise: Keeps, Grow: deepen, Takes: []string{"node", "kernel", "norm", "noise", "seed"}, Optional: true},
	{Name: "append-layer", Doc: "one more layer in a dense block, not read yet", Promise: Keeps, Grow: appendLayer, Takes: []string{"node", "seed"}, Optional: true},
	{Name: "widen-kernel", Doc: "rings of zeros around kernels", Promise: Keeps, Grow: widenKernel, Takes: []string{"node", "by", "kernel"}, Optional: true},
	{Name: "add-skip", Doc: "a layer's input added to its result", Promise: Keeps, Grow: addSkip, Takes: node, Optional: true},
	{Name: "add-branch", Doc: "a path replicated, each replica with its share", Promise: Keeps, Grow: addBranch, Takes: []string{"node", "from", "copies", "noise", "seed"}, Optional: true},
	{Name: "split", Doc: "a layer cut into parallel ones", Promise: Keeps, Grow: split, Takes: []string{"node", "parts", "along"}, Optional: true},
	{Name: "merge", Doc: "parallel layers joined to one", Promise: Keeps, Grow: merge, Takes: node, Optional: true},
	{Name: "add-se", Doc: "squeeze-and-excite gates that are open", Promise: Keeps, Grow: addSE, Takes: []string{"node", "reduction", "seed"}, Optional: true},
	{Name: "sort-channels", Doc: "channels with the greatest weights first", Promise: Keeps, Grow: sortChannels, Takes: node, Optional: true},
	{Name: "reparam", Doc: "parallel layers that are added to one", Promise: Keeps, Grow: reparam, Takes: node, Optional: true},
	{Name: "expand-branches", Doc: "one layer to parallel ones that are added", Promise: Keeps, Grow: expandBranches, Takes: []string{"node", "dilation", "noise", "seed"}, Optional: true},
	{Name: "insert-identity", Doc: "layers that do nothing yet", Promise: Keeps, Grow: insertIdentity, Takes: []string{"node", "kernel"}, Optional: true},
	{Name: "raise-resolution", Doc: "factor= times larger pictures, their means read", Promise: Keeps, Grow: raiseResolution, Takes: []string{"node", "factor"}, Optional: true},
}

// shrinking are the passes that make a network smaller and change its function
// (Prune is no pass: it needs a cost and data).
var shrinking = []Pass{
	{Name: "factorize", Doc: "two thin layers of one, by singular values", Promise: Changes, Slow: factorize, Takes: []string{"node", "share", "rank", "energy"}, Optional: true},
	{Name: "mask", Doc: "the least weights to zero: pattern=2:4 or share=0.8", Promise: Changes, Run: mask, Takes: []string{"node", "pattern", "share"}, Optional: true},
	{Name: "narrow-channels", Doc: "channels with the least weights away, share= or to= of them stay", Promise: Changes, Run: narrowChannels, Takes: []string{"node", "share", "to"}, Optional: true},
	{Name: "drop-layer", Doc: "layers away whose results are of their inputs' type", Promise: Changes, Run: dropLayer, Takes: node, Optional: true},
	{Name: "drop-block", Doc: "residual blocks away, their shortcuts stay", Promise: Changes, Run: dropBlock, Takes: node, Optional: true},
}

// measuring are the passes that need data.
var measuring = []Pass{
	{Name: "recalibrate-bn", Doc: "statistics of batch norms anew, from --data", Promise: Changes, Measure: recalibrateBN, Optional: true},
}
