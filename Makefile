# matchmaker - `make help` lists what can be made. Everything that is built goes under build/.
VERSION := 0.1.0
B       := build
CC      ?= cc
CFLAGS  ?= -O2 -g
PREFIX  ?= /usr/local
DESTDIR ?=

BASE_FLAGS := -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -fvisibility=hidden -Icsrc -Icsrc/include
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
                 signature/text.c signature/equal.c image/check.c image/cpu.c)
CORE_SRC    := $(SHARED_SRC) csrc/base/bytes.c \
               $(shell find csrc/core -name '*.[cS]' -not -path '*/host/*')
HOST_SRC    := $(SHARED_SRC) $(filter-out $(SHARED_SRC),$(wildcard csrc/signature/*.c)) csrc/core/host/connect.c
CLIENT_SRC  := $(HOST_SRC) csrc/image/content.c $(wildcard csrc/client/*.c)
LAUNCH_SRC  := $(HOST_SRC) $(filter-out $(SHARED_SRC),$(wildcard csrc/image/*.c)) csrc/core/slot/map.c \
               $(wildcard csrc/launch/*.c)
SERVER_SRC  := $(wildcard csrc/server/*.c)
BINDING_SRC := $(wildcard csrc/binding/*.c)

object      = $(patsubst csrc/%,$(B)/$(1)/%.o,$(2))
CORE_OBJ   := $(call object,core,$(CORE_SRC))
EMBED_OBJ  := $(B)/host/core/host/embed.S.o
CLIENT_OBJ := $(call object,host,$(CLIENT_SRC)) $(EMBED_OBJ)
LAUNCH_OBJ := $(call object,host,$(LAUNCH_SRC)) $(EMBED_OBJ)
SERVER_OBJ := $(call object,host,$(SERVER_SRC))

# The Lua versions whose headers are here; the first one runs demo, bench and the tools.
LUAS       := $(shell for l in luajit lua5.1 lua5.2 lua5.3 lua5.4; do \
                pkg-config --exists $$l 2>/dev/null && echo $$l; done)
MODULES    := $(LUAS:%=$(B)/lua/%/matchmaker/core.so)
LIBRARIES  := $(addprefix $(B)/,libmatchmaker.so libmatchmaker.a libmatchmaker-server.so libmatchmaker-server.a)

.PHONY: all help
all: $(B)/matchmaker.elf $(LIBRARIES) $(B)/matchmaker-launch $(MODULES) ## build everything (the default)
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

# ---- the Matchmaker, carried inside whatever maps it ----
$(B)/needs: tools/deps.sh # what lacks is named once, before the compiler trips over it
	@mkdir -p $(@D) && tools/deps.sh --check build && touch $@
$(B)/core/%.o: csrc/% Makefile | $(B)/needs
	@mkdir -p $(@D)
	$(CC) $(if $(filter %.S,$<),$(filter-out -include csrc/core/hidden.h,$(CORE_FLAGS)),$(CORE_FLAGS)) $(DEPEND) -c $< -o $@
$(B)/matchmaker.elf: $(CORE_OBJ) csrc/core/matchmaker.lds
	$(CC) $(CORE_LINK) -o $@ $(CORE_OBJ)

# ---- libraries and the launcher ----
$(B)/host/%.o: csrc/% Makefile | $(B)/needs
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HOST_FLAGS) $(FLAGS_$(notdir $<)) $(DEPEND) -c $< -o $@
$(EMBED_OBJ): $(B)/matchmaker.elf
FLAGS_embed.S  = -DMM_CORE_ELF='"$(B)/matchmaker.elf"'
FLAGS_server.c = -DMM_LAUNCHER='"$(PREFIX)/bin/matchmaker-launch"'

$(B)/libmatchmaker.so: $(CLIENT_OBJ)
	$(CC) $(CFLAGS) -shared -Wl,-soname,libmatchmaker.so.0 -Wl,-z,nodelete,-z,defs -o $@.0 $^ -lffi -lelf -lpthread
	ln -sf $(@F).0 $@
$(B)/libmatchmaker-server.so: $(SERVER_OBJ)
	$(CC) $(CFLAGS) -shared -Wl,-soname,libmatchmaker-server.so.0 -Wl,-z,defs -o $@.0 $^
	ln -sf $(@F).0 $@
$(B)/libmatchmaker.a: $(CLIENT_OBJ)
$(B)/libmatchmaker-server.a: $(SERVER_OBJ)
$(B)/libtest.a: $(filter-out %/main.c.o,$(sort $(CLIENT_OBJ) $(LAUNCH_OBJ) $(SERVER_OBJ)))
$(B)/%.a:
	rm -f $@ && $(AR) rcs $@ $^
$(B)/matchmaker-launch: $(LAUNCH_OBJ)
	$(CC) $(CFLAGS) -o $@ $^ -lelf

# ---- the Lua module, once per version; self-contained: it carries the client library ----
define module
$(B)/lua/$(1)/%.o: csrc/% Makefile | $(B)/needs
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS) $(HOST_FLAGS) $(2) $(DEPEND) -c $$< -o $$@
$(B)/lua/$(1)/matchmaker/core.so: $(patsubst csrc/%,$(B)/lua/$(1)/%.o,$(BINDING_SRC)) $(B)/libmatchmaker.a
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS) -shared -Wl,-z,nodelete -Wl,--exclude-libs,ALL -o $$@ $$^ -lffi -lelf -lpthread
endef
$(foreach l,$(LUAS),$(eval $(call module,$(l),$$(shell pkg-config --cflags $(l)))))

# ---- servers for the tests, the examples, and their images ----
STATIC_SERVER := $(B)/libmatchmaker-server.a
FIXTURES := $(patsubst spec/fixture/%,$(B)/fixture/%,$(basename $(wildcard spec/fixture/*.c spec/fixture/*.cc)))
UNITS    := $(patsubst spec/unit/%.c,$(B)/unit/%,$(wildcard spec/unit/*.c))
FIXTURE_FLAGS = -O1 -g -Wall -Wextra -Werror -Icsrc/include $(DEPEND)

FLAGS_nopie      := -fno-pie -no-pie
FLAGS_static_pie := -static-pie
FLAGS_thread     := -pthread
FLAGS_crash      := -Wno-infinite-recursion
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
	$(CC) $(CFLAGS) $(BASE_FLAGS) $(DEPEND) -o $@ $^ -lffi -lelf -lpthread
$(B)/example/spell_server: examples/01_spell/server.c $(STATIC_SERVER)
	@mkdir -p $(@D)
	$(CC) -O2 -g -Wall -Wextra -Werror -Icsrc/include $(DEPEND) -fPIE -pie -o $@ $< $(STATIC_SERVER) -lhunspell-1.7
$(B)/example/direct: examples/01_spell/direct.c
	@mkdir -p $(@D)
	$(CC) -O2 -g -Wall -Wextra -Werror $(DEPEND) -o $@ $< -lhunspell-1.7
$(B)/example/c_client: examples/02_c_client/client.c $(B)/libmatchmaker.a
	@mkdir -p $(@D)
	$(CC) -O2 -g -Wall -Wextra -Werror -Icsrc/include $(DEPEND) -o $@ $< $(B)/libmatchmaker.a -lffi -lelf -lpthread
$(B)/image/%.mmi: $(B)/fixture/% $(B)/matchmaker-launch
	@mkdir -p $(@D)
	$(B)/matchmaker-launch -o $@ $<
$(B)/image/spell.mmi: $(B)/example/spell_server $(B)/matchmaker-launch
	@mkdir -p $(@D)
	$(B)/matchmaker-launch -o $@ $< $(DICTIONARY).aff $(DICTIONARY).dic

# Fixtures that are meant to fail, or that want arguments, have no image made here.
UNFIT  := nopie exits crashes thread descriptor nosnapshot twice big signature_bad
IMAGES := $(patsubst $(B)/fixture/%,$(B)/image/%.mmi,$(filter-out $(UNFIT:%=$(B)/fixture/%),$(FIXTURES)))
.PHONY: fixtures examples
fixtures: $(FIXTURES) $(IMAGES) $(UNITS)
examples: $(B)/example/spell_server $(B)/example/direct $(B)/example/c_client $(B)/image/spell.mmi

# ---- commands; each first installs what it lacks, and then looks again at what is there ----
AGAIN = $(MAKE) --no-print-directory
LUA   = $(firstword $(LUAS))
RUN   = LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='$(B)/lua/$(LUA)/?.so;;' $(LUA)

.PHONY: deps demo check check-slow bench lint layers format install uninstall clean
.PHONY: run-demo run-check run-check-slow run-bench run-lint
deps: ## install what is missing (apt; as root or with sudo)
	@tools/deps.sh
demo check check-slow bench lint: deps
	@$(AGAIN) run-$@
run-demo: all examples
	@$(RUN) examples/01_spell/demo.lua
run-check: all fixtures examples
	@luajit tools/check.lua $(LUAS)
run-check-slow: all fixtures examples $(B)/bench/daemon
	@luajit tools/check.lua --slow $(LUAS)
run-bench: all examples $(addprefix $(B)/bench/,add.so spell.so daemon mmap_floor) $(B)/image/math.mmi $(B)/fixture/big
	@$(RUN) bench/bench.lua

demo: ## the main job on real input: spell-check a text through an image
check: ## the quick tests, for every Lua that is here
check-slow: ## the slow tests
bench: ## ratios against the library itself, a Lua C function, a daemon and bare mmap

$(B)/bench/%.so: bench/%.c
	@mkdir -p $(@D)
	$(CC) -O2 -g -Wall -Wextra -Werror $(DEPEND) -fPIC -shared $$(pkg-config --cflags luajit) -o $@ $< $(LIBS_$*)
$(B)/bench/%: bench/%.c
	@mkdir -p $(@D)
	$(CC) -O2 -g -Wall -Wextra -Werror $(DEPEND) -o $@ $< $(LIBS_$*)
LIBS_spell  := -lhunspell-1.7
LIBS_daemon := -lhunspell-1.7

C_FILES := $(shell find csrc spec examples bench -name '*.[ch]' -o -name '*.cc')
lint: ## clang-format, clang-tidy, cppcheck, luacheck, layers
layers: ## the layer line, read from the includes
	@luajit tools/layers.lua
format: ## format the C sources in place
	clang-format -i $(C_FILES)
run-lint: layers
	clang-format --dry-run -Werror $(C_FILES)
	luacheck --quiet lua spec examples bench tools
	cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr --enable=warning,portability \
	  --suppress=missingIncludeSystem --suppress=nullPointerRedundantCheck -j2 -Icsrc -Icsrc/include csrc
	printf '%s\n' $(filter %.c,$(CORE_SRC)) | xargs -P2 -n4 clang-tidy --quiet -- $(filter-out -fno-tree-loop-distribute-patterns,$(CORE_FLAGS))
	printf '%s\n' $(filter-out $(CORE_SRC),$(sort $(CLIENT_SRC) $(LAUNCH_SRC) $(SERVER_SRC))) | \
	  xargs -P2 -n4 clang-tidy --quiet -- $(HOST_FLAGS)

include tools/install.mk

clean: ## remove build/
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
