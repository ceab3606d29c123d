-- `matchmaker describe`: an image's exports and types for a compiler, or for an editor.
local facts = require "matchmaker.facts"
local shell = require "matchmaker.cli.shell"

return {
  usage = "describe --c|--lua IMAGE", words = 1, options = { c = true, lua = true },
  summary = "Writes a C header, or a definition file for the Lua language server.",
  help = [[
  --c     types and prototypes, for C and C++
  --lua   classes, enums and functions, for LuaLS: `---@meta`, never run

examples:
  matchmaker describe --c hu.mmi >hu.h
  matchmaker describe --lua hu.mmi >library/hu.lua
  # and in the client:  local dict = mm.map("hu.mmi").exports ---@type hu.exports]],
  run = function(words, options)
    if (options.c or false) == (options.lua or false) then
      return shell.complain(shell.MISUSED, "describe wants one of --c and --lua")
    end
    local all, err = facts.of(words[1])
    if not all then return shell.complain(shell.FAILED, err) end
    local writer = options.c and "matchmaker.describe_c" or "matchmaker.describe_lua"
    print((require(writer)(all):gsub("\n$", "")))
    return shell.DONE
  end,
}
