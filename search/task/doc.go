// Package task makes of a search's settings, which are plain data, what a loop
// needs: the space, what is known of a network without training it, and the
// evaluator. A coordinator and its workers make them of the same task, so that
// they evaluate alike. It also finds out before a search that a limit cannot be
// kept, and makes of the best trials compiled models.
package task
