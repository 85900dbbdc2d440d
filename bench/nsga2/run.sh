#!/usr/bin/env bash
# nasc's NSGA-II and pymoo's on NAS-Bench-201, at pymoo's two forms of operators
# and four sizes of population: bench/reports/nsga2-DATE.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
date=${DATE:-$(date +%F)} seeds=${SEEDS:-30} budget=${BUDGET:-300} data=${DATA:-cifar10}
table=${NASBENCH:-../shared/nasbench}/nasbench201.csv.gz
python=.cache/torch/bin/python
if ! "$python" -c 'import pymoo' 2>/dev/null; then
	python=.cache/pymoo/bin/python
	[ -x "$python" ] || { python3 -m venv .cache/pymoo && .cache/pymoo/bin/pip install --quiet -r bench/nsga2/requirements.txt; }
fi
mkdir -p .cache/nsga2
files=()
for form in integer choice; do
	for population in 10 20 40 100; do
		f=.cache/nsga2/$data-$form-$population-$budget-$seeds.json
		[ -e "$f" ] || { nice -n 10 "$python" bench/nsga2/pymoo_runs.py "$table" --data "$data" --form $form --population $population --budget "$budget" --seeds "$seeds" -o "$f.part" && mv "$f.part" "$f"; }
		files+=("$f")
	done
done
out=bench/reports/nsga2-$date.md
{
	echo "# NSGA-II against pymoo's, $date"
	echo
	echo "\`make bench-nsga2\`: NAS-Bench-201, $data; objectives validation accuracy and latency, $budget evaluations, $seeds seeds. Hypervolumes are shares of that of the table's own front, from the worst accuracy and latency in the table; one program reckons both. pymoo's operators: integer, its documented ones for integers (SBX and polynomial mutation, rounded), and choice, its ones for names (uniform crossover, random choice); its own default population is 100. nasc's options are its defaults (10 in a generation at this budget), chosen on CIFAR-100, ImageNet16-120 and NAS-Bench-Macro. p: two-sided Wilcoxon signed-rank test, seed by seed."
	echo
	nice -n 10 go run ./bench/nsga2 -table "nasbench201:$table?data=$data" "${files[@]}"
} >"$out.part"
mv "$out.part" "$out"
echo "wrote $out"
