# matchmaker - `make help` lists what can be made. Everything that is built goes under build/.
# Quiet, but for warnings and errors; `make V=1` shows the commands.
ifndef V
.SILENT:
endif
VERSION := 0.1.0
B       ?= build
CC      ?= cc
CORE_CC ?= $(CC)
CFLAGS  ?= -O2 -g
LDFLAGS ?=
PREFIX  ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
# Programs and pkg-config's files keep it, wherever they are started.
ifeq ($(filter /%,$(PREFIX)),)
$(error PREFIX=$(PREFIX) is no absolute path)
endif

BASE_FLAGS := -std=gnu11 -D_GNU_SOURCE= -Wall -Wextra -Werror -fvisibility=hidden -Icsrc -Icsrc/include
HOST_FLAGS := $(BASE_FLAGS) -fPIC -DMM_VERSION='"$(VERSION)"'
# The Matchmaker has no libc and touches no vector registers; it is linked at a fixed address.
CORE_FLAGS := $(BASE_FLAGS) -O2 -g -ffreestanding -fno-stack-protector -mgeneral-regs-only -fpie \
              -fcf-protection=none -fasynchronous-unwind-tables -fno-tree-loop-distribute-patterns \
              -U_FORTIFY_SOURCE -include csrc/core/hidden.h
CORE_LINK  := -static -nostdlib -Wl,-T,csrc/core/matchmaker.lds -Wl,--build-id=none \
              -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,--fatal-warnings
DEPEND      = -MMD -MP

# ---- sources, by layer (csrc/README.md) ----
SHARED_SRC  := $(addprefix csrc/,base/error.c base/format.c base/digest.c signature/registry.c \
                 signature/text.c signature/equal.c image/check.c image/cpu.c image/content.c)
CORE_SRC    := $(SHARED_SRC) csrc/base/bytes.c \
               $(shell find csrc/core -name '*.[cS]' -not -path '*/host/*')
