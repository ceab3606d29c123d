-- Where a session's lines come from: GNU Readline at a terminal, if it is here, else plain lines.
-- History is a file of lines in $XDG_STATE_HOME/matchmaker.
local help = require "matchmaker.help"
local terminal = require("matchmaker.core").terminal

local input = {}

local KEPT_LINES = 1000

local function history_path()
  local state = os.getenv("XDG_STATE_HOME")
  if not state or state == "" then
    if not os.getenv("HOME") then return nil end
    state = os.getenv("HOME") .. "/.local/state"
  end
  local folder = state .. "/matchmaker"
  os.execute("mkdir -p -m 700 '" .. folder:gsub("'", "'\\''") .. "' 2>/dev/null")
  return folder .. "/history"
end

-- Without the oldest, when there are many.
local function read_history(path)
  local lines, file = {}, io.open(path)
  if not file then return lines end
  for line in file:lines() do lines[#lines + 1] = line end
  file:close()
  if #lines <= 2 * KEPT_LINES then return lines end
  local kept = {}
  for i = #lines - KEPT_LINES + 1, #lines do kept[#kept + 1] = lines[i] end
  local new = io.open(path, "w")
  if new then
    new:write(table.concat(kept, "\n"), "\n")
    new:close()
  end
  return kept
end

-- Written at once: a session may end in any way.
local function append(path, line)
  local file = path and io.open(path, "a")
  if not file then return end
  file:write(line, "\n")
  file:close()
end

-- Whole words for the editor, which completes from the word's start, and what follows the only one.
local function completer(complete)
  return function(text, from)
    local list, value = complete(text)
    local before = text:sub(from):match("^(.-):?[%w_%.:]*$")
    for i, candidate in ipairs(list) do list[i] = before .. candidate end
    local calls = type(value) == "function" or help.kind_of(value) == "function"
    return list, calls and "(" or nil
  end
end

local function editing_reader(complete)
  local path, last = history_path(), nil
  complete = completer(complete)
  for _, line in ipairs(path and read_history(path) or {}) do
    terminal.remember_line(line)
    last = line
  end
  local reader = { is_terminal = true }

  -- The line; nil at the end of input, false when Ctrl-C came.
  function reader.line(prompt)
    return terminal.edit_line(prompt, complete)
  end

  function reader.remember(line)
    line = line:gsub("%s*\n%s*", " ")
    if line == "" or line == last then return end
    last = line
    terminal.remember_line(line)
    append(path, line)
  end

  return reader
end

local function plain_reader(is_terminal)
  local reader = { is_terminal = is_terminal }
  function reader.line(prompt)
    if is_terminal then io.write(prompt) io.flush() end
    local fine, line = pcall(io.read, "*l")
    if fine and (line or not is_terminal) then return line end
    io.write(fine and "" or "\n")
    return not fine and false or nil
  end
  function reader.remember() end
  return reader
end

---The reader for this process's standard input.
---@param complete fun(text: string): string[], any
function input.open(complete)
  local is_terminal = terminal.is_terminal(0) and terminal.is_terminal(1)
  if is_terminal and os.getenv("TERM") ~= "dumb" and terminal.open_editor() then
    return editing_reader(complete)
  end
  return plain_reader(is_terminal)
end

return input
