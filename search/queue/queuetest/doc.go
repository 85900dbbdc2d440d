// Package queuetest kills the processes of searches at random moments and
// compares what is left with a search that nothing happened to.
package queuetest
