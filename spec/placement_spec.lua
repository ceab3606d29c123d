-- Structs and unions of every layout, packed, aligned, with bit-fields, random ones: what
-- `describe --c` writes of them is laid out by a compiler as they are, whether their declarations
-- were registered or come from the debug information.
local support = require "spec.support"
local shell = require "spec.shell"

local command = ("MM_BUILD=%s MATCHMAKER_LUA=%s bin/matchmaker "):format(support.build, support.lua)
local include = shell.root .. "/csrc/include"
local library = shell.launcher:gsub("[^/]+$", "libmatchmaker-server.a")
local COUNT = 60

-- Prints where the compiler puts everything; `layouts.h` has the list, and the types but for the
-- header that says TYPE is nothing.
local PROGRAM = [[
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#ifdef HEADER
#include HEADER
#define MM_TYPE(...)
#define TYPE(...)
#else
#define MM_TYPE(...) __VA_ARGS__
#define TYPE(number, ...) __VA_ARGS__
#endif
#ifdef ALIGNMENTS
#define DECLARE(number, type) printf("%s %zu %zu\n", #type, sizeof(type), _Alignof(type))
#else
#define DECLARE(number, type) printf("%s %zu\n", #type, sizeof(type))
#endif
#define OFFSET(type, field, size) printf("%s %zu %zu\n", #field, offsetof(type, field), size)
#define BITS(type, field) do { \
    type value; \
    memset(&value, 0, sizeof value); \
    value.field = -1; \
    printf("%s", #field); \
    for (size_t i = 0; i < sizeof value; i++) \
      printf(" %02x", ((unsigned char *)&value)[i]); \
    printf("\n"); \
  } while (0)
#include "layouts.h"
int main(void) { check_all(); return 0; }
]]

local SERVER = [[
#include <matchmaker/server.h>
#include <stdbool.h>
#include <stdint.h>
%s
int main(void) { return mm_snapshot(NULL); }
]]

describe("the declaration that is written of a type", function()
  local folder = shell.folders(before_each, after_each)

  local function run(words) return shell.output(("cd %s && %s"):format(folder(), words)) end

  -- What the compiler makes of the types, as they were or as they are described.
  local function layouts(compiler, flags)
    return run(compiler .. " -std=gnu11 -w " .. flags .. " -o layouts layouts.c && ./layouts")
  end

  local function generate(seed)
    shell.output(("%s spec/abi/layouts.lua %d %d %s"):format("luajit", seed, COUNT, folder()))
    shell.write(folder "layouts.c", PROGRAM)
    return shell.read(folder "layouts.h")
  end

  local function describe_server(source, words)
    shell.write(folder "server.c", SERVER:format(source))
    run(("cc -w -fPIE -pie -g -I%s -o server server.c %s"):format(include, library))
    local result = shell.launch(("-o %s %s %s"):format(folder "x.mmi", words, folder "server"))
    assert.equal(0, result.status, result.stderr)
    shell.output(("%s describe --c %s >%s"):format(command, folder "x.mmi", folder "x.h"))
  end

  -- A function for each type, which takes a pointer to it.
  local function functions(types, form)
    local list = {}
    for tag in types:gmatch "DECLARE%(%d+, ([%w ]+)%)" do
      list[#list + 1] = form:format(tag:match "%w+$", tag)
    end
    return table.concat(list, "\n")
  end

  it("has the layout that was registered, with gcc and clang", function()
    local types = generate(11)
    describe_server("#define TYPE(number, ...) MM_TYPE(__VA_ARGS__)\n" ..
      types:match "^(.-)static void" .. functions(types, "MM_EXPORT(int, take_%s, (%s *p))") ..
      functions(types, "int take_%s(%s *p) { return p != 0; }"), "")
    for _, compiler in ipairs { "gcc", "clang" } do
      assert.equal(layouts(compiler, "-DALIGNMENTS"),
        layouts(compiler, [[-DALIGNMENTS -DHEADER='"x.h"']]))
    end
  end)

  it("has the layout that the debug information tells", function()
    local types = generate(12)
    describe_server("#undef MM_TYPE\n#define MM_TYPE(...) __VA_ARGS__\n" ..
      "#define TYPE(number, ...) __VA_ARGS__\n" .. types:match "^(.-)static void" ..
      functions(types, "int take_%s(%s *p) { return p != 0; }"), "--export 'take_*'")
    assert.equal(layouts("gcc", ""), layouts("gcc", [[-DHEADER='"x.h"']]))
  end)
end)
