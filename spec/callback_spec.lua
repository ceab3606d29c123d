-- Lua functions that images call: as arguments, kept, nested, failing, and freed.
local mm = require "matchmaker"
local support = require "spec.support"

describe("a callback", function()
  -- What the first ones take stays: libffi's trampolines, and the page of stubs that is given from.
  setup(function()
    local image = mm.assert(mm.request_map(support.image "callback"))
    local kept = {}
    for i = 1, 10000 do kept[i] = image:callback("int (int)", print) end
    for i = 1, #kept do kept[i]:free() end
    image:unmap()
  end)

  support.guard(before_each, after_each)

  local image, exports

  local function it_maps(name, f)
    it(name, function()
      image = mm.assert(mm.request_map(support.image "callback"))
      exports = image.exports
      f()
      image:unmap()
      image, exports = nil, nil
    end)
  end

  local function fails(f, ...)
    local fine, err = pcall(f, ...)
    assert.is_false(fine)
    return err
  end

  local unpack = table.unpack or _G.unpack

  it_maps("is a Lua function where a parameter is a function pointer", function()
    assert.equal(43, exports.apply(function(x) return 2 * x end, 21))
    assert.equal(1, exports.apply(function() return 0 end, 21))
  end)

  it_maps("gets pointers into the image, and sorts", function()
    local count, calls = 200, 0
    local base = exports.fill(count)
    local values = {}
    for i = 0, count - 1 do values[i] = exports.number(i) end
    local sorted = {}
    for i = 0, count - 1 do sorted[#sorted + 1] = values[i] end
    table.sort(sorted)
    exports.sort(base, count, function(a, b)
      calls = calls + 1
      return a[0] - b[0]
    end)
    for i = 0, count - 1 do assert.equal(sorted[i + 1], exports.number(i)) end
    assert.is_true(calls > count)
  end)

  it_maps("gets every type and returns it", function()
    local got
    local result = exports.mix(function(...)
      got = { n = select("#", ...), ... }
      return 1.25
    end)
    assert.equal(1.25, result)
    assert.equal(15, got.n)
    assert.same({ -128, 255, -32768, 65535, -2147483648, 4294967295 }, { unpack(got, 1, 6) })
    assert.equal(-2 ^ 53, got[7])
    assert.same({ 2 ^ 52, 0.5, -0.25, 3.5, true, "text", -7, 1e100 }, { unpack(got, 8, 15) })
    assert.equal(-128 + 255 - 300 + 1, exports.narrow(function() return -128 end,
      function() return 255 end, function() return -300 end, function() return true end))
    assert.equal(2.5, exports.half(function(x) return x end, 5))
    assert.equal(-1.5, exports.single(function(x) return -x end, 1.5))
  end)

  it_maps("gets and returns strings", function()
    local got = {}
    assert.equal(5006, exports.measure(function(text)
      got[#got + 1] = text
      return "<" .. text .. ">"
    end))
    assert.same({ "abc", "abcd" }, got)
    assert.equal(0, exports.measure(function() return mm.null end))
    local err = fails(exports.bad_string, function() return 1 end)
    assert.equal("callback", err.kind)
    assert.matches("argument 1 of a callback, 0x8, is no string", err.message, 1, true)
  end)

  it_maps("gets structs by pointer and by value", function()
    assert.equal(107, exports.with_point(function(point)
      point.x = 100 -- in the image's own memory
      return point.x * 0 + 3 + point.y
    end, 3, 4))
    assert.equal(43, exports.by_value(function(point)
      return { x = 10 * point.y, y = point.x }
    end, 3, 4))
  end)

  it_maps("returns structs that go through memory", function()
    local function wide(x) return { numbers = { x, 2 * x, 3 * x }, last = 0.5 } end
    assert.equal(42.5, exports.wide(wide, 7))
    assert.equal(0.5, exports.wide(function() return { last = 0.5 } end, 7))
    assert.is_true(exports.wide_to(wide, 0))
    local err = fails(exports.wide, function() return { numbers = { 1, 2, 3, 4 } } end, 7)
    assert.equal("range", err.cause.kind)
    for _, address in ipairs { 8, 2 ^ 45 + 4096, 2 ^ 47 + 2 ^ 40 } do
      err = fails(exports.wide_to, wide, address)
      assert.equal("callback", err.kind)
      assert.matches("the result of a callback cannot go to 0x%x+;", err.message)
    end
  end)

  it_maps("may be a function of the image itself", function()
    assert.equal(22, exports.apply(exports.triple, 7))
    local count = 50
    local base = exports.fill(count)
    exports.sort(base, count, exports.compare)
    for i = 1, count - 1 do assert.is_true(exports.number(i - 1) <= exports.number(i)) end
    assert.equal(12, exports.operate { f = exports.triple, x = 4 })
    exports.keep_int(exports.triple)
    assert.equal(9, exports.call_kept_int(3))
    assert.equal("type", fails(exports.apply, exports.wide, 1).kind)
    assert.equal("type", fails(exports.number, exports.triple).kind)
    local other = mm.assert(mm.request_map(support.image "callback_other"))
    local err = fails(exports.apply, other.exports.triple, 1)
    assert.equal("owner", err.kind)
    assert.matches("got a function of another image, callback_other.mmi", err.message, 1, true)
    other:unmap()
  end)

  it_maps("in a struct has to be made by image:callback", function()
    local kept = image:callback("int (int)", function(x) return x + 1 end)
    assert.equal(5, exports.operate { f = kept, x = 4 })
    kept:free()
    local err = fails(exports.operate, { f = function() end, x = 4 })
    assert.equal("type", err.kind)
    assert.equal("operate: argument 1: f of `struct operation` is `int (*)(int)`, got a function, "
      .. "which would not last; image:callback makes one that does: "
      .. "`int operate(struct operation operation)`", err.message)
  end)

  it_maps("says what is wrong with a result", function()
    local err = fails(exports.apply, function() end, 1)
    assert.equal("callback", err.kind)
    assert.equal("type", err.cause.kind)
    assert.equal("callback of apply: the result is `int`, got nil: `int (int)`", err.cause.message)
    assert.is_nil(err.cause.export)
    err = fails(exports.apply, function() return 2 ^ 31 end, 1)
    assert.equal("range", err.cause.kind)
    err = fails(exports.measure, function() return "a\0b" end)
    assert.equal("range", err.cause.kind)
  end)

  it_maps("raises its error again where the call was made, and resets the image", function()
    exports.counter_next()
    local function thrower() error("boom") end
    local err = fails(exports.times, thrower, 3)
    assert.equal("callback", err.kind)
    assert.equal("times", err.export)
    local message = "^times: error in a callback: .*_spec.lua:%d+: boom; the image was reset$"
    assert.matches(message, err.message)
    assert.matches("callback_spec.lua:%d+: boom$", err.cause)
    assert.is_true(err.was_reset)
    assert.is_nil(err.instruction)
    assert.equal(101, exports.counter_next())
    local thrown = {}
    err = fails(exports.times, function() error(thrown) end, 3)
    assert.equal(thrown, err.cause)
    err = fails(exports.times, function() error(nil) end, 3)
    assert.equal("callback", err.kind)
    local mine = setmetatable({}, { __tostring = function() return "mine" end })
    err = fails(exports.times, function() error(mine) end, 3)
    assert.matches("error in a callback: mine;", err.message, 1, true)
  end)

  it_maps("tells with a traceback how it came about, on both sides", function()
    local function innermost() error("boom") end
    local function outermost() exports.times(innermost, 1) end
    local err = fails(outermost)
    assert.matches("stack traceback:", err.traceback)
    local lines = {}
    for line in err.traceback:gmatch("[^\n]+") do lines[#lines + 1] = line end
    local inner = debug.getinfo(innermost, "S").linedefined
    local found = {}
    for _, line in ipairs(lines) do
      local number = line:match("callback_spec.lua:(%d+)")
      if number then found[#found + 1] = tonumber(number) - inner end
    end
    assert.equal(0, found[1])
    assert.equal(1, found[2])
  end)

  it_maps("calls the image again, fifty deep", function()
    local depth, deepest = 0, 0
    local function down(x)
      depth = depth + 1
      deepest = math.max(depth, deepest)
      local result = x == 0 and 0 or exports.with_stack(down, x - 1)
      depth = depth - 1
      return result
    end
    assert.equal(0, exports.with_stack(down, 50))
    assert.equal(51, deepest)
  end)

  it_maps("has an end when it calls itself for ever", function()
    local calls = 0
    local function again(x)
      calls = calls + 1
      return exports.apply(again, x)
    end
    fails(exports.apply, again, 1)
    assert.is_true(calls > 50 and calls <= 200)
    assert.equal(3, exports.apply(function(x) return x end, 2))
  end)

  it_maps("passes an error on from fifty deep, with its first cause", function()
    local function down(x)
      if x == 0 then error("the bottom", 0) end
      return exports.apply(down, x - 1)
    end
    local err = fails(exports.apply, down, 50)
    assert.equal("the bottom", err.cause)
    assert.equal("apply: error in a callback: the bottom; the image was reset", err.message)
  end)

  it_maps("passes an error through two images, and resets both", function()
    local other = mm.assert(mm.request_map(support.image "callback_other"))
    exports.counter_next()
    other.exports.counter_next()
    local err = fails(exports.times, function()
      other.exports.times(function() error("far away", 0) end, 1)
    end, 1)
    assert.equal("far away", err.cause)
    assert.equal(101, exports.counter_next())
    assert.equal(101, other.exports.counter_next())
    -- caught between the two: the outer call goes on
    assert.equal(2, exports.times(function()
      assert.is_false(pcall(other.exports.times, function() error("caught") end, 1))
    end, 2))
    assert.equal(102, exports.counter_next())
    other:unmap()
  end)

  it_maps("sees a crash of a call that it makes; its own image is put back", function()
    local other = mm.assert(mm.request_map(support.image "callback_other"))
    for _, name in ipairs { "crash", "overflow" } do
      local kind
      assert.equal(6, exports.apply(function(x)
        local _, err = pcall(other.exports[name])
        kind = err.kind
        return x
      end, 5))
      assert.equal("fault", kind)
      local second
      exports.counter_next()
      local err = fails(exports.apply, function(x)
        kind = select(2, pcall(exports[name])).kind
        second = select(2, pcall(exports.counter_next)).kind
        return x
      end, 5)
      assert.same({ "fault", "dead", "callback" }, { kind, second, err.kind })
      assert.matches("a call into it from its callback ended in a fault", err.message, 1, true)
      assert.equal(101, exports.counter_next())
      mm.assert(image:reset())
    end
    other:unmap()
  end)

  it_maps("cannot yield across the image", function()
    local thread = coroutine.create(function()
      return exports.apply(function(x) return coroutine.yield(x) end, 5)
    end)
    local fine, err = coroutine.resume(thread)
    assert.is_false(fine)
    assert.equal("callback", err.kind)
    assert.matches("yield", err.message)
  end)

  it_maps("runs in the coroutine that made the call", function()
    local seen
    local kept = image:callback("int (int)", function(x)
      seen = coroutine.running()
      return x
    end)
    exports.keep_int(kept)
    local thread
    thread = coroutine.create(function()
      coroutine.yield(exports.call_kept_int(3))
      return exports.apply(function(x)
        local inner = coroutine.wrap(function() coroutine.yield(exports.call_kept_int(x)) end)
        return inner()
      end, 7)
    end)
    local _, result = coroutine.resume(thread)
    assert.equal(3, result)
    assert.equal(thread, seen)
    _, result = coroutine.resume(thread)
    assert.equal(8, result)
    assert.are_not.equal(thread, seen)
    kept:free()
  end)

  it_maps("is kept by image:callback until it is freed", function()
    local calls = 0
    local kept = image:callback("void (void)", function() calls = calls + 1 end)
    assert.equal("callback `void (void)`", tostring(kept))
    exports.keep(kept)
    collectgarbage()
    exports.call_kept()
    exports.times(kept, 2)
    assert.equal(3, calls)
    kept:free()
    kept:free()
    local err = fails(exports.call_kept)
    assert.equal("callback", err.kind)
    local message = "call_kept: called a callback that was freed in call_kept+"
    assert.matches(message, err.message, 1, true)
    assert.equal("stale", fails(exports.times, kept, 1).kind)
    assert.equal(3, calls)
  end)

  it_maps("is freed when it is collected", function()
    exports.keep(image:callback("void (void)", function() end))
    collectgarbage()
    collectgarbage()
    assert.matches("a callback that was freed", fails(exports.call_kept).message, 1, true)
  end)

  it_maps("is gone after the call that it was an argument of", function()
    exports.keep(function() end)
    assert.matches("a callback that was freed", fails(exports.call_kept).message, 1, true)
  end)

  it_maps("may free itself, and others while they run", function()
    local kept
    kept = image:callback("int (int)", function(x)
      kept:free()
      return x + 1
    end)
    assert.equal(7, exports.apply(kept, 5))
  end)

  it_maps("has to be of the parameter's type, and of the image", function()
    local kept = image:callback("int (int, int)", function() return 1 end)
    local err = fails(exports.apply, kept, 1)
    assert.equal("type", err.kind)
    assert.matches("got a callback `int (int, int)`", err.message, 1, true)
    assert.equal("type", fails(exports.number, kept).kind)
    assert.equal("type", fails(exports.number, function() end).kind)
    exports.keep_any(kept) -- a void pointer takes any
    assert.equal("type", fails(exports.keep_any, function() end).kind)
    local other = mm.assert(mm.request_map(support.image "callback_other"))
    err = fails(other.exports.keep_any, kept)
    assert.equal("owner", err.kind)
    other:unmap()
    kept:free()
  end)

  it_maps("gives pointers of the image that calls, as it is now, and gets such", function()
    local other = mm.assert(mm.request_map(support.image "callback_other"))
    local word, strange = image:buffer "kutya\0", other:buffer "kutya\0"
    local function give(what) return exports.measure(function() return what end) end
    assert.equal(5005, give(word)) -- it lies in the image, and is not copied
    local err = fails(give, strange)
    assert.equal("callback", err.kind)
    assert.matches("a pointer of another image", err.message, 1, true)
    word = image:buffer "kutya\0"
    image:reset()
    err = fails(give, word)
    assert.matches("from before the image was reset", err.message, 1, true)
    local first, got = exports.fill(3), nil
    assert.equal(exports.number(0), exports.first_of(function() return first end))
    exports.with_point(function(point)
      got = point
      return point.x
    end, 1, 2)
    assert.equal(1, exports.count_three(function() return { at = { first, mm.null, mm.null } } end))
    image:reset()
    assert.equal("stale", fails(function() return got.x end).kind)
    err = fails(exports.first_of, function() return first end)
    assert.matches("from before the image was reset", err.message, 1, true)
    other:unmap()
  end)

  it_maps("says what image:callback wants", function()
    assert.equal("argument", fails(image.callback, image, 1, print).kind)
    assert.equal("argument", fails(image.callback, image, "int (int)", 1).kind)
    assert.equal("prototype", fails(image.callback, image, "int (", print).kind)
    assert.equal("unsupported", fails(image.callback, image, "int (int, ...)", print).kind)
    image:unmap()
    assert.equal("unmapped", fails(image.callback, image, "int (int)", print).kind)
  end)

  it_maps("refuses to reset, unmap and finalize under the call that it is in", function()
    local kinds = {}
    exports.times(function()
      kinds[1] = select(2, image:reset()).kind
      kinds[2] = select(2, image:unmap()).kind
      kinds[3] = select(2, mm.finalize()).kind
    end, 1)
    assert.same({ "busy", "busy", "busy" }, kinds)
    assert.equal(101, exports.counter_next())
  end)

  it_maps("lets its call end when the time is over", function()
    local start = os.clock()
    local err = fails(image.call, image, { "times", function()
      while os.clock() - start < 0.1 do end
    end, 1, timeout = 0.02 })
    assert.equal("deadline", err.kind)
    err = fails(image.call, image, { "spin_after", function() end, timeout = 0.02 })
    assert.equal("deadline", err.kind)
  end)

  it_maps("is one of ten thousand", function()
    local kept = {}
    for i = 1, 10000 do kept[i] = image:callback("int (int)", function(x) return x + i end) end
    for i = 1, 10000, 137 do assert.equal(i + 6, exports.apply(kept[i], 5)) end
    for i = 1, 10000 do kept[i]:free() end
  end)

  it_maps("leaves nothing behind when an argument after it is wrong", function()
    for _ = 1, 10 do
      assert.equal("type", fails(exports.apply, function() end, "x").kind)
    end
  end)

  it_maps("works in a batch and in an open image", function()
    local kept = image:callback("int (int)", function(x) return 10 * x end)
    exports.keep_int(kept)
    assert.same({ 10, 20, 30 }, image:batch("call_kept_int", { 1, 2, 3 }))
    assert.equal(41, image:open(function() return exports.apply(kept, 4) end))
    kept:free()
  end)

  it_maps("stands the end of the process inside it", function()
    local result = support.run([[
      local mm = require "matchmaker"
      local image = mm.map(arg[1])
      image.exports.times(function() os.exit(3, true) end, 1)
    ]], support.image "callback")
    assert.equal(3, result.status)
  end)
end)
