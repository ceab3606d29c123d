# What goes where. Lua modules go to share/lua/X and lib/lua/X; LuaJIT looks in 5.1's folders, where one module serves
# both: the two have one binary interface.
define PC
prefix=$(PREFIX)
libdir=$${prefix}/lib
includedir=$${prefix}/include

Version: $(VERSION)
Cflags: -I$${includedir}
endef
export PC
ROOT        = $(DESTDIR)$(PREFIX)
LUA_NUMBERS = $(patsubst lua%,%,$(filter lua5.%,$(LUAS))) $(if $(filter lua5.1,$(LUAS)),,$(if $(filter luajit,$(LUAS)),5.1))
module_of   = $(B)/lua/$(if $(filter lua$(1),$(LUAS)),lua$(1),luajit)/matchmaker
LUA_FILES   = $(shell cd lua && find matchmaker -name '*.lua')
# Where zsh looks by itself: upstream's folder, but for Debian's packages.
ZSH_FOLDER ?= share/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
put_lua     = $(foreach file,$(LUA_FILES),install -D -m 644 lua/$(file) $(1)/$(file) &&) true

install: all ## install under PREFIX (/usr/local), with DESTDIR before it
	install -d $(ROOT)/bin $(ROOT)/include/matchmaker $(ROOT)/lib/pkgconfig $(ROOT)/share/matchmaker
	install -m 755 bin/matchmaker $(B)/matchmaker-launch $(ROOT)/bin
	install -m 644 csrc/include/matchmaker.h $(ROOT)/include
	install -m 644 csrc/include/matchmaker/server.h $(ROOT)/include/matchmaker
	install -m 755 $(B)/libmatchmaker.so.0 $(B)/libmatchmaker-server.so.0 $(ROOT)/lib
	install -m 644 $(B)/libmatchmaker.a $(B)/libmatchmaker-server.a $(ROOT)/lib
	ln -sf libmatchmaker.so.0 $(ROOT)/lib/libmatchmaker.so
	ln -sf libmatchmaker-server.so.0 $(ROOT)/lib/libmatchmaker-server.so
	printf '%s\nName: matchmaker\nDescription: %s\nLibs: %s\nLibs.private: %s\n' "$$PC" \
	  'maps images of prepared native servers and calls them' '-L$${libdir} -lmatchmaker' \
	  '$(CLIENT_LIBS)' >$(ROOT)/lib/pkgconfig/matchmaker.pc
	printf '%s\nName: matchmaker-server\nDescription: %s\nLibs: %s\n' "$$PC" \
	  'snapshots a native server into an image' '-L$${libdir} -lmatchmaker-server' \
	  >$(ROOT)/lib/pkgconfig/matchmaker-server.pc
	chmod 644 $(ROOT)/lib/pkgconfig/matchmaker.pc $(ROOT)/lib/pkgconfig/matchmaker-server.pc
	install -D -m 644 share/man/man1/matchmaker.1 $(ROOT)/share/man/man1/matchmaker.1
	install -D -m 644 share/bash-completion/completions/matchmaker \
	  $(ROOT)/share/bash-completion/completions/matchmaker
	install -D -m 644 share/zsh/site-functions/_matchmaker $(ROOT)/$(ZSH_FOLDER)/_matchmaker
	install -D -m 644 share/fish/vendor_completions.d/matchmaker.fish \
	  $(ROOT)/share/fish/vendor_completions.d/matchmaker.fish
	install -m 644 share/matchmaker/gdb.py $(B)/matchmaker.elf $(ROOT)/share/matchmaker
	$(foreach n,$(LUA_NUMBERS),$(call put_lua,$(ROOT)/share/lua/$(n)) && \
	  install -D -m 755 $(call module_of,$(n))/core.so $(ROOT)/lib/lua/$(n)/matchmaker/core.so && \
	  install -D -m 755 $(call module_of,$(n))/server/core.so $(ROOT)/lib/lua/$(n)/matchmaker/server/core.so &&) true

uninstall: ## remove what install put there
	rm -f $(addprefix $(ROOT)/bin/,matchmaker matchmaker-launch) $(ROOT)/include/matchmaker.h \
	  $(ROOT)/lib/libmatchmaker.* $(ROOT)/lib/libmatchmaker-server.* \
	  $(ROOT)/lib/pkgconfig/matchmaker.pc $(ROOT)/lib/pkgconfig/matchmaker-server.pc \
	  $(ROOT)/share/man/man1/matchmaker.1 $(ROOT)/share/bash-completion/completions/matchmaker \
	  $(ROOT)/$(ZSH_FOLDER)/_matchmaker $(ROOT)/share/fish/vendor_completions.d/matchmaker.fish
	rm -rf $(ROOT)/include/matchmaker $(ROOT)/share/matchmaker \
	  $(foreach n,5.1 5.2 5.3 5.4,$(ROOT)/share/lua/$(n)/matchmaker $(ROOT)/lib/lua/$(n)/matchmaker)

# ---- for luarocks: one Lua, whose headers it names ----
.PHONY: rock rock-install
rock: $(B)/matchmaker-launch $(B)/lua/rock/matchmaker/core.so $(B)/lua/rock/matchmaker/server/core.so
rock-install:
	install -d $(ROCK_LIBDIR)/matchmaker/server $(ROCK_BINDIR)
	$(call put_lua,$(ROCK_LUADIR))
	install -m 755 $(B)/lua/rock/matchmaker/core.so $(ROCK_LIBDIR)/matchmaker
	install -m 755 $(B)/lua/rock/matchmaker/server/core.so $(ROCK_LIBDIR)/matchmaker/server
	install -m 755 bin/matchmaker $(B)/matchmaker-launch $(ROCK_BINDIR)
ifdef ROCK_INCDIR
$(eval $(call module,rock,-I$(ROCK_INCDIR)))
$(patsubst csrc/%,$(B)/lua/rock/%.o,$(BINDING_SRC) $(LUA_SERVER_SRC)): force # another Lua may have been built here before
endif
