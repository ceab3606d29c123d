-- Calls that LuaJIT makes to stubs by itself: as all others, but compiled.
local support = require "spec.support"
local mm = require "matchmaker"

if not rawget(_G, "jit") then
  describe("direct calls", function()
    it("are LuaJIT's alone: elsewhere there is nothing to load", function()
      assert.is_nil(package.loaded["matchmaker.direct"])
    end)
  end)
  return
end

local jit_util = require "jit.util"

local ffi = require "ffi"

describe("a direct call", function()
  setup(function() -- what the first callback takes stays
    local image = support.map "callback"
    image:callback("int (int)", print):free()
    image:unmap()
  end)
  support.guard(before_each, after_each)

  -- Runs a loop until it is compiled; the number of traces that were made, and that were begun and
  -- given up, or end at a call that does not compile.
  local function traces(f, ...)
    local made, given_up = 0, 0
    local function count(what, trace)
      local stitched = what == "stop" and jit_util.traceinfo(trace).linktype == "stitch"
      if what == "stop" then made = made + 1 end
      if what == "abort" or stitched then given_up = given_up + 1 end
    end
    jit.flush()
    jit.attach(count, "trace")
    local ok, err = pcall(f, ...)
    jit.attach(count)
    assert(ok, err)
    return made, given_up
  end

  -- LuaJIT counts what is hot by addresses, several to a counter, so that it may begin anywhere, and
  -- give that up; not time and again.
  local function compiles(f)
    for _ = 1, 10 do
      local made, given_up = traces(f)
      if made >= 1 and given_up == 0 then return true end
    end
  end

  it("compiles into a trace, and takes no memory", function()
    local image = support.map("math", { guard = "open" })
    local add, sum = image.exports.add, 0
    local function loop()
      sum = 0
      for i = 1, 500 do sum = sum + add(i, 1) end
    end
    assert.is_true(compiles(loop))
    collectgarbage "stop"
    local grown = math.huge
    for _ = 1, 5 do -- a trace that is made meanwhile takes some, once
      local before = collectgarbage "count"
      loop()
      grown = math.min(grown, collectgarbage "count" - before)
    end
    collectgarbage "restart"
    assert.equal(125750, sum)
    assert.is_true(grown < 1, grown)
    image:unmap()
  end)

  it("refuses in a trace what is refused elsewhere, in the same words", function()
    local image = support.map "math"
    local add = image.exports.add
    local wrong = { { 1 }, { 1, 2, 3 }, { 1, "2" }, { 2 ^ 31, 1 }, { 1, 0.5 }, { 1, 0 / 0 },
      { nil, 1, n = 2 }, { {}, 1 } }
    for _, arguments in ipairs(wrong) do
      local count = arguments.n or #arguments
      local messages = {}
      for i = 1, 120 do
        local ok, err = pcall(function()
          if i % 2 == 0 then return image:call { "add", unpack(arguments, 1, count) } end
          return add(unpack(arguments, 1, count))
        end)
        assert.is_false(ok)
        messages[err.message] = err.kind
      end
      local first = next(messages)
      assert.is_nil(next(messages, first), "two messages for one mistake")
    end
    image:unmap()
  end)

  it("raises a fault after the trace, and goes on", function()
    local image = support.map "crash"
    local crash, get, faults = image.exports.write_null, image.exports.counter_get, 0
    for _ = 1, 200 do
      local ok, err = pcall(crash)
      if not ok and err.kind == "fault" and err.symbol == "write_null" then faults = faults + 1 end
      assert.equal(100, get())
    end
    assert.equal(200, faults)
    assert.matches("^write_null: SIGSEGV writing 0x0 in write_null%+0x%x+ %(crash%); " ..
      "the image was reset$", tostring(support.error_of(crash)))
    image:unmap()
  end)

  it("finds the image unmapped, dead, or the Matchmaker gone", function()
    local image = support.map "math"
    local add = image.exports.add
    for _ = 1, 100 do add(1, 2) end
    image:unmap()
    for _ = 1, 100 do assert.equal("unmapped", support.error_of(add, 1, 2).kind) end
    image = mm.assert(mm.map(support.image "crash", { on_fault = "dead" }))
    local get = image.exports.counter_get
    pcall(image.exports.write_null)
    for _ = 1, 100 do assert.equal("dead", support.error_of(get).kind) end
    assert.is_true(image:reset())
    assert.equal(100, get())
    image:unmap()
    local output = support.output([[
      local mm = require "matchmaker"
      local image = mm.assert(mm.map(...))
      local add = image.exports.add
      for _ = 1, 100 do add(1, 2) end
      mm.finalize()
      for _ = 1, 100 do
        local ok, err = pcall(add, 1, 2)
        assert(not ok and (err.kind == "not_connected" or err.kind == "unmapped"), err)
      end
      mm.init()
      image = mm.assert(mm.map(...))
      print(image.exports.add(1, 2), pcall(add, 1, 2))
    ]], support.image "math")
    assert.matches("^3\tfalse\t", output)
  end)

  it("gives 64-bit integers exactly, as numbers where they fit", function()
    local image = support.map "math"
    local largest = ffi.cast("int64_t", 2 ^ 62) * 2 - 1 -- wraps
    local all_ones = ffi.cast("uint64_t", ffi.cast("int64_t", -1))
    local signed, unsigned = image.exports.i64, image.exports.u64
    for _ = 1, 100 do
      assert.equal(9007199254740992, signed(9007199254740992))
      assert.equal(-5, signed(-5))
      assert.is_true(ffi.istype("int64_t", signed(largest)))
      assert.is_true(signed(-largest - 1) == -largest - 1)
      assert.is_true(unsigned(all_ones) == all_ones)
      assert.equal(1, unsigned(1))
    end
    image:unmap()
  end)

  it("goes the usual way while the image has callbacks", function()
    local image = support.map "callback"
    local call_kept, kept = image.exports.call_kept_int, 0
    local callback = image:callback("int (int)", function(x) kept = kept + 1 return 2 * x end)
    image.exports.keep_int(callback)
    local sum = 0
    for i = 1, 200 do sum = sum + call_kept(i) end
    assert.equal(200, kept)
    assert.equal(40200, sum)
    callback:free()
    image:unmap()
  end)

  it("ends at a deadline", function()
    local image = mm.assert(mm.map(support.image "crash", { timeout = 0.02 }))
    local spin = image.exports.spin
    for _ = 1, 3 do assert.equal("deadline", support.error_of(spin).kind) end
    image:unmap()
  end)
end)
