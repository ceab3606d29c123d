-- Structs, unions and complex numbers by value, as tables.
local support = require "spec.support"
local mm = require "matchmaker"

describe("a value of several parts", function()
  support.guard(before_each, after_each)
  local function call(name, ...) return support.map("aggregate").exports[name](...) end

  local function fails(kind, message, ...)
    local err = support.error_of(call, ...)
    assert.equal(kind, err.kind)
    assert.equal(message, err.message)
  end

  it("goes as a table of its fields, and comes back as one", function()
    assert.same({ x = 2, y = 1 }, call("mirror", { x = 1, y = 2 }))
    assert.same({ x = 0, y = 1 }, call("mirror", { x = 1 }))
    assert.same({ a = 7, b = 5 }, call("swap", { a = 5, b = 7 }))
    assert.same({ a = 2, b = 3, c = 1 }, call("rotate", { a = 1, b = 2, c = 3 }))
    if rawget(_G, "jit") or math.type then -- the bits of a double are more than a number of 5.1 holds
      assert.equal(3, call("halve", { real = 6 }).real)
    end
  end)

  it("goes and comes in memory when it is large", function()
    local got = call("shift", { a = { 1, 2, 3, 4, 5 } }, 10)
    assert.same({ a = { 11, 12, 13, 14, 15 }, name = "shifted" }, got)
    local sum = call("last", 1, 2, 4, 8, 16, { a = 32, b = 64 }, { x = 512, y = 1024 },
      { a = { 0, 0, 0, 0, 2048 } }, { a = 128, b = 256 }, 4096)
    assert.equal(8191, sum)
  end)

  it("may be packed, or hold bit-fields", function()
    assert.same({ kind = 2, length = -4, value = 6 },
      call("grow", { kind = 1, length = -2, value = 1.5 }))
    local flipped = call("flip", { a = 5, b = -16, c = 1, d = true, e = "LIGHT" })
    assert.same({ a = 2, b = -16, c = 2 ^ 40 - 2, d = false, e = 1 }, flipped)
    fails("range", "flip: argument 1: a of `struct flags` is `unsigned int`, 8 is out of range: "
      .. "`struct flags flip(struct flags f)`", "flip", { a = 8 })
    fails("range", "flip: argument 1: b of `struct flags` is `int`, -17 is out of range: "
      .. "`struct flags flip(struct flags f)`", "flip", { b = -17 })
  end)

  it("is a table of two halves when it is a complex number", function()
    assert.same({ re = 1, im = -2 }, call("conjugate", { re = 1, im = 2 }))
    assert.same({ re = -4, im = 3 }, call("turn", { re = 3, im = 4 }))
    assert.same({ re = -3, im = 4 }, call("square", { re = 1, im = 2 }))
    assert.same({ re = 9, im = 0 }, call("square", 3))
    assert.equal("type", support.error_of(call, "square", { re = 1 }).kind)
    assert.equal("type", support.error_of(call, "square", "i").kind)
  end)

  it("is seen through a pointer, bit by bit", function()
    local wave = call("wave_here")
    assert.same({ re = 1, im = -2 }, wave.at)
    local flags = wave.flags
    assert.equal(5, flags.a)
    assert.equal(-16, flags.b)
    assert.equal(2 ^ 39, flags.c)
    assert.is_true(flags.d)
    flags.b = 15
    flags.d = false
    flags.c = 2 ^ 40 - 1
    assert.equal("range", support.error_of(function() flags.a = 8 end).kind)
    assert.same({ 5, 15, 2 ^ 40 - 1, false, 1 }, { flags.a, flags.b, flags.c, flags.d, flags.e })
    wave.at = { re = 3, im = 4 }
    assert.same({ re = 3, im = 4 }, wave.at)
    assert.truthy(tostring(wave):find("{ re = 3, im = 4 }", 1, true))
    assert.truthy(tostring(wave):find("a = 5, b = 15, c = 1099511627775, d = false, e = DARK", 1,
      true))
    assert.same({ a = 2, b = -15, c = 0, d = true, e = 0 }, call("flip", flags))
  end)

  it("is a variable argument, too, of a call whose prototype spells them out", function()
    local image = support.map("aggregate")
    assert.equal(42, image:bind("total", "long (int, long, long)")(2, 40, 2))
    local long = image:bind("total", "long (int, long, long, long, long, long, long, long)")
    assert.equal(28, long(7, 1, 2, 3, 4, 5, 6, 7)) -- two on the stack,
    assert.equal(8191, call("last", 1, 2, 4, 8, 16, { a = 32, b = 64 }, { x = 512, y = 1024 },
      { a = { 0, 0, 0, 0, 2048 } }, { a = 128, b = 256 }, 4096)) -- which is of that call alone
    assert.equal(0, image.exports.total(0))
    assert.same({ x = 2, y = 3 }, image:bind("centre",
      "struct point (int, struct point, struct point)")(2, { x = 1, y = 2 }, { x = 3, y = 4 }))
    local print = image:bind("print", "const char *(const char *, const char *, double, int)")
    assert.equal("a 0.5 -1", print("%s %g %d", "a", 0.5, -1))
    assert.equal("range", support.error_of(print, "%s %g %d", "a", 0.5, 2 ^ 31).kind)
    assert.equal("signature",
      support.error_of(image.bind, image, "total", "long (int, float)").kind)
  end)

  it("is a variable argument without a prototype where its type is no guess", function()
    local image = support.map("aggregate")
    local print = image.exports.print
    for _ = 1, 3 do
      assert.equal("a 0.5 1 0 (nil)", print("%s %g %d %d %p", "a", 0.5, true, false, mm.null))
    end
    assert.equal("-0.25 b", print("%g %s", -0.25, "b"))
    assert.equal("xyz", print("%s", image:buffer("xyz\0")))
    assert.equal("plain", print("plain"))
    assert.equal("range", support.error_of(print, "%s", "a\0b").kind)
    for _, value in ipairs { {}, function() end, coroutine.create(function() end) } do
      local err = support.error_of(print, "%p", value)
      assert.equal("type", err.kind)
      assert.matches("^print: argument 2 is one of `...`, got a %w+; image:", err.message)
      assert.equal(2, err.argument)
    end
    assert.equal("type", support.error_of(print, "%p", nil).kind)
    local err = support.error_of(print)
    assert.equal("count", err.kind)
    assert.equal("print: at least 1 argument expected, got 0: "
      .. "`const char *print(const char *format, ...)`", err.message)
  end)

  it("is a whole number without a prototype only where Lua has integers", function()
    local image = support.map("aggregate")
    if math.type then
      assert.equal("7 9223372036854775807 7.0",
        image.exports.print("%d %ld %.1f", 7, math.maxinteger, 7.0))
      assert.equal(math.mininteger, image:call { "total", 2, math.mininteger, 0 })
    else
      local err = support.error_of(image.exports.print, "%d", 1)
      assert.equal("type", err.kind)
      assert.equal("print: argument 2 is one of `...`, got a number, which could be an integer or "
        .. "a double; image:bind with a prototype tells its type: "
        .. "`const char *print(const char *format, ...)`", err.message)
    end
    if rawget(_G, "jit") then
      local wide = require("ffi").cast("int64_t", -5)
      assert.equal("-5", image.exports.print("%ld", wide))
    end
  end)

  it("holds pointers of its own image only", function()
    local node = call("chain")
    assert.equal(5, call("follows", node, { integer = 5 }))
    support.map("aggregate"):reset()
    assert.equal("stale", support.error_of(call, "follows", node, { integer = 5 }).kind)
  end)

  it("comes back right after calls that failed", function()
    for _ = 1, 20 do
      assert.equal("fault", support.error_of(call, "fails", {}).kind)
      assert.same({ re = -4, im = 3 }, call("turn", { re = 3, im = 4 }))
    end
  end)
end)
