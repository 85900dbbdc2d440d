package cli

import "github.com/spf13/cobra"

func (a *app) search() *cobra.Command {
	c := &cobra.Command{
		Use: "search", Short: "look for better networks",
		Long: "search looks for networks of a space: a strategy proposes, an evaluator finds out what each is worth.",
	}
	c.AddCommand(a.searchTable())
	return c
}
