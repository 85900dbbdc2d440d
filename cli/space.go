package cli

import (
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
)

func (a *app) space() *cobra.Command {
	c := &cobra.Command{
		Use: "space", Short: "search spaces: architectures with choices in them",
		Long: "A space is an architecture file in which values are { choose = [...] } (zoo/README.md tells the form;\nzoo/spaces has some).",
	}
	c.AddCommand(a.spaceCount(), a.spaceShow(), a.spaceSample())
	return c
}

// loadSpace reads a space, and refuses one without a network that can be built.
func loadSpace(path string) (*arch.Space, error) {
	s, err := arch.LoadSpace(path)
	if err == nil {
		err = s.Buildable()
	}
	return s, err
}

func (a *app) spaceCount() *cobra.Command {
	return &cobra.Command{
		Use: "count SPACE", Short: "how many networks a space has, exactly", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := loadSpace(args[0])
			if err != nil {
				return err
			}
			n := s.Count()
			v := struct {
				Space string   `json:"space"`
				Count *big.Int `json:"count"`
				Genes int      `json:"genes"`
			}{s.Name, n, len(s.Genes)}
			return a.show(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %s, %s\n", s.Name, networksText(n), counted(len(s.Genes), "choice"))
			})
		},
	}
}

// networksText writes how many networks there are, and a large number as 1.23e45
// too.
func networksText(n *big.Int) string {
	if n.IsInt64() && n.Int64() < 1_000_000 {
		return counted(int(n.Int64()), "network")
	}
	return fmt.Sprintf("%v networks (%s)", n, new(big.Float).SetInt(n).Text('g', 3))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// rowWidth is how long a line of options may be.
const rowWidth = 120

func (a *app) spaceShow() *cobra.Command {
	return &cobra.Command{
		Use: "show SPACE", Short: "the choices of a space", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := loadSpace(args[0])
			if err != nil {
				return err
			}
			v := struct {
				Space string      `json:"space"`
				Doc   string      `json:"doc"`
				Count *big.Int    `json:"count"`
				Genes []arch.Gene `json:"genes"`
			}{s.Name, s.Doc, s.Count(), s.Genes}
			return a.show(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %s\n%s\n", s.Name, s.Doc, networksText(v.Count))
				for i, g := range s.Genes {
					row := strings.Join(g.Options, " ")
					if len(row) <= rowWidth {
						fmt.Fprintf(w, "%4d  %-28s %s\n", i, g.Name, row)
						continue
					}
					fmt.Fprintf(w, "%4d  %s\n", i, g.Name)
					for k, o := range g.Options { // with the numbers that genotypes have
						if o == "[]" {
							o = "nothing"
						}
						fmt.Fprintf(w, "        %d: %s\n", k, o)
					}
				}
			})
		},
	}
}

// mostSampled is how many files a folder gets at most: none is written before
// all are drawn.
const mostSampled = 1_000_000

func (a *app) spaceSample() *cobra.Command {
	var (
		n    int
		seed uint64
		dir  string
	)
	c := &cobra.Command{
		Use: "sample SPACE --n N --seed S -o DIR", Short: "draw networks, one architecture file each", Args: cobra.ExactArgs(1),
		Long: "sample draws N networks, no two alike, each choice with equal chances, and writes NAME-0000.toml, …\nto DIR. The same seed draws the same networks.",
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case n < 1 || n > mostSampled:
				return &diag.Error{Place: "--n", Found: fmt.Sprint(n), Wanted: fmt.Sprintf("1 to %d", mostSampled)}
			case dir == "":
				return &diag.Error{Place: "-o", Found: "nothing", Wanted: "a folder for the files"}
			}
			s, err := loadSpace(args[0])
			if err != nil {
				return err
			}
			gs := s.Samples(n, seed)
			if len(gs) < n {
				a.note("%d of the space's %s, fewer than %d", len(gs), networksText(s.Count()), n)
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return diag.At(dir, err)
			}
			type net struct {
				File     string `json:"file"`
				Genotype string `json:"genotype"`
			}
			nets := []net{}
			for i, g := range gs {
				text, err := s.Instance(g)
				if err != nil {
					return err
				}
				file := filepath.Join(dir, fmt.Sprintf("%s-%04d.toml", s.Name, i))
				if err := replaceFile(file, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
					return err
				}
				nets = append(nets, net{file, g.String()})
			}
			return a.show(map[string]any{"space": s.Name, "networks": nets}, func(w io.Writer) {
				for _, n := range nets {
					fmt.Fprintf(w, "%s  %s\n", n.File, n.Genotype)
				}
			})
		},
	}
	f := c.Flags()
	f.IntVar(&n, "n", 1, "networks to draw")
	f.Uint64Var(&seed, "seed", 1, "seed of the draw")
	f.StringVarP(&dir, "output", "o", "", "the folder to write to")
	return c
}
