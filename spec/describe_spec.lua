-- An image's exports and types, written out for compilers and for editors.
local support = require "spec.support"
local facts = require "matchmaker.facts"
local shell = require "spec.shell"

local command = ("MM_BUILD=%s MATCHMAKER_LUA=%s bin/matchmaker "):format(support.build, support.lua)
local image = support.image("described")

-- What a compiler has to find in the header: sizes, alignments and offsets as the registry has them.
local function assertions(all, word)
  local lines = {}
  local function check(what, value)
    lines[#lines + 1] = ('%s(%s == %.0f, "%s");'):format(word, what, value, what)
  end
  for _, type in ipairs(all.types) do
    local name = type.alias or type.name and ("%s %s"):format(type.kind, type.name)
    if not type.incomplete and name and (type.kind == "struct" or type.kind == "union") then
      check(("sizeof(%s)"):format(name), type.size)
      check(("__alignof__(%s)"):format(name), type.align)
      for _, field in ipairs(type.members) do
        if field.name and not field.width then
          check(("offsetof(%s, %s)"):format(name, field.name), field.value)
        end
      end
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

describe("matchmaker describe --c", function()
  local folder = shell.folders(before_each, after_each)

  for _, name in ipairs { "described", "pointer", "math", "export_run_time", "text", "many",
                           "aggregate", "record", "memory", "callback", "typed" } do
    it("writes a header that C and C++ take: " .. name, function()
      local all = assert(facts.of(support.image(name)))
      shell.output(("%s describe --c %s >%s"):format(command, support.image(name), folder("h.h")))
      local twice = '#include "h.h"\n#include "h.h"\n'
      shell.write(folder("a.c"), twice .. assertions(all, "_Static_assert"))
      shell.write(folder("a.cc"), twice .. assertions(all, "static_assert"))
      local flags = "-Wall -Wextra -Wno-builtin-declaration-mismatch -Werror -c -o /dev/null "
      shell.output("cd " .. folder() .. " && gcc -std=c11 " .. flags .. "a.c")
      shell.output("cd " .. folder() .. " && g++ -std=c++17 " .. flags .. "a.cc")
    end)
  end

  it("redeclares what the server has", function()
    shell.output(("%s describe --c %s >%s"):format(command, image, folder("h.h")))
    local source = shell.read("spec/fixture/described.c"):gsub("MM_TYPE%b()", "")
      :gsub("MM_EXPORT%b()", ""):gsub("#include <matchmaker/server.h>", '#include "h.h"')
      :gsub("return mm_snapshot%(NULL%)", "return 0")
    shell.write(folder("server.c"), source)
    shell.output("cd " .. folder() .. " && gcc -std=c11 -Wall -Werror -c -o /dev/null server.c")
  end)

  it("keeps docs, and their ends out of the comment", function()
    local text = shell.output(command .. "describe --c " .. image)
    assert.matches("/* the first of a list; ends with * / too */\nconst node_t *first(", text, 1,
      true)
    assert.matches("typedef struct node node_t;", text, 1, true)
  end)
end)

describe("matchmaker describe --lua", function()
  local folder = shell.folders(before_each, after_each)
  local text = shell.output(command .. "describe --lua " .. image)

  it("writes definitions that are Lua, and only definitions", function()
    assert.matches("^%-%-%-@meta described\n", text)
    assert.is_function(assert((loadstring or load)(text)))
  end)

  it("writes Lua for every image, whatever its exports are called", function()
    for _, name in ipairs { "text", "typed", "aggregate", "callback", "many", "math" } do
      local written = shell.output(command .. "describe --lua " .. support.image(name))
      local exports = assert((loadstring or load)(written))()
      local mapped = support.map(name)
      for export in pairs(mapped.exports) do assert.is_function(exports[export], export) end
      assert.is_true(mapped:unmap())
    end
    assert.matches("---@param a string|mm.pointer|lightuserdata\n",
      shell.output(command .. "describe --lua " .. support.image("text")), 1, true)
    assert.matches('exports["repeat"] = function(text, count) end',
      shell.output(command .. "describe --lua " .. support.image("text")), 1, true)
  end)

  it("has classes for records, aliases for enums, callbacks as functions", function()
    local callback = "mm.callback|mm.function|lightuserdata|"
    for _, line in ipairs {
      "---@class described.point: mm.pointer `struct point`", "---@field x number `double x`",
      '---@alias described.unit integer|"METRE"|"FOOT"',
      "---@field part number `float part`",
      "---@field next? described.node|lightuserdata `node_t *next`",
      "---@param compare " .. callback .. "fun(a1: mm.pointer, a2: mm.pointer): integer",
      "---@field name? string `const char *name`",
      "---@param visit " .. callback .. "fun(at: described.point, end_: integer)",
      "---@return described.node?", "---@class described.exports",
      "function exports.each(visit, function_) end", "---like qsort\n---second line",
    } do assert.matches(line, text, 1, true) end
  end)

  it("makes a name of what the image is called", function()
    for called, name in pairs { ["2nd"] = "_2nd", mm = "_mm", ["a-b c.x"] = "a_b_c_x" } do
      shell.output(("cp %s %s"):format(image, shell.quote(folder(called .. ".mmi"))))
      assert.matches("---@class " .. name .. ".exports\n", shell.output(command ..
        "describe --lua " .. shell.quote(folder(called .. ".mmi"))), 1, true)
    end
  end)

  it("names no class that it does not define", function()
    local defined = { mmi = true }
    for name in text:gmatch("%-%-%-@%a+ described%.([%w_]+)") do defined[name] = true end
    for name in text:gmatch("described%.([%w_]+)") do assert.is_true(defined[name], name) end
  end)
end)
