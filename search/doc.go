// Package search is the frame in which better networks are looked for: a space
// of networks, trials, objectives and limits, and the loop that asks a strategy
// what to try and tells it what came of it.
//
// A strategy (package search/strategy) only proposes and learns. An Evaluator
// turns a proposal into objectives: by training, by inherited weights, from a
// table, or by a proxy. The loop is deterministic: a strategy hears of trials in
// the order in which it asked for them, whatever finished first, so that a seed,
// a window and the outcomes replay a study to the same state.
package search
