local support = require "spec.support"
local mm = require "matchmaker"

local has_ffi, ffi = pcall(require, "ffi")
if not rawget(_G, "jit") then has_ffi = false end
local has_integers = math.type ~= nil

-- LuaJIT's 64-bit literals are no Lua for the others.
local function wide(literal) return assert((loadstring or load)("return " .. literal))() end

-- 2^n, which 5.3 and later make a float.
local function power(n) return 2 ^ n end

-- The end of the range of each integer that a number holds.
local ranges = {
  i8 = { -128, 127 },
  i16 = { -32768, 32767 },
  i32 = { -2147483648, 2147483647 },
  u8 = { 0, 255 },
  u16 = { 0, 65535 },
  u32 = { 0, 4294967295 },
  plain_char = { -128, 127 },
}

describe("a value", function()
  -- What the first callback takes stays: libffi's trampolines, and a page of stubs.
  setup(function()
    local image = support.map("callback")
    image:callback("void (void)", print):free()
    mm.assert(image:unmap())
  end)

  support.guard(before_each, after_each)

  local function call(fixture, name, ...) return support.map(fixture).exports[name](...) end

  local function kind(fixture, name, ...)
    return support.error_of(support.map(fixture).exports[name], ...).kind
  end

  describe("of an integer type", function()
    for name, range in pairs(ranges) do
      it("passes in the whole range of " .. name, function()
        local identity = support.map("math").exports[name]
        for _, number in ipairs { range[1], range[1] + 1, 0, 1, range[2] - 1, range[2] } do
          assert.equal(number, identity(number))
        end
      end)

      it("is refused outside of the range of " .. name, function()
        local identity = support.map("math").exports[name]
        for _, number in ipairs { range[1] - 1, range[2] + 1, 1e300, -1e300, 1 / 0, -1 / 0 } do
          assert.equal("range", support.error_of(identity, number).kind)
        end
      end)
    end

    it("is refused with a fraction, and when it is no number at all", function()
      local exports = support.map("math").exports
      for _, name in ipairs { "i8", "i64", "u64", "color" } do
        assert.equal("range", support.error_of(exports[name], 3.5).kind)
        assert.equal("range", support.error_of(exports[name], 0 / 0).kind)
        assert.equal("type", support.error_of(exports[name], true).kind)
        assert.equal("type", support.error_of(exports[name], {}).kind)
      end
    end)

    it("is not made from a string", function()
      assert.equal("type", kind("math", "i32", "5"))
      assert.equal("type", kind("math", "u8", "0x5"))
    end)

    it("is not made from nil or mm.null", function()
      assert.equal("type", kind("math", "i32", nil))
      assert.equal("type", kind("math", "i32", mm.null))
    end)

    it("says which number is out of range", function()
      local exports = support.map("math").exports
      assert.equal("i8: argument 1 is `int8_t`, 300 is out of range: `int8_t i8(int8_t value)`",
        support.error_of(exports.i8, 300).message)
      assert.equal("i8: argument 1 is `int8_t`, 3.5 is not an integer: `int8_t i8(int8_t value)`",
        support.error_of(exports.i8, 3.5).message)
      assert.equal("u64: argument 1 is `uint64_t`, -1 is out of range: "
        .. "`uint64_t u64(uint64_t value)`",
        support.error_of(exports.u64, -1).message)
    end)

    it("comes as an integer in Lua 5.3 and later", function()
      local number = call("math", "add", 2.0, 3)
      assert.equal(5, number)
      if has_integers then assert.equal("integer", math.type(number)) end
    end)

    it("crosses in registers and on the stack, narrow ones too", function()
      assert.equal(-1 + 4 - 9 + 16 - 25 + 36 - 49 + 64 - 81 + 100 + 11 + 6,
        call("math", "narrow", -1, 2, -3, 4, -5, 6, -7, 8, -9, 10, true, 0.5))
      local arguments = {}
      local sum = 0
      for i = 1, 20 do
        arguments[i] = i * (i % 2 == 0 and -1 or 1)
        sum = sum + i * arguments[i]
      end
      assert.equal(sum, call("math", "mix", (table.unpack or unpack)(arguments)))
    end)
  end)

  describe("of 64 bits", function()
    it("is a number up to 2^53", function()
      local exports = support.map("math").exports
      for _, number in ipairs { 0, 1, -1, power(53), -power(53), power(53) - 1 } do
        local result = exports.i64(number)
        assert.equal("number", type(result))
        assert.equal(number, result)
      end
      assert.equal(power(53), exports.u64(power(53)))
      assert.equal(power(40), exports.plain_unsigned_long_long(power(40)))
    end)

    it("is refused beyond its type", function()
      local exports = support.map("math").exports
      assert.equal("range", support.error_of(exports.i64, power(63)).kind)
      assert.equal("range", support.error_of(exports.i64, -power(63) * 1.001).kind)
      assert.equal("range", support.error_of(exports.u64, power(64)).kind)
      assert.equal("range", support.error_of(exports.u64, -1).kind)
    end)

    if has_ffi then
      it("is int64_t and uint64_t cdata beyond 2^53 in LuaJIT", function()
        local exports = support.map("math").exports
        local low = exports.i64(-power(63))
        assert.is_true(ffi.istype("int64_t", low))
        assert.is_true(low == wide "-0x8000000000000000LL")
        local high = exports.u64(power(63))
        assert.is_true(ffi.istype("uint64_t", high))
        assert.is_true(high == wide "0x8000000000000000ULL")
      end)

      it("takes int64_t and uint64_t cdata in LuaJIT, in their range", function()
        local exports = support.map("math").exports
        assert.is_true(exports.i64(wide "0x7fffffffffffffffLL") == wide "0x7fffffffffffffffLL")
        assert.is_true(exports.u64(wide "0xffffffffffffffffULL") == wide "0xffffffffffffffffULL")
        assert.equal(5, exports.i8(wide "5LL"))
        assert.equal(5, exports.i64(wide "5ULL"))
        assert.equal("range", support.error_of(exports.u64, wide "-1LL").kind)
        assert.equal("range", support.error_of(exports.i64, wide "0x8000000000000000ULL").kind)
        assert.equal("i8: argument 1 is `int8_t`, 300LL is out of range: `int8_t i8(int8_t value)`",
          support.error_of(exports.i8, wide "300LL").message)
      end)

      it("refuses other cdata", function()
        local exports = support.map("math").exports
        for _, value in ipairs { ffi.new("int[4]"), ffi.new("double", 5), ffi.cast("void *", 5) } do
          assert.equal("i64: argument 1 is `int64_t`, got cdata: `int64_t i64(int64_t value)`",
            support.error_of(exports.i64, value).message)
        end
        assert.equal("type", support.error_of(exports.f64, wide "5LL").kind)
      end)
    elseif has_integers then
      it("is an integer in Lua 5.3 and later, with the same 64 bits when it is unsigned", function()
        local exports = support.map("math").exports
        assert.equal(math.maxinteger, exports.i64(math.maxinteger))
        assert.equal(math.mininteger, exports.i64(math.mininteger))
        assert.equal(math.mininteger, exports.u64(power(63)))
        assert.equal(math.maxinteger, exports.u64(math.maxinteger))
        assert.equal("range", support.error_of(exports.u64, math.mininteger).kind)
        assert.equal("type", support.error_of(exports.i64, "5").kind)
      end)

      it("is text for what is unsigned and has no integer", function()
        local exports = support.map("math").exports
        assert.equal(-1, exports.u64(("0x%x"):format(-1)))
        assert.equal(-2, exports.u64("18446744073709551614"))
        assert.equal("range", support.error_of(exports.u64, "18446744073709551616").kind)
        assert.equal("type", support.error_of(exports.u64, "-").kind)
        assert.equal("type", support.error_of(exports.u32, "5").kind)
      end)
    else
      it("is an error beyond 2^53 in Lua 5.1 and 5.2", function()
        local err = support.error_of(support.map("math").exports.i64, -power(60))
        assert.equal("range", err.kind)
        assert.equal("i64: the result is `int64_t`, -1152921504606846976 does not fit a Lua number "
          .. "exactly: `int64_t i64(int64_t value)`", err.message)
      end)

      it("takes text in Lua 5.1 and 5.2", function()
        local exports = support.map("math").exports
        assert.equal(-5, exports.i64("-5"))
        assert.equal(255, exports.u64("0xff"))
        assert.matches("18446744073709551615",
          support.error_of(exports.u64, "18446744073709551615").message)
        assert.equal("range", support.error_of(exports.u64, "18446744073709551616").kind)
        assert.equal("range", support.error_of(exports.u64, "-1").kind)
        assert.equal("range", support.error_of(exports.i64, "0x8000000000000000").kind)
        for _, text in ipairs { "", " 5", "5 ", "5x", "0x", "+5", "-", "1e3", "5\0" } do
          assert.equal("type", support.error_of(exports.i64, text).kind, text)
        end
      end)
    end
  end)

  -- Bytes, low ones first, of what only 64 bits hold.
  local wide_integers = {
    ["2^53 + 1"] = "\1\0\0\0\0\0\32\0", lowest = "\0\0\0\0\0\0\0\128",
    highest = "\255\255\255\255\255\255\255\127", mixed = "\1\35\69\103\137\171\205\111",
  }
  local texts = { ["2^53 + 1"] = "9007199254740993", lowest = "-9223372036854775808",
    highest = "9223372036854775807", mixed = "8056283915067138817" }

  for name, bytes in pairs(wide_integers) do
    it(("of 64 bits keeps them all: %s"):format(name), function()
      local image = support.map("callback")
      local buffer = image:buffer(8)
      local field = image:cast("int64_t *", buffer)
      local number = texts[name] -- Lua 5.1 and 5.2
      if has_ffi then
        number = ffi.cast("const int64_t *", bytes)[0]
      elseif has_integers then
        number = string.unpack("<i8", bytes)
      end
      field[0] = number
      assert.equal(bytes, buffer:get(0, 8))
      if not has_ffi and not has_integers then
        assert.equal("range", support.error_of(function() return field[0] end).kind)
        return
      end
      assert.is_true(field[0] == number)
      assert.is_true(support.map("math").exports.i64(number) == number)
    end)
  end

  describe("of bool", function()
    it("passes as a boolean", function()
      assert.is_true(call("math", "boolean", true))
      assert.is_false(call("math", "boolean", false))
    end)

    it("is made from nothing but a boolean", function()
      local boolean = support.map("math").exports.boolean
      for _, value in ipairs { 0, 1, "true", {} } do
        assert.equal("type", support.error_of(boolean, value).kind)
      end
      assert.equal("type", support.error_of(boolean, nil).kind)
    end)
  end)

  describe("of a floating type", function()
    it("passes as a number, also when it is infinite or none", function()
      local exports = support.map("math").exports
      for _, name in ipairs { "f32", "f64", "f80" } do
        for _, number in ipairs { 0, 1.5, -0.25, 1 / 0, -1 / 0 } do
          assert.equal(number, exports[name](number))
        end
        local none = exports[name](0 / 0)
        assert.are_not.equal(none, none)
      end
      assert.equal(1e300, exports.f64(1e300))
      assert.equal(1e300, exports.f80(1e300))
    end)

    -- Their bytes in memory, low ones first: read back, a number cannot hide what it lost.
    local doubles = {
      ["-0.0"] = "\0\0\0\0\0\0\0\128", infinity = "\0\0\0\0\0\0\240\127",
      ["-infinity"] = "\0\0\0\0\0\0\240\255", denormal = "\1\0\0\0\0\0\0\0",
      ["-denormal"] = "\255\255\255\255\255\255\15\128",
      largest = "\255\255\255\255\255\255\239\127",
      payload = "\188\154\120\86\52\18\248\127", ["-payload"] = "\1\0\0\0\0\0\248\255",
    }

    for name, bytes in pairs(doubles) do
      it(("keeps all bits of %s through arguments, results, fields and callbacks"):format(name),
        function()
          local image = support.map("callback")
          local buffer = image:buffer(bytes)
          local field = image:cast("double *", buffer)
          local x = field[0]
          local function check(number)
            buffer:fill(0)
            field[0] = number
            -- LuaJIT has one NaN: what it keeps of others would be its tags.
            if number ~= number and rawget(_G, "jit") then return end
            assert.equal(bytes, buffer:get(0, 8))
          end
          check(x)
          check(support.map("math").exports.f64(x))
          local seen
          check(image.exports.by_value(function(point)
            seen = point.x
            return { x = point.x, y = -0.0 }
          end, x, 0))
          check(seen)
        end)
    end

    it("is rounded for float, and refused when float cannot hold it", function()
      local f32 = support.map("math").exports.f32
      assert.is_true(math.abs(f32(0.1) - 0.1) < 1e-8 and f32(0.1) ~= 0.1)
      assert.equal("range", support.error_of(f32, 1e300).kind)
    end)

    it("is made from nothing but a number", function()
      local exports = support.map("math").exports
      for _, name in ipairs { "f32", "f64", "f80" } do
        assert.equal("type", support.error_of(exports[name], "1.5").kind)
        assert.equal("type", support.error_of(exports[name], true).kind)
      end
    end)

    it("crosses as long double on the stack, aligned or not", function()
      assert.equal(1 + 4 + 9 + 16 + 25 + 36, call("math", "mix_long", 1, 2, 3, 4, 5, 6))
      assert.equal(385, call("math", "align_long", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
    end)
  end)

  describe("of an enum", function()
    it("goes as a number or as the name of a constant, and comes as a number", function()
      local exports = support.map("math").exports
      assert.equal(5, exports.color("GREEN"))
      assert.equal(-1, exports.color("BLUE"))
      assert.equal(5, exports.color(5))
      assert.equal(77, exports.color(77))
      assert.equal("red", exports.color_name("RED"))
    end)

    it("is refused with a name that it does not have", function()
      local err = support.error_of(support.map("math").exports.color, "PINK")
      assert.equal("range", err.kind)
      assert.equal("color: argument 1 is `enum color`, which has no constant `PINK`: "
        .. "`enum color color(enum color value)`", err.message)
    end)

    it("is refused outside of its integer type", function()
      assert.equal("range", kind("math", "color", 2147483648))
    end)
  end)

  describe("of const char *", function()
    it("goes and comes as a string", function()
      local exports = support.map("text").exports
      assert.equal("KUTYA", exports.upper("kutya"))
      assert.equal("", exports.echo(""))
      assert.equal("", exports.empty())
      assert.equal("árvíztűrő", exports.echo("árvíztűrő"))
      assert.equal("ab", exports.join("a", "b"))
    end)

    it("carries every byte but NUL", function()
      local bytes = {}
      for i = 1, 255 do bytes[i] = string.char(i) end
      local text = table.concat(bytes)
      assert.equal(text, call("text", "echo", text))
    end)

    it("may be a mebibyte long", function()
      local text = ("x"):rep(2 ^ 20)
      local exports = support.map("text").exports
      assert.equal(2 ^ 20, exports.length(text))
      assert.is_true(text == exports.echo(text))
      assert.is_true(text .. text == exports.join(text, text))
    end)

    it("is a copy: the image cannot write to a Lua string", function()
      local text = "kutya"
      assert.equal("*utya", call("text", "scribble", text))
      assert.equal("kutya", text)
    end)

    it("comes as nil when it is NULL, and goes as mm.null", function()
      local exports = support.map("text").exports
      assert.is_nil(exports.none())
      assert.equal(1, exports.is_null(mm.null))
      assert.equal(0, exports.is_null(""))
      assert.is_nil(exports.echo(mm.null))
    end)

    it("is refused when it is nil, with a hint", function()
      local err = support.error_of(support.map("text").exports.length, nil)
      assert.equal("null", err.kind)
      assert.equal("length: argument 1 is `const char *`, got nil; " ..
        "pass mm.null for a null pointer: `unsigned long length(const char *text)`", err.message)
    end)

    it("is refused when it holds a NUL", function()
      local err = support.error_of(support.map("text").exports.length, "ab\0c")
      assert.equal("range", err.kind)
      assert.equal("length: argument 1 is `const char *`, the string holds a NUL at position 3: "
        .. "`unsigned long length(const char *text)`", err.message)
    end)

    it("is not made from a number or a pointer", function()
      assert.equal("type", kind("text", "length", 5))
      local pointer = call("pointer", "box_kept")
      assert.equal("type", kind("text", "length", pointer))
    end)

    it("is an error when what comes is no string of the image", function()
      assert.equal("result", kind("text", "endless"))
      assert.equal("result", kind("text", "wild_text"))
    end)
  end)

  describe("of a pointer type", function()
    it("goes back to where it came from", function()
      local exports = support.map("pointer").exports
      local box = exports.box_new(7)
      assert.equal(7, exports.box_get(box))
      exports.box_set(box, 8)
      assert.equal(8, exports.box_get(box))
      exports.box_free(box)
    end)

    it("prints its type, its address and its image", function()
      assert.matches("^struct box %* 0x%x+ of pointer.mmi$", tostring(call("pointer", "box_kept")))
    end)

    it("equals another of the same place", function()
      local exports = support.map("pointer").exports
      assert.is_true(exports.box_kept() == exports.box_kept())
      assert.is_false(exports.box_kept() == exports.box_new(1))
      local kept = exports.box_kept()
      assert.is_true(exports.any(kept) == kept)
    end)

    it("comes as nil when it is NULL, and goes as mm.null", function()
      local exports = support.map("pointer").exports
      assert.is_nil(exports.null())
      assert.is_nil(exports.box_next(exports.box_kept()))
      assert.equal(1, exports.is_null(mm.null))
      assert.equal("null", support.error_of(exports.box_get, nil).kind)
    end)

    it("takes anything where it is void *, and may be taken for anything", function()
      local exports = support.map("pointer").exports
      local box = exports.box_new(9)
      assert.equal(0, exports.is_null(box))
      assert.equal(9, exports.box_get(exports.any(box)))
      assert.equal(1, exports.same(box, exports.any(box)))
    end)

    it("is refused when it points to another type", function()
      local exports = support.map("pointer").exports
      local err = support.error_of(exports.other_value, exports.box_kept())
      assert.equal("type", err.kind)
      assert.equal("other_value: argument 1 is `struct other *`, got a pointer `struct box *`: "
        .. "`int other_value(struct other *other)`", err.message)
      assert.equal(11, exports.other_value(exports.other_get()))
    end)

    it("is refused when it is of another image", function()
      local path = os.tmpname()
      local command = "%s/matchmaker-launch --slot 3 -o %s %s/fixture/pointer"
      os.execute(command:format(support.build, path, support.build))
      local other = mm.assert(mm.map(path))
      os.remove(path)
      local err = support.error_of(other.exports.box_get, call("pointer", "box_kept"))
      assert.equal("owner", err.kind)
      assert.equal("box_get: argument 1 is `const struct box *`, " ..
        "got a pointer of another image, pointer.mmi: `int box_get(const struct box *box)`",
        err.message)
    end)

    it("is refused when it is of an earlier mapping of the same image", function()
      local image = support.map "pointer"
      local box = image.exports.box_kept()
      mm.assert(image:unmap())
      assert.equal("owner", kind("pointer", "box_get", box))
    end)

    it("is stale after a reset", function()
      local image = support.map "pointer"
      local box, kept = image.exports.box_new(7), image.exports.box_kept()
      mm.assert(image:reset())
      assert.equal("stale", support.error_of(image.exports.box_get, box).kind)
      assert.equal("stale", support.error_of(image.exports.box_get, kept).kind)
      assert.is_false(image.exports.box_kept() == kept)
    end)

    it("is refused when it points out of the image", function()
      local exports = support.map("pointer").exports
      assert.equal("owner", support.error_of(exports.is_null, exports.wild()).kind)
      assert.equal("owner", support.error_of(exports.box_get, exports.wild_box()).kind)
    end)

    it("is not made from numbers, strings and tables", function()
      local box_get = support.map("pointer").exports.box_get
      for _, value in ipairs { 5, "box", {}, true, print, io.stdout } do
        assert.equal("type", support.error_of(box_get, value).kind)
      end
    end)
  end)
end)

describe("an image", function()
  support.guard(before_each, after_each)

  it("prints its name, slot, exports and guard", function()
    local image = support.map "math"
    assert.matches("^image math%.mmi %(slot %d+, %d+ exports, pages%)$", tostring(image))
    mm.assert(image:unmap())
    assert.equal("image math.mmi (unmapped)", tostring(image))
  end)

  it("tells its facts", function()
    local image = support.map("math", { guard = "open" })
    image.exports.add(1, 2)
    local info = image:info()
    assert.matches("math.mmi$", info.path)
    assert.equal("open", info.guard)
    assert.equal(1, info.generation)
    assert.equal(1, info.calls)
    assert.equal(0, info.faults)
    assert.is_false(info.dead)
    assert.is_true(info.segments > 1 and info.exports > 20)
    assert.is_true(info.mapped_bytes > 2 ^ 20 and info.file_bytes > 2 ^ 16)
    assert.equal(2 ^ 45 + info.slot * 2 ^ 36, info.base)
  end)

  it("walks its exports with pairs", function()
    local count = 0
    local image = support.map "math"
    for name, f in pairs(image.exports) do
      assert.equal(name, f.name)
      count = count + 1
    end
    assert.equal(image:info().exports, count)
    assert.equal(image.exports, image.exports)
  end)

  it("prints its exports as their prototypes, with what is documented below", function()
    local image = support.map "math"
    local text, count = "\n" .. tostring(image.exports) .. "\n", 0
    for _ in text:gmatch("\n%f[%S][^\n]+") do count = count + 1 end
    assert.equal(image:info().exports, count)
    assert.is_truthy(text:find("\nint add(int a, int b)\n", 1, true))
  end)

  it("has functions that tell their name, prototype and documentation", function()
    local exports = support.map("math").exports
    assert.equal("int add(int a, int b)", tostring(exports.add))
    assert.equal("int add(int a, int b)", exports.add.prototype)
    assert.equal("add", exports.add.name)
    assert.equal("the sum", exports.add.doc)
    assert.is_nil(exports.add_double.doc)
    assert.is_nil(exports.add.nonsense)
  end)

  it("returns nothing from void", function()
    assert.equal(0, select("#", support.map("math").exports.nothing()))
  end)

  it("goes back to its snapshot when it is reset", function()
    local image = support.map "math"
    assert.equal(101, image.exports.counter_next())
    assert.is_true(image:reset())
    assert.equal(101, image.exports.counter_next())
    assert.equal(2, image:info().generation)
  end)

  it("is called by name in three ways", function()
    local image = support.map "math"
    assert.equal(3, mm.request_call(image, "add", 1, 2))
    assert.equal(3, image:call { "add", 1, 2 })
    assert.equal(3, image:bind("add")(1, 2))
    assert.equal(3, image:bind("add", "int (int, int)")(1, 2))
    assert.equal(3, image:bind("add", "int add(int x, int y)")(1, 2))
  end)

  it("takes no option of a call that does not exist", function()
    local image = support.map "math"
    assert.equal(3, image:call { "add", 1, 2, timeout = 30 })
    assert.equal("call: argument 2 is a table as { name, ... }, got a string",
      support.error_of(image.call, image, "add").message)
    assert.equal("call: option `timeout` is a number of seconds, from 1e-6 to 1e9, got a boolean",
      support.error_of(image.call, image, { "add", 1, 2, timeout = true }).message)
    assert.equal("call: there is no option `tmieout`", support.error_of(image.call, image,
      { "add", 1, 2, tmieout = 1 }).message)
    assert.equal("count", support.error_of(image.call, image, { "add", 1, nil, nil, 5 }).kind)
  end)

  it("answers an error when it is unmapped twice", function()
    local image = support.map "math"
    assert.is_true(image:unmap())
    for _, method in ipairs { "unmap", "reset", "info" } do
      local value, err = image[method](image)
      assert.is_nil(value)
      assert.equal("unmapped", err.kind)
    end
  end)

  it("takes the granted names as one or as a list", function()
    for _, grant in ipairs { "output", { "output", "jit" }, "everything", {} } do
      mm.assert(support.map("math", { grant = grant }):unmap())
    end
    mm.assert(support.map("math", { memory = 2 ^ 20, verify = true, on_fault = "reset" }):unmap())
  end)

  if _VERSION == "Lua 5.4" then
    it("is unmapped at the end of its scope in Lua 5.4", function()
      local chunk = assert(load [[
        local support, mm = ...
        do
          local image <close> = support.map "math"
          assert(#mm.mapped() == 1)
        end
        return #mm.mapped()
      ]])
      assert.equal(0, chunk(support, mm))
    end)
  end

  it("works in coroutines", function()
    local image = support.map "math"
    local add = coroutine.wrap(function() return image.exports.add(1, 2) end)
    assert.equal(3, add())
  end)
end)
