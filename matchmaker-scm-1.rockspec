rockspec_format = "3.0"
package = "matchmaker"
version = "scm-1"
source = {
   url = "git+file://.",
}
description = {
   summary = "Maps images of prepared native servers into a process, and calls them",
   detailed = [[
A server prepares something costly in memory, snapshots itself into an image, and ends. A client maps
the image in a fraction of a millisecond and calls its exports in-process, with checked signatures;
faults in them are errors. For LuaJIT and Lua 5.1 to 5.4 on Linux, x86-64.]],
   license = "MIT",
}
supported_platforms = { "linux" }
dependencies = {
   "lua >= 5.1, < 5.5",
}
-- Libraries only: where their headers are is the compiler's to know.
external_dependencies = {
   FFI = { library = "ffi" },
   ELF = { library = "elf" },
   YAML = { library = "yaml" },
   DW = { library = "dw" },
}
build = {
   type = "make",
   build_target = "rock",
   install_target = "rock-install",
   build_variables = {
      CFLAGS = "$(CFLAGS)",
      LDFLAGS = "-L$(FFI_LIBDIR) -L$(ELF_LIBDIR) -L$(YAML_LIBDIR) -L$(DW_LIBDIR)",
      ROCK_INCDIR = "$(LUA_INCDIR)",
   },
   install_variables = {
      ROCK_LUADIR = "$(LUADIR)",
      ROCK_LIBDIR = "$(LIBDIR)",
      ROCK_BINDIR = "$(BINDIR)",
   },
}
