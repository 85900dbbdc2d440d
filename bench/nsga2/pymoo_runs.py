"""pymoo's NSGA-II on NAS-Bench-201: accuracy (validation) and latency.

Writes the cells that each seed evaluated, in order, for bench/nsga2 (Go) to
judge by the same hypervolume as nasc's. Two forms of operators: "integer" is
pymoo's documented one for integer variables (SBX and polynomial mutation,
rounded), "choice" its operators for names (uniform crossover and random
choice), which suit ops better.

    python pymoo_runs.py TABLE.csv.gz --data cifar100 --form choice --population 40 --budget 300 --seeds 30 -o runs.json
"""
import argparse
import csv
import gzip
import json

import numpy as np
import pymoo
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import ElementwiseProblem
from pymoo.core.variable import Choice
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.crossover.ux import UX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.mutation.rm import ChoiceRandomMutation
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize

OPS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
EDGES = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]


def read(path, data):
    table = {}
    with gzip.open(path, "rt") as f:
        for row in csv.DictReader(f):
            ops = [e.split("~")[0] for part in row["arch"].split("+") for e in part.strip("|").split("|")]
            table[tuple(OPS.index(o) for o in ops)] = (float(row[data + "_val"]) / 100, float(row["latency_gold6226"]))
    return table


class Cells(ElementwiseProblem):
    def __init__(self, table, form):
        super().__init__(n_var=len(EDGES), n_obj=2, xl=0, xu=len(OPS) - 1, vtype=int)
        if form == "choice":
            self.vars = {i: Choice(options=list(range(len(OPS)))) for i in range(len(EDGES))}
        self.table, self.asked = table, []

    def _evaluate(self, x, out, *args, **kwargs):
        g = tuple(int(v) for v in x)
        self.asked.append(g)
        accuracy, ms = self.table[g]
        out["F"] = [-accuracy, ms]


def operators(form):
    if form == "integer":
        return dict(
            crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
            mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        )
    return dict(crossover=UX(prob=0.9), mutation=ChoiceRandomMutation(prob=1.0, prob_var=1 / len(EDGES)))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("table")
    p.add_argument("--data", default="cifar10")
    p.add_argument("--form", choices=["integer", "choice"], default="choice")
    p.add_argument("--population", type=int, default=40)
    p.add_argument("--budget", type=int, default=300)
    p.add_argument("--seeds", type=int, default=30)
    p.add_argument("-o", required=True)
    a = p.parse_args()
    table = read(a.table, a.data)
    runs = []
    for seed in range(1, a.seeds + 1):
        problem = Cells(table, a.form)
        algorithm = NSGA2(pop_size=a.population, sampling=IntegerRandomSampling(), eliminate_duplicates=True, **operators(a.form))
        minimize(problem, algorithm, ("n_eval", a.budget), seed=seed)
        runs.append([".".join(map(str, g)) for g in problem.asked[: a.budget]])
    with open(a.o, "w") as f:
        json.dump({"pymoo": pymoo.__version__, "numpy": np.__version__, "data": a.data, "form": a.form, "population": a.population, "budget": a.budget, "runs": runs}, f)


if __name__ == "__main__":
    main()
