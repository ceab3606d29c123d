-- Fills the parts of docs/reference.md that are said elsewhere first, between `<!-- NAME -->` and
-- `<!-- end -->`: the headers' functions, types and errors, the annotations' fields, the commands' help.
-- With --check it only tells, by its exit status, whether they are as they should be.
--     luajit tools/reference.lua [--check]
local PAGE = "docs/reference.md"

package.path = "lua/?.lua;" .. package.path
-- The commands' texts want no module that is built.
package.preload["matchmaker.core"] = function() return { terminal = {} } end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

local CLIENT, SERVER = read "csrc/include/matchmaker.h", read "csrc/include/matchmaker/server.h"
local ANNOTATIONS = read "lua/matchmaker/init.lua"

local function first_sentence(comment)
  local text = comment:gsub("%s*\n%s*%*%s*", " "):gsub("^%s+", ""):gsub("%s+$", "")
  return text:match "^(.-%.)%s" or text
end

local ROW = 'ROW%((MM_ERROR_[%u_]+), (%-%d+), "([%l_]+)", "([^"]*)"%)'

local function errors()
  local lines = { "| kind | in C | code | |", "|---|---|---|---|" }
  for name, code, kind, text in CLIENT:gmatch(ROW) do
    lines[#lines + 1] = ("| `%s` | `%s` | %s | %s |"):format(kind, name, code, text)
  end
  return lines
end

-- What a header declares by these patterns, with what its comment says first; what follows upon the
-- same comment shares its row.
local function declared(header, ...)
  local rows = {}
  for _, pattern in ipairs { ... } do
    for at, name in header:gmatch("\n()" .. pattern) do
      local before = header:sub(1, at - 1)
      local comment = before:sub(before:match ".*()/%*"):match "^/%*(.-)%*/\n$"
      if comment then rows[#rows + 1] = { text = first_sentence(comment) } end
      table.insert(rows[#rows], "`" .. name .. "`")
    end
  end
  local lines = { "| | |", "|---|---|" }
  for _, row in ipairs(rows) do
    lines[#lines + 1] = ("| %s | %s |"):format(table.concat(row, ", "), row.text)
  end
  return lines
end

local function functions() return declared(CLIENT, "MM_API [^;]-(mm_[%w_]+)%(") end

local function types()
  return declared(CLIENT, "(%l+ mm_[%w_]+) {", "typedef [^;]-(mm_[%w_]+)%(",
    "(struct mm_[%w_]+);")
end

-- Without the macros and functions of the macros, which say so or have two underlines.
local function server()
  return declared(SERVER, "#define (MM_%u[%u_]*)%(", "%l+ (mm_[%l_]+)%(",
    "(struct mm_[%w_]+) {")
end

-- A class of the annotations: its fields, their types, and what is said of them.
local function class(name)
  local lines = { "| | | |", "|---|---|---|" }
  local text = ANNOTATIONS:match("\n%-%-%-@class mm%." .. name .. "[ \n](.-)\n\n") .. "\n"
  text = text:match("^.-\n%-%-%-@class") or text
  for field, rest in text:gsub("\n%-%-%- ", " "):gmatch "%-%-%-@field (%S+) ([^\n]+)" do
    local kind, words = rest:match "^(%b{}[%[%]]*)%s*(.*)$"
    if not kind then kind, words = rest:match "^(%S+)%s*(.*)$" end
    lines[#lines + 1] = ("| `%s` | `%s` | %s |"):format(field:gsub("%?$", ""),
      kind:gsub("|", "\\|"), words)
  end
  return lines
end

local function commands()
  local lines = {}
  for _, name in ipairs { "snapshot", "inspect", "call", "repl", "verify", "describe", "ps",
                          "doctor" } do
    local command = require("matchmaker.cli." .. name)
    lines[#lines + 1] = ("### matchmaker %s\n\n```text\nusage: matchmaker %s\n\n%s\n\n%s\n```\n")
      :format(name, command.usage, command.summary, command.help)
  end
  return lines
end

local function session()
  return { "```text", require("matchmaker.repl.commands").help[3](), "```" }
end

local function fill(page, name, lines)
  local first, last = "<!-- " .. name .. " -->\n", "<!-- end -->"
  local at = select(2, page:find(first, 1, true))
  local stop = at and page:find(last, at, true)
  if not stop then error(("%s has no place for `%s`"):format(PAGE, name), 0) end
  return page:sub(1, at) .. table.concat(lines, "\n") .. "\n" .. page:sub(stop)
end

local page = read(PAGE)
local filled = page
for name, lines in pairs {
  errors = errors(), functions = functions(), types = types(), server = server(),
  commands = commands(), session = session(), info = class "info", facts = class "facts",
} do filled = fill(filled, name, lines) end
if filled == page then os.exit(0) end
if arg[1] == "--check" then
  io.stderr:write(PAGE, " is not what headers, annotations and commands say: ",
    "luajit tools/reference.lua\n")
  os.exit(1)
end
local file = assert(io.open(PAGE, "w"))
file:write(filled)
file:close()
