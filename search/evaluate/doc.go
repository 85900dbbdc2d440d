// Package evaluate turns proposals into outcomes: it builds the network of a
// genotype and trains it from scratch, or takes its parent's weights through
// the passes of the proposal, proves on real inputs that the function stayed,
// and trains on. The data are read once and shared by all trials; a part that
// no trial trains on is what they are judged by.
package evaluate
