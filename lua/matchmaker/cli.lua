-- The shell's `matchmaker`: finds the command, reads its options, runs it. Each command is a module
-- of matchmaker.cli that gives a table: its texts, its options, and a function of words and options
-- that returns an exit status. Run as a program by bin/matchmaker, never required.
local shell = require "matchmaker.cli.shell"

local ORDER = { "snapshot", "inspect", "call", "repl", "verify", "describe", "ps", "doctor" }
local KNOWN = {}
for _, name in ipairs(ORDER) do KNOWN[name] = true end

local function overview()
  local lines = { "usage: matchmaker COMMAND [OPTION...] [ARG...]", "" }
  for _, name in ipairs(ORDER) do
    lines[#lines + 1] = ("  %-10s %s"):format(name, require("matchmaker.cli." .. name).summary)
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "`matchmaker COMMAND --help` says more, `matchmaker --version` which it is."
  lines[#lines + 1] = "Exit status: 0 done, 1 failed, 2 misused."
  return table.concat(lines, "\n")
end

local function usage(command) return "usage: matchmaker " .. command.usage end

local function help(command)
  return ("%s\n\n%s\n\n%s"):format(usage(command), command.summary, command.help)
end

-- An option's value: behind `=`, or the next word. What it wants is said in a list when it may come
-- again: then its values are one.
local function set_option(options, command, name, value, next_word)
  local wants = command.options[name]
  local list = type(wants) == "table"
  if wants == nil then return nil, ("`--%s` is no option of %s"):format(name, command.name) end
  if wants == true then
    if value then return nil, ("`--%s` takes no value"):format(name) end
    options[name] = true
    return 0
  end
  local used = value and 0 or 1
  value = value or next_word
  if not value then
    return nil, ("`--%s` wants a value: %s"):format(name, list and wants[1] or wants)
  end
  if not list then options[name] = value return used end
  options[name] = options[name] or {}
  table.insert(options[name], value)
  return used
end

-- Options may stand anywhere; with a command whose last words are anything, before the first word.
-- `--` ends them.
local function split(words, command)
  local options, rest, at = {}, {}, 2
  while words[at] do
    local word = words[at]
    if word == "--" then at = at + 1 break end
    local name, value = word:match("^%-%-([^=]+)=?(.*)$")
    if not name and not word:find("^%-.") then
      if command.more then break end
      rest[#rest + 1] = word
    else
      if word == "-h" or name == "help" then return { help = true } end
      if not name then return nil, ("`%s` is no option of %s"):format(word, command.name) end
      local used, why = set_option(options, command, name, word:find("=", 1, true) and value,
                                   words[at + 1])
      if not used then return nil, why end
      at = at + used
    end
    at = at + 1
  end
  for i = at, #words do rest[#rest + 1] = words[i] end
  if #rest < command.words or #rest > command.words and not command.more then
    return nil, usage(command)
  end
  return options, rest
end

local function find(name)
  if not KNOWN[name] then
    return nil, ("`%s` is no command; `matchmaker help` lists them"):format(name)
  end
  local command = require("matchmaker.cli." .. name)
  command.name = name
  return command
end

local function explain(name)
  if not name then print(overview()) return shell.DONE end
  local command, why = find(name)
  if not command then return shell.complain(shell.MISUSED, why) end
  print(help(command))
  return shell.DONE
end

local function main(words)
  local name = words[1]
  if name == "--help" or name == "-h" or name == "help" then return explain(words[2]) end
  if name == "--version" then
    print("matchmaker " .. require("matchmaker.core").version)
    return shell.DONE
  end
  if not name then
    io.stderr:write(overview(), "\n")
    return shell.MISUSED
  end
  local command, why = find(name)
  if not command then return shell.complain(shell.MISUSED, why) end
  local options, rest = split(words, command)
  if not options then return shell.complain(shell.MISUSED, rest) end
  if options.help then return explain(name) end
  return command.run(rest, options)
end

-- Output that is lost, on a full disk, is a failure. Lua's own print does not tell of it.
local lost
rawset(_G, "print", function(...)
  local words = { ... }
  for i = 1, select("#", ...) do words[i] = tostring(words[i]) end
  local written, why = io.stdout:write(table.concat(words, "\t"), "\n")
  if not written then lost = lost or why end
end)

local function finish(status)
  local flushed, why = io.stdout:flush()
  if flushed and not lost then return status end
  return shell.complain(math.max(status, shell.FAILED), "standard output: " .. (lost or why))
end

os.exit(finish(main({ ... })), true)
