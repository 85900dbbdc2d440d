// Package study keeps a search's journal: a SQLite file of what is searched and
// of every trial, and beside it a folder of trained weights. It owns the file's
// form, the lock that lets one process at a time go on with a study, and what is
// read out of it: lists, exports, charts.
//
// A trial is written when it is asked for and again when its outcome is there,
// each in a transaction of its own, so that a process may be killed at any
// moment. What was asked for and has no outcome is evaluated again.
package study
