-- A clock that shows real time, medians, and rounds of all contestants in turn.
local measure = {}

local unpack = table.unpack or unpack

local has_ffi, ffi = pcall(require, "ffi")

if has_ffi then
  -- A name of its own, so that nobody else's declaration of clock_gettime is in the way.
  ffi.cdef [[int mm_bench_clock(int clock, int64_t *time) __asm__("clock_gettime");]]
  local CLOCK_MONOTONIC = 1
  local time = ffi.new "int64_t[2]"
  function measure.now()
    ffi.C.mm_bench_clock(CLOCK_MONOTONIC, time)
    return tonumber(time[0]) * 1e9 + tonumber(time[1])
  end
else
  function measure.now() return os.clock() * 1e9 end
end

function measure.median(list)
  local sorted = {}
  for i = 1, #list do sorted[i] = list[i] end
  table.sort(sorted)
  return sorted[math.floor(#sorted / 2) + 1]
end

-- "33 ns", "4.5 us", "113 ms"
function measure.text(ns)
  local unit = "ns"
  for _, larger in ipairs { "us", "ms", "s" } do
    if ns < 1000 then break end
    ns, unit = ns / 1000, larger
  end
  return (ns < 10 and "%.1f %s" or "%.0f %s"):format(ns, unit)
end

local LOOP = [[
local call, a, b = ...
return function(count)
  local result
  for i = 1, count do result = call(%s) end
  return result
end]]

-- A loop compiled for one function alone: in shared code the JIT would see a call of a variable.
local function loop(call, arguments, ...)
  return assert((loadstring or load)(LOOP:format(arguments)))(call, ...)
end

-- Pages are touched for the first time, guards learn, the JIT compiles: that is not the price of a
-- call.
local WARM_CALLS = 200
local LONG_ENOUGH_NS = 4e6

-- Nanoseconds of one call of `call`, in a loop that lasts some milliseconds. `arguments` is Lua
-- text, in which i counts the calls, and a and b are what follows.
function measure.call(call, arguments, ...)
  local run = loop(call, arguments, ...)
  local count = 8
  run(WARM_CALLS)
  while true do
    local start = measure.now()
    run(count)
    local taken = measure.now() - start
    if taken >= LONG_ENOUGH_NS then return taken / count end
    count = count * 2
  end
end

-- On a busy machine there are fewer rounds, but so many.
local LONG_ENOUGH_ROUNDS_NS, LEAST_ROUNDS = 25e9, 3

-- Every contestant is { name =, measure = function() return ns end }. Adds `samples`, `ns`,
-- their median, and the `least` of them.
function measure.rounds(contestants, rounds)
  for _, contestant in ipairs(contestants) do contestant.samples = {} end
  local start = measure.now()
  for round = 1, rounds do
    for _, contestant in ipairs(contestants) do
      local ns = contestant.measure()
      table.insert(contestant.samples, ns)
    end
    if round >= LEAST_ROUNDS and measure.now() - start > LONG_ENOUGH_ROUNDS_NS then break end
  end
  for _, contestant in ipairs(contestants) do
    contestant.ns = measure.median(contestant.samples)
    contestant.least = math.min(unpack(contestant.samples))
  end
  return contestants
end

return measure
