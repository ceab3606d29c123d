-- What the spec files share: where things are, Lua in a child process, and counting what a test leaves behind.
local lfs = require "lfs"

local support = {}

support.build = os.getenv("MM_BUILD") or os.getenv("B") or "build"
support.lua = os.getenv("MATCHMAKER_LUA") or rawget(_G, "jit") and "luajit"
  or "lua" .. _VERSION:match("%d%.%d")

-- So that a plain `busted --lua=...` finds what was built, too.
local function prepend(paths, more)
  return paths:find(more, 1, true) and paths or more .. ";" .. paths
end
package.path = prepend(package.path, "lua/?.lua;lua/?/init.lua")
package.cpath = prepend(package.cpath, ("%s/lua/%s/?.so"):format(support.build, support.lua))

local mm = require "matchmaker"

---The path of a fixture's image.
function support.image(name) return ("%s/image/%s.mmi"):format(support.build, name) end

local recent = setmetatable({}, { __mode = "v" })

---Maps a fixture's image, or fails. Without options, the one that is still mapped will do.
function support.map(name, options)
  local known = not options and recent[name]
  if known and known:info() then return known end
  local image = mm.assert(mm.map(support.image(name), options))
  recent[name] = image
  return image
end

---Calls a function that has to raise, and returns the error.
function support.error_of(f, ...)
  local ok, err = pcall(f, ...)
  if ok then error("it raised nothing", 2) end
  return err
end

---What was refused to an image: "openat /etc/passwd 2", a line a call.
function support.refused(image)
  local list = {}
  for _, refusal in ipairs(image:info().refused) do
    list[#list + 1] = refusal.call .. " " .. (refusal.path or "-") .. " " .. refusal.count
  end
  return table.concat(list, "\n")
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

---Runs a piece of Lua in a child process, with the same interpreter and modules.
---@param code string `...` are the arguments
---@return { status: integer?, signal: integer?, stdout: string, stderr: string }
function support.run(code, ...)
  local base = os.tmpname()
  local script, out, err = base .. ".lua", base .. ".out", base .. ".err"
  local file = assert(io.open(script, "w"))
  file:write(code)
  file:close()
  local words = {}
  for i = 1, select("#", ...) do words[i] = quote((select(i, ...))) end
  local pipe = assert(io.popen(("env -u LUA_INIT LUA_PATH=%s LUA_CPATH=%s %s %s %s >%s 2>%s " ..
    "</dev/null; echo $?"):format(quote(package.path), quote(package.cpath), support.lua, script,
    table.concat(words, " "), out, err)))
  local status = tonumber(pipe:read("*a"):match("(%d+)%s*$"))
  pipe:close()
  local result = { stdout = read(out), stderr = read(err) }
  result[status > 128 and "signal" or "status"] = status > 128 and status - 128 or status
  for _, path in ipairs { base, script, out, err } do os.remove(path) end
  return result
end

---Runs Lua in a child that has to end well; returns what it wrote.
function support.output(code, ...)
  local result = support.run(code, ...)
  if result.status ~= 0 then
    error(("the child ended with %s %d: %s"):format(result.signal and "signal" or "status",
      result.signal or result.status, result.stderr), 2)
  end
  return result.stdout
end

---An address of the Matchmaker's own memory that has these permissions, as /proc/self/maps writes
---them: the kernel would take it as an argument where mediation does not look.
function support.matchmaker(permissions)
  for line in io.lines("/proc/self/maps") do
    local low, found = line:match("^(%x+)%-%x+ (...)")
    low = tonumber(low, 16)
    if low >= 0x200000000000 and low < 0x201000000000 and found == permissions then return low end
  end
  error("the Matchmaker has no such memory", 2)
end

---Lua text that defines arena(): how many mappings this process has in the arena.
support.arena = [[
local function arena()
  local count = 0
  for line in io.lines("/proc/self/maps") do
    local low = tonumber(line:match("^%x+"), 16)
    if low >= 0x200000000000 and low < 0x500000000000 then count = count + 1 end
  end
  return count
end
]]

-- The Matchmaker's own slot is the first; what its tables need there may be split by protections.
local function count_mappings(counts)
  counts.mappings, counts["mappings of images"], counts["bytes of the Matchmaker"] = 0, 0, 0
  for line in io.lines("/proc/self/maps") do
    local low, high = line:match("^(%x+)-(%x+)")
    low, high = tonumber(low, 16), tonumber(high, 16)
    if low >= 0x201000000000 and low < 0x500000000000 then
      counts["mappings of images"] = counts["mappings of images"] + 1
    elseif low >= 0x200000000000 and low < 0x201000000000 then
      counts["bytes of the Matchmaker"] = counts["bytes of the Matchmaker"] + high - low
    end
    counts.mappings = counts.mappings + 1
  end
end

local function count_everything()
  local counts = { descriptors = 0 }
  if rawget(_G, "jit") then jit.flush() end -- a trace keeps alive what it was compiled for
  for _ = 1, 2 do collectgarbage() end -- what finalizers release goes in the second round
  for _ in lfs.dir("/proc/self/fd") do counts.descriptors = counts.descriptors + 1 end
  count_mappings(counts)
  counts["signal handlers"] = read("/proc/self/status"):match("SigCgt:%s*(%x+)")
  counts["mapped images"] = #(mm.mapped() or {})
  return counts
end

-- What malloc, the loader and a JIT compiler take by themselves; and the pieces that a guard learns of
-- an image that stays mapped.
local tolerated = { mappings = 32, ["mappings of images"] = 32 }

local function leaks(before, after)
  local list = {}
  for name, count in pairs(before) do
    local now = after[name]
    local grown = type(count) == "number" and now > count + (tolerated[name] or 0)
    if grown or type(count) == "string" and now ~= count then
      list[#list + 1] = ("%s: %s before, %s after"):format(name, count, now)
    end
  end
  return list
end

---Counts before and after every test of a spec file; a leak is a failure. One line in each file:
---`support.guard(before_each, after_each)`.
function support.guard(before_each, after_each)
  local before
  before_each(function() before = count_everything() end)
  after_each(function()
    local list = leaks(before, count_everything())
    if #list > 0 then error("the test left something behind: " .. table.concat(list, "; "), 0) end
  end)
end

return support
