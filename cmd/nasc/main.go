// Command nasc compiles neural networks, quantizes them to int8, measures and
// exports them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/nasc-dev/nasc/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends at once
	code := cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
