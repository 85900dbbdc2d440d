package cli

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search/tables"
	"github.com/nasc-dev/nasc/train"
)

func (a *app) searchTable() *cobra.Command {
	s := tables.Setup{Config: train.Default()}
	s.Config.Epochs, s.Config.LR, s.Config.ValSplit = 4, 5e-3, 0.256
	var (
		o   tables.Options
		row int
	)
	c := &cobra.Command{
		Use: "table --space SPACE --data DATA --test DATA -o T.csv", Short: "train and time every network of a small space",
		Long: "table makes a tabular benchmark, on which strategies are judged over many seeds in seconds: each network of\n" +
			"the space is trained --seeds times (validation accuracy on a part of --data that each seed holds out, test\n" +
			"accuracy on --test) and timed on cpu-int8 and cpu-f32. A stopped run goes on from T.csv.partial.\n" +
			"--row K trains row K (from 0) of a finished table anew and compares the bits.",
		Example: "  nasc search table --space zoo/spaces/m2k-cnn.toml --data m2k:DIR --test m2k-test:DIR --train-only -o T.csv\n" +
			"  nasc search table --space zoo/spaces/m2k-cnn.toml --data m2k:DIR --test m2k-test:DIR --measure-only -o T.csv",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case s.SpaceFile == "":
				return &diag.Error{Place: "--space", Found: "nothing", Wanted: "an architecture file with choices"}
			case o.Out == "":
				return &diag.Error{Place: "-o", Found: "nothing", Wanted: "the table's file"}
			case o.TrainOnly && o.MeasureOnly:
				return &diag.Error{Place: "--train-only", Found: "--measure-only too", Wanted: "one of them, or none for both"}
			case o.Jobs < 1:
				return &diag.Error{Place: "--jobs", Found: fmt.Sprint(o.Jobs), Wanted: "1 or more"}
			}
			t, err := tables.New(s)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("row") {
				return a.tableRow(cmd, t, o.Out, row)
			}
			if err := writable("-o", o.Out); err != nil {
				return err
			}
			update, finish := a.progress()
			o.Progress = update
			r, err := t.Run(cmd.Context(), o)
			finish()
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) {
				fmt.Fprintf(w, "%d networks: %d of %d trainings, %d timed\n", r.Networks, r.Trained, r.Networks*r.Seeds, r.Measured)
				if r.Done {
					fmt.Fprintf(w, "best by validation: %.2f %%, %.2f %% on the test data\nwrote %s\n", 100*r.BestVal, 100*r.BestTest, r.Table)
				} else {
					fmt.Fprintf(w, "the same command without --train-only and --measure-only does the rest; so far in %s.partial\n", r.Table)
				}
			})
		},
	}
	f := c.Flags()
	f.StringVar(&s.SpaceFile, "space", "", "architecture file with choices, of few networks")
	f.StringVar(&s.Data, "data", "", "labelled DATA to train on: "+data.Kinds)
	f.StringVar(&s.Test, "test", "", "labelled DATA that no search sees")
	f.StringVarP(&o.Out, "output", "o", "", "the table to write")
	f.IntVar(&s.N, "n", 0, "networks, drawn by --net-seed (0: all of the space)")
	f.Uint64Var(&s.NetSeed, "net-seed", 1, "of the draw by --n")
	f.IntVar(&s.Seeds, "seeds", 3, "trainings of each network")
	f.IntVar(&s.Config.Epochs, "epochs", s.Config.Epochs, "passes over the data")
	f.IntVar(&s.Config.Batch, "batch", s.Config.Batch, "samples a step")
	f.Float64Var(&s.Config.LR, "lr", s.Config.LR, "highest learning rate")
	f.Float64Var(&s.Config.ValSplit, "val-split", s.Config.ValSplit, "share of --data that each seed holds out")
	f.BoolVar(&o.TrainOnly, "train-only", false, "train, and leave the times to another run")
	f.BoolVar(&o.MeasureOnly, "measure-only", false, "measure what is left, and train nothing")
	f.IntVar(&o.Jobs, "jobs", runtime.NumCPU(), "trainings at once; the bits do not depend on it")
	f.IntVar(&o.Rounds, "rounds", 5, "times each network is timed, all others between; the median counts")
	f.IntVar(&row, "row", 0, "rebuild this row of a finished table, from 0, and compare")
	return c
}

// tableRow rebuilds one row.
func (a *app) tableRow(cmd *cobra.Command, t *tables.Table, path string, k int) error {
	c, err := t.CheckRow(cmd.Context(), path, k)
	if err != nil {
		return err
	}
	err = a.show(c, func(w io.Writer) {
		for s, v := range c.Seeds {
			fmt.Fprintf(w, "%s seed %d: validation %.2f %%, test %.2f %%, weights %s\n", c.Genotype, s, 100*v.Val, 100*v.Test, v.Weights)
		}
		for _, o := range c.Other {
			fmt.Fprintln(w, o)
		}
		if c.Same {
			fmt.Fprintf(w, "row %d: the same bits\n", c.Row)
		}
	})
	if err == nil && !c.Same {
		err = errUnmet{fmt.Sprintf("row %d of %s came out otherwise", k, path)}
	}
	return err
}
