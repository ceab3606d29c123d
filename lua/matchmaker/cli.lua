-- The commands of the shell's `matchmaker` but `snapshot`: each is one entry of `commands`, a
-- function of its words and options that returns an exit status. Run as a program by
-- bin/matchmaker, never required. Exit status: 0 done, 1 failed, 2 misused.
local DONE, FAILED, MISUSED = 0, 1, 2

local function complain(status, message)
  io.stderr:write("matchmaker: ", (tostring(message):gsub("%s*\n%s*", " ")), "\n")
  return status
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

-- The module connects when it is required, which a machine may not be able to do.
local function connect()
  local fine, matchmaker = pcall(require, "matchmaker")
  if fine then return matchmaker end
  return nil, matchmaker
end

local function escape(character)
  return ("\\u%04x"):format(character:byte())
end

-- Lists become arrays, other tables objects with their keys in order.
local function json(value)
  if type(value) == "string" then return '"' .. value:gsub('[%c"\\]', escape) .. '"' end
  if type(value) ~= "table" then return tostring(value) end
  local parts, keys = {}, {}
  if #value > 0 or next(value) == nil then
    for i, item in ipairs(value) do parts[i] = json(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do parts[i] = json(key) .. ":" .. json(value[key]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

local commands = {}

-- `--grant NAME`, `--grant read=FOLDER`, `--grant write=FOLDER`, as often as needed: what the image
-- may do, as request_map takes it.
local function granted(words)
  local grant = { read = {}, write = {} }
  for _, word in ipairs(words or {}) do
    local access, folder = word:match("^(%a+)=(.*)$")
    table.insert(grant[access] or grant, grant[access] and folder or word)
  end
  return grant
end

local function map(matchmaker, path, options)
  local fine, image, err = pcall(matchmaker.request_map, path, { grant = granted(options.grant) })
  if fine then return image, err end
  return nil, image
end

---- inspect ------------------------------------------------------------------------------------

local function prototypes(image)
  local list = {}
  for _, export in pairs(image.exports) do list[#list + 1] = tostring(export) end
  table.sort(list)
  return list
end

commands.inspect = {
  usage = "inspect [--json] [--grant NAME] IMAGE", words = 1,
  options = { json = true, grant = "value" },
  run = function(words, options)
    local matchmaker, why = connect()
    if not matchmaker then return complain(FAILED, why) end
    local image, err = map(matchmaker, words[1], options)
    if not image then return complain(FAILED, err) end
    local info = image:info()
    info.prototypes = prototypes(image)
    if options.json then print(json(info)) return DONE end
    local names = {}
    for name, value in pairs(info) do
      if type(value) ~= "table" then names[#names + 1] = name end
    end
    table.sort(names)
    for _, name in ipairs(names) do
      local value = info[name]
      if name == "base" then value = ("0x%x"):format(value) end
      print(("%-14s %s"):format(name, tostring(value)))
    end
    for _, prototype in ipairs(info.prototypes) do print("  " .. prototype) end
    return DONE
  end,
}

---- call ---------------------------------------------------------------------------------------

-- The parameters' types, from a prototype as C text: cut at the commas outside of parentheses.
local function parameters(prototype)
  local inside = prototype:match("^[^(]*(%b())")
  local list, depth, start = {}, 0, 2
  if not inside or inside == "(void)" then return list end
  for at = 2, #inside do
    local character = inside:sub(at, at)
    if character == "(" then depth = depth + 1 end
    if character == ")" and at < #inside then depth = depth - 1 end
    if depth == 0 and (character == "," or at == #inside) then
      list[#list + 1] = inside:sub(start, at - 1)
      start = at + 1
    end
  end
  return list
end

local BOOLEANS = { ["true"] = true, ["1"] = true, ["false"] = false, ["0"] = false }

-- An integer that a double does not hold: cdata in LuaJIT, an integer in 5.3 and later, else text.
local function wide(word)
  if rawget(_G, "jit") then
    local suffix = word:sub(1, 1) ~= "-" and tonumber(word) >= 2 ^ 63 and "ULL" or "LL"
    return assert(loadstring("return " .. word .. suffix))()
  end
  return math.type and tonumber(word) or word
end

-- A word of the command line as that parameter wants it; what does not fit stays text, and the call
-- says what is wrong with it.
local function convert(word, parameter)
  if parameter:find("[*%[]") then return word end
  if parameter:find("%f[%w]bool%f[%W]") or parameter:find("_Bool", 1, true) then
    if BOOLEANS[word] == nil then return word end
    return BOOLEANS[word]
  end
  local real = parameter:find "double" or parameter:find "float"
  if not real and #(word:match "^%-?(%d+)$" or "") >= 16 then return wide(word) end
  return tonumber(word) or word
end

-- A result as C would print it.
local function text_of(value)
  if type(value) == "number" and value % 1 == 0 and math.abs(value) <= 2 ^ 53 then
    return ("%.0f"):format(value)
  end
  return (tostring(value):gsub("^(%-?%d+)U?LL$", "%1"))
end

commands.call = {
  usage = "call [--grant NAME] IMAGE EXPORT [ARG...]", words = 2, more = true,
  options = { grant = "value" },
  run = function(words, options)
    local matchmaker, why = connect()
    if not matchmaker then return complain(FAILED, why) end
    local image, err = map(matchmaker, words[1], options)
    if not image then return complain(FAILED, err) end
    local found, export = pcall(function() return image.exports[words[2]] end)
    if not found then return complain(FAILED, export) end
    local types, arguments, count = parameters(tostring(export)), {}, #words - 2
    for i = 1, count do arguments[i] = convert(words[i + 2], types[i] or "") end
    local results = { pcall(matchmaker.request_call, image, words[2],
                            (table.unpack or unpack)(arguments, 1, count)) }
    if not results[1] then return complain(FAILED, results[2]) end
    if results[2] ~= nil then print(text_of(results[2])) end
    return DONE
  end,
}

---- ps -----------------------------------------------------------------------------------------

-- What others wrote goes to a terminal.
local function printable(text) return (text:gsub("%c", "?")) end

local function print_clients(list)
  print(("%7s  %-19s  %s"):format("PID", "SINCE", "COMMAND"))
  for _, client in ipairs(list) do
    print(("%7.0f  %s  %s%s"):format(client.pid, os.date("%Y-%m-%d %H:%M:%S", client.started),
      printable(client.command), client.is_foreign and " (in another pid namespace)" or ""))
    for _, image in ipairs(client.images) do
      print(("%9sslot %-3.0f  %-5s  %7.1f MiB  %s"):format("", image.slot, image.guard,
        image.mapped_bytes / 2 ^ 20, printable(image.path)))
    end
  end
end

commands.ps = {
  usage = "ps [--json]", words = 0, options = { json = true },
  run = function(_, options)
    local matchmaker, why = connect()
    if not matchmaker then return complain(FAILED, why) end
    local list, err = matchmaker.clients()
    if not list then return complain(FAILED, err) end
    local others = {}
    for _, client in ipairs(list) do
      if not client.is_self then others[#others + 1] = client end
    end
    table.sort(others, function(a, b) return a.pid < b.pid end)
    if options.json then print(json(others)) else print_clients(others) end
    return DONE
  end,
}

---- doctor -------------------------------------------------------------------------------------

local function little_endian(text, at)
  local value = 0
  for i = 7, 0, -1 do value = value * 256 + text:byte(at + i) end
  return value
end

-- One value of the auxiliary vector; source: getauxval(3).
local function auxiliary(kind)
  local vector = read("/proc/self/auxv") or ""
  for at = 1, #vector - 15, 16 do
    if little_endian(vector, at) == kind then return little_endian(vector, at + 8) end
  end
  return 0
end

local function kernel_is(major, minor)
  local release = read("/proc/sys/kernel/osrelease") or ""
  local has_major, has_minor = release:match("^(%d+)%.(%d+)")
  has_major, has_minor = tonumber(has_major) or 0, tonumber(has_minor) or 0
  return has_major > major or has_major == major and has_minor >= minor, release:match("%S+")
end

local function address_space()
  return (read("/proc/self/limits") or ""):match("Max address space%s+(%S+)") or "unknown"
end

local function lua_versions()
  local root, list = os.getenv("MATCHMAKER_ROOT") or ".", {}
  local build = os.getenv("MM_BUILD") or root .. "/build"
  for name, number in ("luajit=5.1 lua5.1=5.1 lua5.2=5.2 lua5.3=5.3 lua5.4=5.4")
    :gmatch("(%S+)=(%S+)") do
    for _, folder in ipairs { root .. "/lib/lua/" .. number, build .. "/lua/" .. name } do
      if read(folder .. "/matchmaker/core.so") then list[#list + 1] = name break end
    end
  end
  return list
end

local function examine()
  local new_enough, release = kernel_is(5, 11)
  local matchmaker, why = connect()
  local flags = " " .. ((read("/proc/cpuinfo") or ""):match("\nflags%s*:([^\n]*)") or "") .. " "
  local actions = read("/proc/sys/kernel/seccomp/actions_avail") or ""
  local limit, luas = address_space(), lua_versions()
  local list, lack
  if matchmaker then list, lack = matchmaker.clients() end
  if list then lack = list.lack end
  local roomy = limit == "unlimited" or (tonumber(limit) or 0) >= 3 * 2 ^ 36
  local function row(name, fine, found, cost) -- `cost`: what its lack costs
    return { name = name, fine = fine and true or false, found = found, cost = cost }
  end
  return {
    row("kernel", new_enough, release, "images cannot be mapped: that takes Linux 5.11"),
    row("Matchmaker", matchmaker, matchmaker and "mapped" or tostring(why),
      "images cannot be mapped"),
    row("address space", roomy, limit,
      "each image reserves 64 GiB of addresses, which `ulimit -v` must allow"),
    row("FSGSBASE", math.floor(auxiliary(26) / 2) % 2 == 1, nil, -- AT_HWCAP2, HWCAP2_FSGSBASE
      "FS is switched by system calls, two for each call of an image"),
    row("protection keys", flags:find(" ospke ", 1, true), nil,
      "no guard `keys`: images are guarded by `pages`, with system calls around calls"),
    row("seccomp", actions:find("trap", 1, true), nil, "nothing in this release"),
    row("list of clients", list and not lack, lack and tostring(lack),
      "`matchmaker ps` does not see the clients"),
    row("Lua versions", #luas > 0, table.concat(luas, " "), "no Lua can load the module"),
  }, new_enough and matchmaker and roomy
end

commands.doctor = {
  usage = "doctor [--json]", words = 0, options = { json = true },
  run = function(_, options)
    local rows, usable = examine()
    if options.json then print(json(rows)) return usable and DONE or FAILED end
    for _, row in ipairs(rows) do
      local line = ("%-16s %-4s %s"):format(row.name, row.fine and "yes" or "no", row.found or "")
      print((line:gsub(" +$", "")))
      if not row.fine then print(("%21swithout: %s"):format("", row.cost)) end
    end
    return usable and DONE or FAILED
  end,
}

---- the command line ---------------------------------------------------------------------------

local function usage()
  local lines = { "usage: matchmaker snapshot [-o FILE] [--slot N] [--env NAME] SERVER [ARG...]" }
  for _, name in ipairs { "inspect", "call", "ps", "doctor" } do
    lines[#lines + 1] = "       matchmaker " .. commands[name].usage
  end
  return table.concat(lines, "\n")
end

-- Options come before the first word; `--` ends them. Those with a value may come again: a list.
local function split(words, command)
  local options, rest, at = {}, {}, 2
  while words[at] and words[at]:find("^%-.") do
    local name = words[at]:match("^%-%-(.*)")
    at = at + 1
    if name == "" then break end
    if not name or not command.options[name] then
      return nil, ("`%s` is no option of %s"):format(words[at - 1], words[1])
    end
    if command.options[name] == "value" then
      if not words[at] then return nil, ("`--%s` lacks its value"):format(name) end
      options[name] = options[name] or {}
      table.insert(options[name], words[at])
      at = at + 1
    else
      options[name] = true
    end
  end
  for i = at, #words do rest[#rest + 1] = words[i] end
  if #rest < command.words or #rest > command.words and not command.more then
    return nil, "usage: matchmaker " .. command.usage
  end
  return options, rest
end

local function main(words)
  local name = words[1]
  if name == "--help" or name == "help" then print(usage()) return DONE end
  if not name then
    io.stderr:write(usage(), "\n")
    return MISUSED
  end
  local command = commands[name]
  if not command then
    return complain(MISUSED, ("`%s` is no command; `matchmaker help` lists them"):format(name))
  end
  local options, rest = split(words, command)
  if not options then return complain(MISUSED, rest) end
  return command.run(rest, options)
end

os.exit(main({ ... }))
