-- Every end of a call, as a Lua program sees it.
local support = require "spec.support"
local mm = require "matchmaker"

-- export, argument, what the error has
local ends = {
  { "write_null", nil, signal = "SIGSEGV", access = "writing", address = 0, symbol = "write_null" },
  { "read_null", nil, signal = "SIGSEGV", access = "reading", address = 0, symbol = "read_null" },
  { "execute_null", nil, signal = "SIGSEGV", access = "executing", symbol = "execute_null" },
  { "execute_data", nil, signal = "SIGSEGV", access = "executing", symbol = "execute_data" },
  { "write_code", nil, signal = "SIGSEGV", access = "writing", symbol = "write_code" },
  { "privileged", nil, signal = "SIGSEGV", symbol = "privileged" },
  { "illegal", nil, signal = "SIGILL", symbol = "illegal" },
  { "trap", nil, signal = "SIGTRAP", symbol = "trap" },
  { "unaligned", nil, signal = "SIGBUS", symbol = "unaligned" },
  { "lost_stack", nil, signal = "SIGBUS", symbol = "lost_stack" },
  { "null_stack", nil, signal = "SIGSEGV", access = "writing", symbol = "null_stack" },
  { "overflow", 0, signal = "SIGSEGV", access = "writing", symbol = "overflow" },
  { "call_abort", nil, signal = "SIGABRT" },
  { "free_twice", nil, signal = "SIGABRT" },
  { "call_raise", 15, signal = "SIGTERM" },
  { "call_kill", 9, signal = "SIGKILL" },
  { "crash_in_libc", nil, signal = "SIGSEGV", access = "reading", address = 0 },
  { "deep", 5, signal = "SIGSEGV", access = "writing", address = 0, symbol = "innermost" },
  { "dirty_then_crash", 9, signal = "SIGSEGV", access = "writing", symbol = "dirty_then_crash" },
  { "spoil_all_then_crash", nil, signal = "SIGSEGV", access = "writing", address = 0,
    symbol = "spoil_all_then_crash" },
  { "call_exit", 3, kind = "exit", exit_status = 3 },
  { "call_exit", 256 + 7, kind = "exit", exit_status = 7 },
  { "call_exit_now", 0, kind = "exit", exit_status = 0 },
}

local function call(image, case)
  if case[2] then return pcall(image.exports[case[1]], case[2]) end
  return pcall(image.exports[case[1]])
end

local function check(case, err)
  assert.equal(case.kind or "fault", err.kind)
  for _, fact in ipairs { "signal", "access", "exit_status" } do
    assert.equal(case[fact], err[fact])
  end
  if case.symbol then
    assert.equal(case.symbol, err.symbol)
    assert.equal("crash", err.module)
    assert.is_true(err.offset >= 0 and err.offset < 512)
  elseif not case.kind then
    assert.matches("^libc%.so", err.module)
  end
  if case.address then assert.equal(case.address, err.address) end
  assert.equal(case[1], err.export)
  assert.is_true(err.was_reset)
  assert.matches("; the image was reset$", err.message)
end

for _, guard in ipairs { "pages", "open" } do
  describe("a call that ends early, guarded by " .. guard .. ",", function()
    support.guard(before_each, after_each)

    for _, case in ipairs(ends) do
      it(("is an error, and the image works: %s(%s)"):format(case[1], case[2] or ""), function()
        local image = mm.assert(mm.map(support.image "crash", { guard = guard }))
        for _ = 1, 2 do
          image.exports.counter_set(7)
          local ok, err = call(image, case)
          assert.is_false(ok)
          check(case, err)
          assert.equal(100, image.exports.counter_get())
        end
        assert.equal(2, image:info().faults)
        image:unmap()
      end)
    end

    it("leaves no page changed", function()
      local image = mm.assert(mm.map(support.image "crash", { guard = guard }))
      local sum = tostring(image.exports.field_sum())
      support.error_of(image.exports.dirty_then_crash, 64)
      assert.equal(sum, tostring(image.exports.field_sum()))
      image:unmap()
    end)

    it("divides by nothing but zero in peace", function()
      local image = mm.assert(mm.map(support.image "crash", { guard = guard }))
      assert.equal(3, image.exports.divide(9, 3))
      assert.equal("SIGFPE", support.error_of(image.exports.divide, 1, 0).signal)
      assert.equal("SIGFPE", support.error_of(image.exports.divide, -2 ^ 31, -1).signal)
      image:unmap()
    end)

    it("stays dead when it was mapped so, and comes back by a reset", function()
      local image = mm.assert(mm.map(support.image "crash", { guard = guard, on_fault = "dead" }))
      local err = support.error_of(image.exports.dirty_then_crash, 5)
      assert.is_false(err.was_reset)
      for _ = 1, 2 do
        assert.equal("dead", support.error_of(image.exports.counter_get).kind)
      end
      mm.assert(image:reset())
      assert.equal(100, image.exports.counter_get())
      image:unmap()
    end)

    it("says that the stack overflowed", function()
      local image = mm.assert(mm.map(support.image "crash", { guard = guard }))
      local err = support.error_of(image.exports.overflow, 0)
      assert.matches("^overflow: stack overflow %(SIGSEGV writing 0x%x+%) in overflow", err.message)
      image:unmap()
    end)
  end)
end

describe("a fault inside calls of several images", function()
  support.guard(before_each, after_each)

  -- The addresses of exports as other images call them are the client's to tell: luajit's FFI and
  -- C programs have them. Here only what Lua can see.
  it("does not reach the client's own memory", function()
    local a, b = support.map "crash", support.map "math"
    b.exports.counter_set(55)
    support.error_of(a.exports.write_null)
    assert.equal(55, b.exports.counter_get())
    local err = support.error_of(a.exports.read_at, b:info().base + 0x100)
    assert.equal("reading", err.access)
    assert.equal(b:info().base + 0x100, err.address)
    assert.equal("read_at", err.symbol)
  end)

  it("cannot write another image under `pages`", function()
    local a, b = support.map "crash", support.map "math"
    local low
    for line in io.lines("/proc/self/maps") do
      local from = tonumber(line:match("^%x+"), 16)
      if not low and from >= b:info().base and line:match("^%S+ r") then low = from end
    end
    local err = support.error_of(a.exports.write_at, low)
    assert.equal("writing", err.access)
    assert.equal(low, err.address)
    assert.equal(101, b.exports.counter_next())
  end)

  it("is told once", function()
    local image = support.map "crash"
    support.error_of(image.exports.write_null)
    assert.equal(100, image.exports.counter_get())
    assert.equal(9, image.exports.divide(81, 9))
  end)
end)

describe("a process after a thousand faults", function()
  it("is as it was", function()
    local output = support.output([[
      local mm = require "matchmaker"
      local image = mm.assert(mm.map(..., { guard = "open" }))
      local function facts()
        local count = 0
        for _ in io.lines("/proc/self/maps") do count = count + 1 end
        local file = io.open("/proc/self/status")
        local status = file:read("*a")
        file:close()
        return count, status:match("SigBlk:.-SigCgt:%s*%x+")
      end
      for _ = 1, 10 do pcall(image.exports.write_null) end
      local count, signals = facts()
      for _ = 1, 1000 do
        local ok, err = pcall(image.exports.write_null)
        assert(not ok and err.signal == "SIGSEGV")
      end
      local now, signals_now = facts()
      print(now <= count + 20, signals == signals_now)
    ]], support.image "crash")
    assert.equal("true\ttrue\n", output)
  end)
end)
