#!/usr/bin/env bash
# Strategies on tables of trained networks: bench/reports/search-DATE.md, with a
# chart a table. Tables that are not there are left out, and said so.
#
#   SEEDS=30 BUDGET=300 TABLES="nasbench201-cifar10 own" bench/search/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
date=${DATE:-$(date +%F)} seeds=${SEEDS:-30} budget=${BUDGET:-300}
nasbench=${NASBENCH:-../shared/nasbench}
out=bench/reports/search-$date.md
mkdir -p .cache/search
go build -o .cache/search/nasc ./cmd/nasc
tmp=$(mktemp .cache/search/report.XXXXXX)
trap 'rm -f "$tmp"' EXIT
{
	echo "# Search strategies on tables of trained networks, $date"
	echo
	echo "\`make bench-search\`: every strategy, the same number of trainings a search, $seeds seeds; a search sees validation accuracy only, regret is on test. p: two-sided Wilcoxon signed-rank test against random with the same seeds. RI: relative improvement over the mean random network, 100 (acc − acc_r) / acc_r. Strategies that do not beat random stay in. Defaults were chosen on CIFAR-100 and ImageNet16-120 of NAS-Bench-201, on NAS-Bench-Macro and on made-up problems, never on CIFAR-10 or on nasc's own table. The times of an ask and a tell are of a machine that did other work too: medians, to compare sizes by. $(nproc) cores of $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)."
} >"$tmp"

# contest NAME TITLE TABLE [flags]: a section, from results that are kept, so that
# a run that was stopped goes on.
contest() {
	local name=$1 title=$2 table=$3 budget=$4
	shift 4
	case " ${TABLES:-$name} " in *" $name "*) ;; *) return ;; esac
	echo >>"$tmp"
	echo "## $title" >>"$tmp"
	echo >>"$tmp"
	local file=${table#*:}
	if [ ! -e "${file%%\?*}" ]; then
		echo "Not run: no ${file%%\?*}." >>"$tmp"
		return
	fi
	local kept=.cache/search/$date-$name-$budget-$seeds
	if [ ! -e "$kept.txt" ]; then
		nice -n 10 .cache/search/nasc search bench --table "$table" --budget "$budget" --seeds "$seeds" --plot "$kept.svg" "$@" >"$kept.part"
		mv "$kept.part" "$kept.txt"
	fi
	cp "$kept.svg" "bench/reports/search-$date-$name.svg"
	{
		echo "\`nasc search bench --table '$table' --budget $budget --seeds $seeds${*:+ $*}\`"
		echo
		head -1 "$kept.txt"
		echo
		echo '```'
		tail -n +2 "$kept.txt"
		echo '```'
		echo
		echo "![regret over budget](search-$date-$name.svg)"
	} >>"$tmp"
}

contest nasbench201-cifar10 "NAS-Bench-201, CIFAR-10 (the judged one)" "nasbench201:$nasbench/nasbench201.csv.gz" "$budget"
contest nasbench201-cifar100 "NAS-Bench-201, CIFAR-100" "nasbench201:$nasbench/nasbench201.csv.gz?data=cifar100" "$budget"
contest nasbench201-imagenet16 "NAS-Bench-201, ImageNet16-120" "nasbench201:$nasbench/nasbench201.csv.gz?data=imagenet16" "$budget"
contest macro "NAS-Bench-Macro" "macro:$nasbench/nasbench_macro.csv.gz" "$budget"
contest own "nasc's own table" "table:${OWN:-zoo/tables/m2k-cnn.csv}" 60
contest nasbench201-front "NAS-Bench-201, accuracy and latency" "nasbench201:$nasbench/nasbench201.csv.gz" "$budget" --objective accuracy,ms
mv "$tmp" "$out"
chmod 644 "$out"
echo "wrote $out"
