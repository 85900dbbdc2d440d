// Package morph walks from one network of a space to another by passes that
// keep the function: it finds the passes of a step, carries them out, and puts
// the weights that come out into the network that the other genotype says. What
// is walked on stays a network of the space.
package morph
