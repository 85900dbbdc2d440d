// Package tables makes tabular benchmarks: every network of a small space is
// trained with several seeds and timed on this device, so that strategies can be
// judged over many seeds in seconds. Package search/tabular reads them.
//
// Training and timing are separate passes over one FILE.partial, so that the
// first can run where there are many cores and the second where the networks
// are meant to run. Both go on where they were stopped.
package tables
