-- The commands of a session, which begin with a colon: each a function of the session and of the
-- text behind its name.
local facts = require "matchmaker.facts"
local help = require "matchmaker.help"
local terminal = require("matchmaker.core").terminal

local commands = {}

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- The images of the session by name, in order.
local function images_of(session)
  local names = {}
  for name, value in pairs(session.environment) do
    if help.kind_of(value) == "image" and value:info() then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- The images that a text names; all of them, when it names none.
local function chosen(session, text)
  local names = images_of(session)
  if text == "" then return names end
  local wanted = {}
  for name in text:gmatch("%S+") do
    if help.kind_of(session.environment[name]) ~= "image" then
      error(("`%s` is no image of this session"):format(name), 0)
    end
    wanted[#wanted + 1] = name
  end
  return wanted
end

local function output_of(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- objdump's lines for one function, without its headings.
local function disassemble(path, name)
  local text = output_of(("LC_ALL=C objdump -d --no-show-raw-insn --disassemble=%s %s")
    :format(quote(name), quote(path)))
  if text:find("not found", 1, true) and not text:find("file format", 1, true) then
    error("objdump is not here: install binutils", 0)
  end
  local code = text:match("\n(%x+ <[^\n]+>:\n.*)$")
  return code and code:gsub("\nDisassembly of section [^\n]*:\n", ""):gsub("%s+$", "")
end

commands.disasm = { "NAME", "the machine code of an export, or of any function of an image",
  function(session, text)
    local image_name, name = text:match("^([%w_]+)%.exports%.([%w_]+)$")
    name = name or text
    if name == "" then error("usage: :disasm NAME", 0) end
    for _, each in ipairs(image_name and { image_name } or images_of(session)) do
      local image = session.environment[each]
      local code = help.kind_of(image) == "image" and disassemble(image:info().path, name)
      if code then return code end
    end
    error(("no image of this session has a function `%s`"):format(name), 0)
  end }

-- Who lies in a mapping, as the image's facts say; "" for what is only reserved.
local function owners_of(all, low, high)
  local list, last = {}, nil
  for _, segment in ipairs(all.segments) do
    if segment.low < high and low < segment.high and segment.owner ~= last then
      last = segment.owner
      list[#list + 1] = last
    end
  end
  return table.concat(list, ", ")
end

local function mappings(image)
  local all, out = assert(facts.of(image)), {}
  for line in io.lines("/proc/self/maps") do
    local low, high, protection = line:match("^(%x+)-(%x+) (%S+)")
    low, high = tonumber(low, 16), tonumber(high, 16)
    local inside = low >= all.base and low < all.base + 2 ^ 36
    local owners = inside and owners_of(all, low, high) or ""
    if owners ~= "" or inside and not protection:find("^%-%-%-") then
      out[#out + 1] = ("%x-%x %s %10s  %s"):format(low, high, protection:sub(1, 3),
        facts.size(high - low), owners)
    end
  end
  return table.concat(out, "\n")
end

commands.maps = { "[IMAGE...]", "what is mapped of an image now, and with which permissions",
  function(session, text)
    local out = {}
    for _, name in ipairs(chosen(session, text)) do
      out[#out + 1] = name .. "\n" .. mappings(session.environment[name])
    end
    return table.concat(out, "\n")
  end }

commands.reset = { "[IMAGE...]", "images back to their snapshots",
  function(session, text)
    for _, name in ipairs(chosen(session, text)) do
      local done, err = session.environment[name]:reset()
      if not done then error(err, 0) end
    end
  end }

local TRACES = { on = "syscall,gate,image", off = false }
local KINDS = { syscall = true, gate = true, guard = true, image = true }

local function are_kinds(text)
  for word in text:gmatch("[^,]+") do
    if not KINDS[word] then return false end
  end
  return text:find("[^,]") ~= nil
end

commands.trace = { "on|off|WORDS", "say what the Matchmaker does: syscall, gate, guard, image",
  function(session, text)
    local words = TRACES[text]
    if words == nil then words = text end
    if words and not are_kinds(words) then
      error("usage: :trace on|off|syscall,gate,guard,image", 0)
    end
    terminal.trace(words or nil)
    session.matchmaker.assert(session.matchmaker.init(session.config))
  end }

local function seconds_of(f, count)
  local start = os.clock()
  for _ = 1, count do f() end
  return os.clock() - start
end

commands.time = { "EXPR", "how long an expression takes, in CPU time",
  function(session, text)
    local f = session.compile("return " .. text)
    if type(f) ~= "function" then error("usage: :time EXPR", 0) end
    local first, count = seconds_of(f, 1), 1
    local taken = first
    while taken < 0.1 do
      count = count * 2
      taken = seconds_of(f, count)
    end
    return ("%.3g us each (%d times); the first %.3g us"):format(taken / count * 1e6, count,
      first * 1e6)
  end }

commands.quit = { "", "ends the session; so does Ctrl-D",
  function(session) session.ended = true end }

local ORDER = { "disasm", "maps", "reset", "time", "trace", "help", "quit" }

commands.help = { "", "this",
  function()
    local out = { "an expression shows its value, `_` is the last one; statements run" }
    local function put(left, right) out[#out + 1] = ("%-20s %s"):format(left, right) end
    put("?X, help(X)", "what X is: an image, an export, an error; ? alone: the module")
    for _, name in ipairs(ORDER) do
      put((":%s %s"):format(name, commands[name][1]), commands[name][2])
    end
    out[#out + 1] = "Tab completes; Ctrl-C ends what runs, not the session"
    return table.concat(out, "\n")
  end }

commands.ORDER = ORDER
return commands
