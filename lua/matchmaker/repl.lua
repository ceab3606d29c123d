-- A session: reads lines, evaluates them, shows what came. At a terminal with prompts, completion
-- and history; from a pipe silently, up to the first error.
local complete = require "matchmaker.repl.complete"
local commands = require "matchmaker.repl.commands"
local facts = require "matchmaker.facts"
local help = require "matchmaker.help"
local input = require "matchmaker.repl.input"
local show = require "matchmaker.show"
local terminal = require("matchmaker.core").terminal

---A name for an image in Lua: "hu-HU.mmi" is hu_HU.
local function name_for(path)
  local name = facts.name_of(path):gsub("%.[^.]*$", ""):gsub("[^%w_]", "_")
  return name:find("^[%a_]") and name or "_" .. name
end

local function new_environment(matchmaker)
  local environment = { mm = matchmaker, help = matchmaker.help }
  return setmetatable(environment, { __index = _G })
end

-- A chunk in the session's environment. LuaJIT's compiled traces look at no hook, so that Ctrl-C
-- would not end a loop.
local function compile_in(environment, text)
  local chunk, why
  if setfenv then
    chunk, why = loadstring(text, "=session")
    if chunk then setfenv(chunk, environment) end
  else
    chunk, why = load(text, "=session", "t", environment)
  end
  local jit = rawget(_G, "jit")
  if chunk and jit then jit.off(chunk, true) end
  return chunk, why
end

local function new_session(matchmaker, config)
  local session = { matchmaker = matchmaker, config = config,
                    environment = new_environment(matchmaker) }
  function session.compile(text) return compile_in(session.environment, text) end
  return session
end

-- An expression, else statements. `more`: the text only lacks its end.
local function compile(session, text)
  local chunk = session.compile("return " .. text:gsub("^=", ""))
  if chunk then return chunk end
  local why
  chunk, why = session.compile(text)
  local more = not chunk and (why:find("<eof>", 1, true) or why:find("unfinished long", 1, true))
  return chunk, why, more and true or false
end

-- Where an error came from, up to the session; nothing when that is the line itself.
local function trace_of(err)
  local trace = debug.traceback("", 2):gsub("^\n", "")
  local lines = {}
  for line in trace:gmatch("[^\n]+") do
    if line:find("matchmaker/repl.lua", 1, true) or line:find("in function 'xpcall'", 1, true) then
      break
    end
    lines[#lines + 1] = line
  end
  return { err = err, trace = #lines > 3 and table.concat(lines, "\n") or nil }
end

local function pack(...) return { n = select("#", ...), ... } end

-- What came of a chunk; true when it ended well.
local function evaluate(session, chunk)
  local results = pack(xpcall(chunk, trace_of))
  if not results[1] then
    session.fail(show.error(results[2].err, results[2].trace))
    return false
  end
  for i = 2, results.n do print(show.value(results[i])) end
  if results.n > 1 then session.environment._ = results[2] end
  return true
end

local function run_command(session, text)
  local name, rest = text:match("^:(%a*)%s*(.-)%s*$")
  local command = type(commands[name]) == "table" and commands[name]
  local f = type(command) == "table" and command[3]
  if not f then
    session.fail(("error: `:%s` is no command; :help lists them"):format(name or ""))
    return false
  end
  local fine, result = pcall(f, session, rest)
  if not fine then
    session.fail(show.error(result))
  elseif result then
    print(result)
  end
  return fine
end

local function explain(session, text)
  local chunk, why = session.compile("return " .. (text:match("%S") and text or "nil"))
  if not chunk then
    session.fail(show.error(why))
    return false
  end
  local fine, value = pcall(chunk)
  if fine and value == nil and text:find("%S") then
    session.fail(("error: `%s` is nil"):format(text:match("^%s*(.-)%s*$")))
    return false
  end
  if fine then print(help.text(value)) else session.fail(show.error(value)) end
  return fine
end

-- Reads on while the text only lacks its end. Nil at the end of input; false after Ctrl-C.
local function read_text(session, reader)
  local text = reader.line("> ")
  if not text or text:find("^%s*[:?]") then return text end
  while true do
    local chunk, _, more = compile(session, text)
    if chunk or not more then return text end
    local line = reader.line(">> ")
    if not line then return line == nil and text or line end
    text = text .. "\n" .. line
  end
end

local function answer(session, text)
  if text:find("^%s*$") then return true end
  local special = text:match("^%s*(:.*)$")
  if special then return run_command(session, special) end
  if text:find("^%s*%?") then return explain(session, (text:gsub("^%s*%?", ""))) end
  local chunk, why = compile(session, text)
  if chunk then return evaluate(session, chunk) end
  session.fail(show.error(why))
  return false
end

local function greet(session, names)
  print(("matchmaker %s, %s; :help lists what there is"):format(session.matchmaker.version,
    rawget(_G, "jit") and rawget(_G, "jit").version or _VERSION))
  for _, name in ipairs(names) do
    print(("%s = %s"):format(name, tostring(session.environment[name])))
  end
end

-- Ctrl-C between two steps of the loop is as good as one at the prompt.
local function step(session, reader)
  local text = read_text(session, reader)
  if text == nil then session.ended = true return true end
  if not text then return true end
  reader.remember(text)
  return answer(session, text)
end

local function loop(session, reader)
  while not session.ended do
    local fine, good = pcall(step, session, reader)
    if not fine then session.fail(show.error(good)) end
    local written, why = io.stdout:flush()
    if not written then session.fail("standard output: " .. why) end
    if not reader.is_terminal and not (fine and good and written) then return 1 end
  end
  if reader.is_terminal then io.write("\n") end
  return 0
end

-- Images by their names; two files of one name get numbers.
local function map_all(session, paths, options)
  local names = {}
  for _, path in ipairs(paths) do
    local fine, image, err = pcall(session.matchmaker.map, path, options)
    if not fine then return nil, image, true end
    if not image then return nil, err end
    local name, base, number = name_for(path), name_for(path), 1
    while rawget(session.environment, name) ~= nil do
      number = number + 1
      name = base .. number
    end
    session.environment[name] = image
    names[#names + 1] = name
  end
  return names
end

---Runs a session on standard input to its end.
---@param paths string[] images to map first
---@param options mm.options for them
---@return integer? status 1 when a line from a pipe failed; nil and an error when an image did
---@return any err
---@return boolean? misuse the options are wrong
return function(paths, options)
  local jit = rawget(_G, "jit")
  if jit then jit.off(true, true) end
  terminal.interruptible()
  local matchmaker = require "matchmaker"
  local session = new_session(matchmaker, { interrupt = "error" })
  matchmaker.assert(matchmaker.init(session.config))
  local names, err, misuse = map_all(session, paths, options)
  if not names then return nil, err, misuse end
  local reader = input.open(function(text)
    return complete(session.environment, commands.ORDER, text)
  end)
  function session.fail(text)
    io.stdout:flush()
    if not reader.is_terminal then io.stderr:write("matchmaker: ", text, "\n") return end
    print((text:gsub("^(error: [^\n]*interrupted)", "\n%1"))) -- behind the ^C that the terminal shows
  end
  if reader.is_terminal then greet(session, names) end
  return loop(session, reader)
end
