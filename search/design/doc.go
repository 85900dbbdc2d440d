// Package design finds networks without training any and without data.
//
// DeepMAD (Shen et al., CVPR 2023) models a convolutional network as a system
// that processes information. What it can express is the entropy of its levels,
// log(r²c) · Σ ½ log(c_l k_l²/g_l) over the layers up to a level's last one; how
// well it can be trained its effectiveness, the depth over the mean width. The
// best network under limits is the solution of a mathematical program over the
// space's choices, which is solved exactly where the number of partial networks
// that may still win allows it, and with a proven distance to the optimum
// otherwise.
package design
