-- What one of several Lua states does: calls of its own images, one in ten of which ends badly, with
-- callbacks, memory, resets, maps and unmaps between them. Every answer is checked; what is mapped
-- at the end is left to the state. Arguments: which state, how many calls, a seed; $MM_BUILD.
local number, calls, seed = ...
local mm = require "matchmaker"
local build = os.getenv "MM_BUILD" or "build"

local function random(limit) -- Lehmer's: the same in every Lua
  seed = (seed + 1) * 16807 % 2147483647
  return seed % limit + 1
end

local function map(name)
  local guard = ({ "pages", "open" })[random(2)]
  return mm.assert(mm.map(("%s/image/%s.mmi"):format(build, name), { guard = guard,
    sealed = guard == "pages" and random(4) == 1 }))
end

-- No two states can map the same image.
local crashing = ({ "crash", "callback", "callback_other", "nested" })[number]
local counting = ({ "math", "gate", "gate_other", "memory" })[number]
local crash, counter = map(crashing), nil
local counted

local bad = ({
  crash = {
    { "write_null", signal = "SIGSEGV" }, { "read_null", signal = "SIGSEGV" },
    { "execute_data", signal = "SIGSEGV" }, { "not_canonical", signal = "SIGSEGV" },
    { "divide", 1, 0, signal = "SIGFPE" }, { "illegal", signal = "SIGILL" },
    { "trap", signal = "SIGTRAP" }, { "unaligned", signal = "SIGBUS" },
    { "overflow", 0, signal = "SIGSEGV" }, { "call_abort", signal = "SIGABRT" },
    { "free_twice", signal = "SIGABRT" }, { "call_raise", 15, signal = "SIGTERM" },
    { "call_exit", 3, kind = "exit" }, { "crash_in_libc", signal = "SIGSEGV" },
    { "dirty_then_crash", 64, signal = "SIGSEGV" }, { "spoil_all_then_crash", signal = "SIGSEGV" },
  },
  nested = { { "crash_at", 1, signal = "SIGSEGV" } },
})[crashing] or { { "crash", signal = "SIGSEGV" }, { "overflow", signal = "SIGSEGV" } }

local unpack = table.unpack or unpack

local function end_badly()
  local one = bad[random(#bad)]
  local fine, err = pcall(crash.exports[one[1]], unpack(one, 2))
  assert(not fine and err.kind == (one.kind or "fault"), tostring(err))
  assert(err.signal == one.signal and err.was_reset, tostring(err))
end

local function call_back()
  local apply, x = crash.exports.apply, random(1000)
  assert(apply(function(y) return 2 * y end, x) == 2 * x + 1)
  assert(apply(function(y) return apply(function(z) return z + 1 end, y) end, x) == x + 3)
  local fine, err = pcall(apply, function() error "on purpose" end, x)
  assert(not fine and tostring(err):find("on purpose", 1, true), tostring(err))
  fine, err = pcall(apply, function(y) end_badly() return y end, x)
  assert(not fine and err.kind == "callback", tostring(err)) -- its image was reset under it
end

local good = {
  crash = function()
    local a, b = random(100000), random(100)
    assert(crash.exports.divide(a, b) == math.floor(a / b))
    assert(crash.exports.counter_get() == 100)
  end,
  nested = function()
    local depth = random(60)
    assert(crash.exports.recurse(depth) == depth)
    assert(crash.exports.twice(depth) == 2 * depth)
  end,
}

local function renew()
  if counter and random(2) == 1 then mm.assert(counter:unmap()) end
  counter = nil
  collectgarbage()
  counter, counted = map(counting), 100
end

local function use_memory()
  local text = ("x"):rep(random(20000))
  local buffer = crash:buffer(text)
  assert(crash:string(buffer, #text) == text)
  if random(3) == 1 then
    mm.assert(crash:reset())
    local fine, err = pcall(crash.string, crash, buffer, #text)
    assert(not fine and err.kind == "stale", tostring(err))
  end
end

renew()
for i = 1, calls do
  local which = random(1000)
  if which <= 100 then
    end_badly()
  elseif which <= 160 and good[crashing] == nil then
    call_back()
  elseif which <= 180 then
    use_memory()
  elseif which <= 190 then
    renew()
  elseif which <= 200 then
    mm.assert(counter:reset())
    counted = 100
  elseif which <= 600 then
    counted = counted + 1
    assert(counter.exports.counter_next() == counted)
  else
    (good[crashing] or function() assert(crash.exports.triple(i) == 3 * i) end)()
  end
end
