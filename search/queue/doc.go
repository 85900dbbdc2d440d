// Package queue spreads a study's trials over workers, on one machine or many,
// through NATS JetStream. The coordinator runs the loop and alone writes the
// journal; it puts a job a trial into a stream, workers take jobs, say that they
// are at it, and put results into another. A job whose worker dies is given to
// another. Both streams hold at most one message a trial, and the journal one
// outcome a trial: what was done twice counts once.
//
// Jobs that measure go to workers of the study's device only. Trained weights
// travel through an object store of the study.
package queue
