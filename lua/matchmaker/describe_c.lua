-- An image's types and prototypes as a header for C and C++.
local declare = require "matchmaker.declare"
local facts = require "matchmaker.facts"
local plain = require "matchmaker.plain"

local HEAD = [[
/* %s - what the image exports. Written by `matchmaker describe --c`. */
#ifndef %s
#define %s

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
]]

local TAIL = [[

#ifdef __cplusplus
}
#endif
#endif
]]

-- A comment cannot hold its own end.
local function comment(doc) return "/* " .. doc:gsub("%*/", "* /") .. " */" end

---@param all mm.facts
---@return string
return function(all)
  local name = plain(facts.name_of(all.path))
  local guard = name:upper():gsub("[^%w]", "_"):gsub("^(%d)", "_%1") .. "_H"
  local out = { HEAD:format(name:gsub("%*/", "* /"), guard, guard) }
  local function put(list)
    if #list > 0 then out[#out + 1] = table.concat(list, "\n") .. "\n" end
  end
  put(declare.forwards(all))
  put(declare.types(all))
  local exports = {}
  for _, export in ipairs(all.exports) do
    if export.doc then exports[#exports + 1] = comment(export.doc) end
    exports[#exports + 1] = declare.spell(all, export.type, export.name) .. ";"
  end
  put(exports)
  return table.concat(out, "\n") .. TAIL
end
