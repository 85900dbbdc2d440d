package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search/queue"
)

// tokenEnv names the variable that holds the token of --nats-token, which a
// list of processes does not show.
const tokenEnv = "NASC_NATS_TOKEN"

func (a *app) worker() *cobra.Command {
	w := &queue.Worker{}
	var child bool
	c := &cobra.Command{
		Use: "worker --nats URL", Short: "evaluate trials of searches that run elsewhere",
		Long: "worker takes trials of the studies that a NATS server has and gives back what came of them. It waits where\n" +
			"there are none, and for a server that comes back. A trial whose worker dies is given to another. The data and\n" +
			"tables that the search names must be on this machine under the same names, and are compared. URL is nats://HOST:PORT, with\n" +
			"TOKEN@ before HOST where the server wants one, or the file of a study that is searched on this machine.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if w.Server == "" {
				return &diag.Error{Place: "--nats", Found: "nothing", Wanted: "nats://HOST:PORT, or a study's file"}
			}
			if w.Name == "" {
				host, err := os.Hostname()
				if err != nil {
					host = "worker"
				}
				w.Name = fmt.Sprintf("%s-%d", host, os.Getpid())
			}
			w.Note = func(format string, args ...any) { a.note("worker %s: "+format, append([]any{w.Name}, args...)...) }
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			if child {
				go func() { // the search that began this worker holds the other end
					_, _ = io.Copy(io.Discard, os.Stdin)
					stop()
				}()
			}
			return w.Work(ctx)
		},
	}
	f := c.Flags()
	f.StringVar(&w.Server, "nats", "", "address of the server, or a study's file")
	f.StringVar(&w.Name, "name", "", "what the search calls this worker (the machine's name and a number)")
	f.BoolVar(&w.TrainOnly, "train-only", false, "on another device than a study measures on: train, and leave the measuring to others")
	f.BoolVar(&child, "child", false, "end when standard input does")
	f.Lookup("child").Hidden = true
	return c
}