HOST_SRC    := $(SHARED_SRC) $(filter-out $(SHARED_SRC),$(wildcard csrc/signature/*.c)) csrc/core/host/connect.c
CLIENT_SRC  := $(HOST_SRC) $(wildcard csrc/client/*.c csrc/client/x86_64/*.S)
LAUNCH_SRC  := $(HOST_SRC) $(filter-out $(SHARED_SRC),$(wildcard csrc/image/*.c)) csrc/core/slot/map.c \
               $(wildcard csrc/launch/*.c csrc/launch/*/*.c)
SERVER_SRC  := $(wildcard csrc/server/*.c)
BINDING_SRC := $(wildcard csrc/binding/*.c)
LUA_SERVER_SRC := $(wildcard csrc/server/lua/*.c csrc/server/lua/x86_64/*.S)

# What libmatchmaker needs; tools/install.mk tells pkg-config.
CLIENT_LIBS := -lffi -lelf -lyaml -lpthread

object      = $(patsubst csrc/%,$(B)/$(1)/%.o,$(2))
CORE_OBJ   := $(call object,core,$(CORE_SRC))
EMBED_OBJ  := $(B)/host/core/host/embed.S.o
CLIENT_OBJ := $(call object,host,$(CLIENT_SRC)) $(EMBED_OBJ)
LAUNCH_OBJ := $(call object,host,$(LAUNCH_SRC)) $(EMBED_OBJ)
SERVER_OBJ := $(call object,host,$(SERVER_SRC))
PARSER_OBJ := $(call object,host,$(filter csrc/base/% csrc/signature/%,$(HOST_SRC)))

# The Lua versions whose headers are here; the first one runs demo, bench and the tools.
LUAS       := $(shell for l in luajit lua5.1 lua5.2 lua5.3 lua5.4; do \
                pkg-config --exists $$l 2>/dev/null && echo $$l; done)
MODULES    := $(foreach l,$(LUAS),$(B)/lua/$(l)/matchmaker/core.so $(B)/lua/$(l)/matchmaker/server/core.so)
LIBRARIES  := $(addprefix $(B)/,libmatchmaker.so libmatchmaker.a libmatchmaker-server.so libmatchmaker-server.a)

.PHONY: all no-lua help
all: $(B)/matchmaker.elf $(LIBRARIES) $(B)/matchmaker-launch $(MODULES) $(if $(LUAS),,no-lua) ## build everything (the default)
no-lua: | $(B)/needs
	@echo "matchmaker: no Lua module was built: pkg-config knows no Lua - \`make deps\` installs five" >&2
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

# ---- the Matchmaker, carried inside whatever maps it ----
$(B)/needs: tools/deps.sh # what lacks is named once, before the compiler trips over it
	mkdir -p $(@D) && tools/deps.sh --check build && touch $@ && echo "matchmaker: building (make V=1 shows how)"
$(B)/core/%.o: csrc/% Makefile | $(B)/needs
	@mkdir -p $(@D)
	$(CORE_CC) $(if $(filter %.S,$<),$(filter-out -include csrc/core/hidden.h,$(CORE_FLAGS)),$(CORE_FLAGS)) $(DEPEND) -c $< -o $@
$(B)/matchmaker.elf: $(CORE_OBJ) csrc/core/matchmaker.lds
	$(CORE_CC) $(CORE_LINK) -o $@ $(CORE_OBJ)

# ---- libraries and the launcher ----
$(B)/host/%.o: csrc/% Makefile | $(B)/needs
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HOST_FLAGS) $(FLAGS_$(notdir $<)) $(DEPEND) -c $< -o $@
$(EMBED_OBJ): $(B)/matchmaker.elf
$(B)/host/server/server.c.o: $(B)/prefix # it names the installed launcher
$(B)/prefix: force
	@mkdir -p $(@D) && echo '$(PREFIX)' | cmp -s - $@ || echo '$(PREFIX)' >$@
.PHONY: force
FLAGS_embed.S  = -DMM_CORE_ELF='"$(B)/matchmaker.elf"'
FLAGS_policy.c = -DMM_SYSTEM_POLICY='"$(SYSCONFDIR)/matchmaker/policy.yaml"'
FLAGS_server.c = -DMM_LAUNCHER='"$(PREFIX)/bin/matchmaker-launch"'

$(B)/libmatchmaker.so: $(CLIENT_OBJ)
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,libmatchmaker.so.0 -Wl,-z,nodelete,-z,defs -o $@.0 $^ $(CLIENT_LIBS)
	ln -sf $(@F).0 $@
$(B)/libmatchmaker-server.so: $(SERVER_OBJ)
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,libmatchmaker-server.so.0 -Wl,-z,defs -o $@.0 $^
	ln -sf $(@F).0 $@
$(B)/libmatchmaker.a: $(CLIENT_OBJ)
$(B)/libmatchmaker-server.a: $(SERVER_OBJ)
$(B)/libtest.a: $(filter-out %/main.c.o,$(sort $(CLIENT_OBJ) $(LAUNCH_OBJ) $(SERVER_OBJ)))
$(B)/%.a:
	rm -f $@ && $(AR) rcs $@ $^
$(B)/matchmaker-launch: $(LAUNCH_OBJ)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -ldw -lelf

# ---- the Lua module, once per version; self-contained: it carries the client library ----
define module
$(B)/lua/$(1)/%.o: csrc/% Makefile | $(B)/needs
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS) $(HOST_FLAGS) $(2) $(DEPEND) -c $$< -o $$@
$(B)/lua/$(1)/matchmaker/core.so: $(patsubst csrc/%,$(B)/lua/$(1)/%.o,$(BINDING_SRC)) $(B)/libmatchmaker.a
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-z,nodelete -Wl,--exclude-libs,ALL -o $$@ $$^ $(CLIENT_LIBS)
$(B)/lua/$(1)/matchmaker/server/core.so: $(patsubst csrc/%,$(B)/lua/$(1)/%.o,$(LUA_SERVER_SRC)) $(SERVER_OBJ) $(PARSER_OBJ)
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -o $$@ $$^
endef
$(foreach l,$(LUAS),$(eval $(call module,$(l),$$(shell pkg-config --cflags $(l)))))

# ---- servers for the tests, the examples, and their images ----
# The fuzzers: with a main of their own they try the kept seeds again; `make fuzz` gives them libFuzzer's.
FUZZERS   := $(filter-out replay,$(patsubst spec/fuzz/%.c,%,$(wildcard spec/fuzz/*.c)))
FUZZ_MAIN ?= spec/fuzz/replay.c
STATIC_SERVER := $(B)/libmatchmaker-server.a
FIXTURES := $(patsubst spec/fixture/%,$(B)/fixture/%,$(basename $(wildcard spec/fixture/*.c spec/fixture/*.cc)))
UNITS    := $(patsubst spec/unit/%.c,$(B)/unit/%,$(wildcard spec/unit/*.c))
FIXTURE_FLAGS = -O1 -g -Wall -Wextra -Werror -Icsrc/include $(DEPEND)

FLAGS_nopie      := -fno-pie -no-pie
FLAGS_static_pie := -static-pie
FLAGS_thread     := -pthread
FLAGS_crash      := -Wno-infinite-recursion
FLAGS_aggregate  := -Wno-psabi
DICTIONARY       := $(basename $(firstword $(wildcard /usr/share/hunspell/hu_HU.aff /usr/share/hunspell/tr_TR.aff \
                      /usr/share/hunspell/ko.aff /usr/share/hunspell/en_US.aff /usr/share/hunspell/*.aff)))

$(B)/fixture/%: spec/fixture/%.c $(STATIC_SERVER)
	@mkdir -p $(@D)
	$(CC) $(FIXTURE_FLAGS) -std=gnu11 -fPIE -pie $(FLAGS_$*) -o $@ $< $(STATIC_SERVER)
$(B)/fixture/%: spec/fixture/%.cc $(STATIC_SERVER)
	@mkdir -p $(@D)
	$(CXX) $(FIXTURE_FLAGS) -std=c++17 -fPIE -pie $(FLAGS_$*) -o $@ $< $(STATIC_SERVER)
$(B)/unit/%: spec/unit/%.c $(B)/libtest.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(BASE_FLAGS) $(DEPEND) -o $@ $< $(B)/libtest.a -ldw $(CLIENT_LIBS)
$(B)/fuzz/%: spec/fuzz/%.c $(B)/libtest.a $(FUZZ_MAIN)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(BASE_FLAGS) $(DEPEND) -o $@ $< $(FUZZ_MAIN) $(FUZZ_LINK) $(B)/libtest.a -ldw $(CLIENT_LIBS)
$(B)/example/spell_server: examples/01_spell/server.c $(STATIC_SERVER)
	@mkdir -p $(@D)
	$(CC) -O2 -g -Wall -Wextra -Werror -Icsrc/include $(DEPEND) -fPIE -pie -o $@ $< $(STATIC_SERVER) -lhunspell-1.7
$(B)/example/direct: examples/01_spell/direct.c
	@mkdir -p $(@D)
	$(CC) -O2 -g -Wall -Wextra -Werror $(DEPEND) -o $@ $< -lhunspell-1.7
$(B)/example/c_client: examples/02_c_client/client.c $(B)/libmatchmaker.a
	@mkdir -p $(@D)
	$(CC) -O2 -g -Wall -Wextra -Werror -Icsrc/include $(DEPEND) -o $@ $< $(B)/libmatchmaker.a $(CLIENT_LIBS)
# One at a time: each takes a slot that no image beside it has.
$(B)/image/%.mmi: $(B)/fixture/% $(B)/matchmaker-launch
	@mkdir -p $(@D)
	flock $(@D) $(B)/matchmaker-launch -o $@ $<
$(B)/image/spell.mmi: $(B)/example/spell_server $(B)/matchmaker-launch
	@mkdir -p $(@D)
	flock $(@D) $(B)/matchmaker-launch -o $@ $< $(DICTIONARY).aff $(DICTIONARY).dic

# Fixtures that are meant to fail, or that want arguments, have no image made here.
UNFIT  := nopie exits crashes thread descriptor nosnapshot twice big signature_bad
IMAGES := $(patsubst $(B)/fixture/%,$(B)/image/%.mmi,$(filter-out $(UNFIT:%=$(B)/fixture/%),$(FIXTURES)))
.PHONY: fixtures examples
fixtures: $(FIXTURES) $(IMAGES) $(UNITS) $(FUZZERS:%=$(B)/fuzz/%)
examples: $(B)/example/spell_server $(B)/example/direct $(B)/example/c_client $(B)/image/spell.mmi

# ---- commands; each first installs what it lacks, and then looks again at what is there ----
AGAIN = $(MAKE) --no-print-directory
LUA   = $(firstword $(LUAS))
RUN   = MM_BUILD=$(B) LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='$(B)/lua/$(LUA)/?.so;;' $(LUA)

COMMANDS := demo check check-slow check-long check-sanitize soak bench lint layers fuzz
.PHONY: deps $(COMMANDS) $(COMMANDS:%=run-%) format install uninstall clean
deps: ## install what is missing (apt; as root or with sudo)
	@tools/deps.sh
$(COMMANDS):
	@tools/deps.sh $(filter demo,$@)
	@$(AGAIN) run-$@
run-demo: all examples
	@$(RUN) examples/01_spell/demo.lua
run-check: all fixtures examples
	@MM_BUILD=$(B) luajit tools/check.lua --lint $(LUAS)
run-check-slow: all fixtures examples $(B)/bench/daemon
	@MM_BUILD=$(B) luajit tools/check.lua --lint --slow $(LUAS)
run-check-long: all fixtures examples $(B)/bench/daemon
	@MM_BUILD=$(B) luajit tools/check.lua --lint --long $(LUAS)
run-soak: all fixtures
	@MM_SOAK_CALLS=$(SOAK_CALLS) MM_SOAK_SEED=$(SOAK_SEED) $(B)/unit/soak_test $$(mktemp -d)
run-bench: all examples $(addprefix $(B)/bench/,add.so spell.so protect.so daemon mmap_floor) $(B)/image/math.mmi $(B)/image/callback.mmi $(B)/fixture/big
	@$(RUN) bench/bench.lua

demo: ## the main job on real input: spell-check a text through an image
check: ## the quick tests, under every Lua that is here, and lint
check-slow: ## the same with the slow tests, and the unit programs on other kernels in QEMU
check-long: ## and with the very slow ones: the ABI proof whole, crowds of clients, the soak, valgrind
SOAK_CALLS ?= 350000
SOAK_SEED  ?= 1
soak: ## over a million calls, one in ten of which crashes; SOAK_CALLS=350000 with each guard, SOAK_SEED=1
bench: ## ratios against the library itself, a Lua C function, a daemon and bare mmap

$(B)/bench/%.so: bench/%.c
	@mkdir -p $(@D)
	$(CC) -O2 -g -Wall -Wextra -Werror $(DEPEND) -fPIC -shared $$(pkg-config --cflags luajit) -o $@ $< $(LIBS_$*)
$(B)/bench/%: bench/%.c
	@mkdir -p $(@D)
	$(CC) -O2 -g -Wall -Wextra -Werror $(DEPEND) -o $@ $< $(LIBS_$*)
LIBS_spell  := -lhunspell-1.7
LIBS_daemon := -lhunspell-1.7

# ---- fuzzing: libFuzzer, under ASan and UBSan, a minute each ----
FUZZ_SECONDS ?= 60
SANITIZE     := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
fuzz: ## libFuzzer on checker, parsers, policies and sequences of calls; FUZZ_SECONDS=60 each
run-fuzz: all fixtures
	@$(AGAIN) B=$(B)/fuzzing CC=clang CORE_CC='$(CC)' FUZZ_MAIN= FUZZ_LINK=-fsanitize=fuzzer \
	  CFLAGS='$(SANITIZE) -fsanitize=fuzzer-no-link' $(FUZZERS:%=$(B)/fuzzing/fuzz/%)
	@MM_BUILD=$(B) FUZZ_SECONDS=$(FUZZ_SECONDS) spec/fuzz/run $(B)/fuzzing/fuzz $(FUZZERS)

# ---- the unit programs, the Lua module and the launcher, under ASan and UBSan; images and Matchmaker as they are ----
CHECKED = $(patsubst $(B)/%,$(B)/sanitize/%,$(UNITS) $(B)/matchmaker-launch $(B)/lua/$(LUA)/matchmaker/core.so)
check-sanitize: ## the unit programs and the Lua specs, with client and launcher under ASan and UBSan
run-check-sanitize: all fixtures examples
	@$(AGAIN) B=$(B)/sanitize CORE_CC='$(CC)' CFLAGS='$(SANITIZE) -Wno-format-truncation' $(CHECKED)
	@MM_BUILD=$(B) CC='$(CC)' tools/sanitize.sh $(LUA)

# ---- lint; each step is a test of `make check` too ----
LINT    := layers format lua cppcheck tidy
SOURCES := $(wildcard csrc spec examples bench)
C_FILES  = $(shell find $(SOURCES) -name '*.[ch]' -o -name '*.cc')
HEADERS  = $(shell find csrc -name '*.h')
TIDY     = $(call object,tidy-core,$(filter %.c,$(CORE_SRC))) $(call object,tidy-binding,$(BINDING_SRC)) \
           $(call object,tidy-host,$(filter-out $(CORE_SRC) %.S,$(sort $(CLIENT_SRC) $(LAUNCH_SRC) $(SERVER_SRC))))

lint: ## clang-format, clang-tidy, cppcheck, luacheck, layers
layers: ## the layer line, read from the includes
format: ## format the C sources in place
	clang-format -i $(C_FILES)
.PHONY: $(LINT:%=lint-%)
run-lint: $(LINT:%=lint-%)
run-layers lint-layers:
	@luajit tools/layers.lua csrc $(SHARED_SRC) csrc/base/bytes.c
lint-format:
	@clang-format --dry-run -Werror $(C_FILES)
lint-lua:
	@luacheck --quiet $(wildcard lua spec examples bench tools)
# What cppcheck 2.10 takes for mistakes: bounds that are the linker script's symbols, an address that is only passed on,
# hexadecimal floating-point numbers, and compound literals behind `?`.
CPPCHECK_SUPPRESS := $(addprefix --suppress=,missingIncludeSystem nullPointerRedundantCheck comparePointers uninitvar \
                       incorrectLogicOperator internalAstError)
lint-cppcheck:
	@cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr --enable=warning,portability \
	  $(CPPCHECK_SUPPRESS) -j2 -Icsrc -Icsrc/include csrc
lint-tidy: $(TIDY)
$(B)/tidy-core/%.o:    TIDY_FLAGS = $(filter-out -fno-tree-loop-distribute-patterns,$(CORE_FLAGS))
$(B)/tidy-host/%.o:    TIDY_FLAGS = $(HOST_FLAGS) -DMM_LAUNCHER='""' -DMM_SYSTEM_POLICY='""'
$(B)/tidy-binding/%.o: TIDY_FLAGS = $(HOST_FLAGS) $(shell pkg-config --cflags $(LUA))
define tidy
$(B)/tidy-$(1)/%.o: csrc/% $(HEADERS) .clang-tidy
	@mkdir -p $$(@D)
	@clang-tidy --quiet $$< -- $$(TIDY_FLAGS) && touch $$@
endef
$(foreach kind,core host binding,$(eval $(call tidy,$(kind))))

include tools/install.mk

clean: ## remove build/
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
