local support = require "spec.support"
local mm = require "matchmaker"

local has_ffi = pcall(require, "ffi") and rawget(_G, "jit") ~= nil

describe("memory inside an image", function()
  local image, exports
  setup(function()
    image = mm.assert(mm.map(support.image("record")))
    exports = image.exports
    -- The guard learns the pieces that calls and writes need, which stay mappings of their own.
    exports.fill(image:buffer(8), 8, 0)
    exports.everything_set(exports.everything())
    exports.point_move(exports.point(), 1, 1)
    exports.point().x = 1
    exports.everything().list[0] = 1
  end)
  teardown(function() mm.assert(image:unmap()) end)

  -- What the client asked for is gone before anything is counted.
  before_each(function() mm.assert(image:reset()) end)
  after_each(function() mm.assert(image:reset()) end)
  support.guard(before_each, after_each)

  local function fails(kind, f, ...)
    local err = support.error_of(f, ...)
    assert.equal(kind, err.kind)
    return err.message
  end

  local function write(view, key, value) view[key] = value end
  local function read(view, key) return view[key] end

  describe("as a buffer", function()
    it("holds so many bytes, zero at first", function()
      local buffer = image:buffer(100)
      assert.equal(100, #buffer)
      assert.equal(100, buffer.size)
      assert.equal(("\0"):rep(100), buffer:get())
      assert.equal(0, exports.sum(buffer, 100))
    end)

    it("keeps zeros that are embedded", function()
      local buffer = image:buffer("ab\0cd\0")
      assert.equal(6, #buffer)
      assert.equal("ab\0cd\0", buffer:get())
      assert.equal("\0cd", buffer:get(2, 3))
      assert.equal("ab", image:string(buffer))
      assert.equal("ab\0c", image:string(buffer, 4))
    end)

    it("is set in the middle, byte by byte, and filled", function()
      local buffer = image:buffer(10)
      buffer:set(3, "xyz")
      buffer[0] = 65
      assert.equal("A\0\0xyz\0\0\0\0", buffer:get())
      assert.equal(120, buffer[3])
      buffer:fill(255)
      assert.equal(2550, exports.sum(buffer, 10))
      buffer:set(10, "")
      assert.equal("", buffer:get(10))
    end)

    it("goes where the image wants bytes of any kind", function()
      local buffer = image:buffer("kutya\0.....")
      assert.equal(5, exports.length(buffer))
      exports.upper(buffer)
      assert.equal("KUTYA", image:string(buffer))
      exports.fill(buffer, 3, 97)
      assert.equal("aaaYA", image:string(buffer))
      assert.equal("type", support.error_of(exports.ints_sum, buffer, 1).kind)
      assert.equal("ints_sum: argument 1 is `const int *`, got a buffer: "
        .. "`long ints_sum(const int *numbers, int count)`",
        support.error_of(exports.ints_sum, buffer, 1).message)
    end)

    it("has bounds on both sides", function()
      local buffer = image:buffer(8)
      for _, index in ipairs { -1, 8, 2 ^ 31, 2 ^ 52, -2 ^ 52, 1e300, -1e300, 1 / 0, 0 / 0 } do
        fails("range", read, buffer, index)
        fails("range", write, buffer, index, 1)
      end
      fails("range", buffer.get, buffer, 9)
      fails("range", buffer.get, buffer, 0, 9)
      fails("range", buffer.get, buffer, 8, 1)
      fails("range", buffer.get, buffer, -1)
      fails("range", buffer.get, buffer, 0.5)
      fails("range", buffer.set, buffer, 6, "abc")
      fails("range", buffer.set, buffer, 9, "")
      fails("range", read, buffer, 0.5)
      assert.equal("the index 1.5 is not an integer", fails("range", read, buffer, 1.5))
      assert.equal("the index inf is out of bounds", fails("range", read, buffer, math.huge))
      assert.matches("^the index %-1.15%d+e%+18 is out of bounds$",
        fails("range", read, buffer, -2 ^ 60))
      assert.matches("^the index %-?nan is not an integer$", fails("range", read, buffer, 0 / 0))
      assert.equal("8 is out of bounds: the `unsigned char *` reaches 8 elements",
        fails("range", read, buffer, 8))
    end)

    it("takes bytes and nothing else", function()
      local buffer = image:buffer(8)
      for _, value in ipairs { 256, -1, 0.5 } do fails("range", write, buffer, 0, value) end
      fails("type", write, buffer, 0, "a")
      fails("range", buffer.fill, buffer, 256)
      fails("range", buffer.fill, buffer, "a")
      fails("argument", buffer.set, buffer, 0, 5)
      fails("argument", buffer.get, 5)
      assert.equal("[0] of `unsigned char *` is `unsigned char`, 256 is out of range",
        fails("range", write, buffer, 0, 256))
    end)

    it("may be empty", function()
      for _, content in ipairs { 0, "" } do
        local buffer = image:buffer(content)
        assert.equal(0, #buffer)
        assert.equal("", buffer:get())
        buffer:fill(7)
        fails("range", read, buffer, 0)
        assert.equal("buffer of 0 bytes", tostring(buffer))
      end
    end)

    it("is as large as the image may grow, and no larger", function()
      local small = mm.assert(mm.map(support.image("record_twin"), { memory = 2 ^ 20 }))
      assert.equal(2 ^ 20, #small:buffer(2 ^ 20))
      collectgarbage()
      collectgarbage()
      for _, size in ipairs { 2 ^ 20 + 1, 2 ^ 40, 2 ^ 52 } do
        fails("limit", small.buffer, small, size)
      end
      for _, size in ipairs { -1, 0.5, 1 / 0, 0 / 0 } do
        fails("range", small.buffer, small, size)
      end
      for _, size in ipairs { true, {} } do fails("argument", small.buffer, small, size) end
      fails("argument", small.buffer, small)
      mm.assert(small:unmap())
    end)

    it("comes in great numbers", function()
      local buffers = {}
      for i = 1, 10000 do
        buffers[i] = image:buffer(10)
        buffers[i][9] = i % 256
      end
      for i = 1, 10000 do assert(buffers[i][9] == i % 256 and buffers[i][0] == 0) end
    end)

    it("is freed when nothing refers to it any more", function()
      local twin = mm.assert(mm.map(support.image("record_twin"), { memory = 2 ^ 20 }))
      for _ = 1, 40 do
        local view = twin:buffer(500000) + 4
        assert.equal(0, view[0])
        view = nil -- luacheck: ignore
        collectgarbage()
        collectgarbage()
      end
      mm.assert(twin:unmap())
    end)

    it("is kept by what is made of it", function()
      local element = image:new("struct point[2]", { { x = 1 }, { x = 2 } })[1]
      local later = image:buffer("abcdef") + 3
      collectgarbage()
      collectgarbage()
      for i = 1, 50 do image:buffer(32):fill(i) end
      assert.equal(2, element.x)
      assert.equal(100, later[0])
    end)

    it("may be freed at once, and is no use then", function()
      local buffer = image:buffer("abc")
      local view = buffer + 1
      buffer:free()
      for _, freed in ipairs { buffer, view } do
        fails("stale", read, freed, 0)
        fails("stale", write, freed, 0, 1)
        fails("stale", read, freed, "get")
        fails("stale", function() return #freed end)
        fails("stale", exports.length, freed)
        fails("stale", image.string, image, freed)
        fails("stale", image.cast, image, "char *", freed)
        assert.matches("%(freed%)$", tostring(freed))
      end
    end)

    it("prints its first bytes", function()
      assert.equal("buffer of 3 bytes: 61 00 ff  a..", tostring(image:buffer("a\0\255")))
      assert.matches("^buffer of 1000 bytes: 00 00 .* %.%.%.  %.+$", tostring(image:buffer(1000)))
    end)
  end)

  describe("as a new object", function()
    it("is made from a table, and is what the image sees", function()
      local point = image:new("struct point", { x = 1.5, y = 2 })
      assert.equal(3.5, exports.points_sum(point, 1))
      exports.point_move(point, 1, 1)
      assert.equal(2.5, point.x)
      point.y = -2.5
      assert.equal(0, exports.points_sum(point, 1))
      assert.equal("struct point { x = 2.5, y = -2.5 }", tostring(point))
    end)

    it("is zero where nothing is given", function()
      assert.equal("struct point { x = 0, y = 4 }", tostring(image:new("struct point", { y = 4 })))
      assert.equal("struct point { x = 0, y = 0 }", tostring(image:new("struct point")))
      assert.equal("int[3] { 7, 0, 0 }", tostring(image:new("int[3]", { 7 })))
    end)

    it("may be an array, of anything", function()
      local points = image:new("struct point[3]", { { x = 1, y = 2 }, { x = 3 } })
      assert.equal(3, #points)
      points[2] = { x = 10, y = 20 }
      points[1].y = 5
      assert.equal(41, exports.points_sum(points, 3))
      points[0] = points[2]
      assert.equal(10, points[0].x)
      local text = image:new("char[6]", "kutya")
      assert.equal('char[6] "kutya"', tostring(text))
      assert.equal(5, exports.length(text))
      local grid = image:new("int[2][2]", { { 1, 2 }, { 3, 4 } })
      assert.equal(3, grid[1][0])
      assert.equal("int[2][2] { { 1, 2 }, { 3, 4 } }", tostring(grid))
    end)

    it("may be a scalar or a pointer", function()
      local number = image:new("int", 42)
      assert.equal(42, number[0])
      local pointer = image:new("int *", number)
      assert.equal(42, pointer[0][0])
      pointer[0] = mm.null
      assert.is_nil(pointer[0])
    end)

    it("takes what fits the type, and says which part does not", function()
      local function new(...) return image:new(...) end
      assert.equal("new: argument 3 is `struct point`, which has no field `z`",
        fails("type", new, "struct point", { x = 1, z = 2 }))
      assert.equal("new: argument 3: x of `struct point` is `double`, got a string",
        fails("type", new, "struct point", { x = "1" }))
      assert.equal("new: argument 3: frame.low.x of `struct everything` is `double`, got a table",
        fails("type", new, "struct everything", { frame = { low = { x = {} } } }))
      assert.equal(
        "new: argument 3: grid[1][2] of `struct everything` is `int`, 2147483648 is out of range",
        fails("range", new, "struct everything", { grid = { {}, { 0, 0, 2 ^ 31 } } }))
      assert.equal("new: argument 3 is `int[2]`, got 3 elements", fails("range", new, "int[2]",
        { 1, 2, 3 }))
      assert.equal("new: argument 3 is `char[3]`, got a string of 4 bytes",
        fails("range", new, "char[3]", "four"))
      assert.equal("type", support.error_of(new, "int[2]", { 1, x = 2 }).kind)
      assert.equal("type", support.error_of(new, "int[2]", { [2] = 2 }).kind)
      assert.equal("type", support.error_of(new, "struct point", { 1, 2 }).kind)
      assert.equal("type", support.error_of(new, "struct point", 5).kind)
      assert.equal("type", support.error_of(new, "struct everything",
        { value = { as_integer = 1, as_single = 2 } }).kind)
      assert.equal("type", support.error_of(new, "struct everything", { left = 1, right = 2 }).kind)
      assert.equal("type", support.error_of(new, "struct everything", { text = "outside" }).kind)
    end)

    it("is not deeper than its type, whatever the table is", function()
      local loop = {}
      loop.low = loop
      assert.equal("type", support.error_of(image.new, image, "box", loop).kind)
    end)

    it("is of a type that the image or C knows", function()
      for _, text in ipairs { "struct nowhere", "void", "int (int)" } do
        fails("type", image.new, image, text)
      end
      for _, text in ipairs { "nonsense", "int x", "int[", "int[0]", "", "struct", "int\0",
        "int[99999999999]" } do
        fails("prototype", image.new, image, text)
      end
      for _, text in ipairs { 5, true } do fails("argument", image.new, image, text) end
      fails("argument", image.new, image)
      assert.equal(8, #image:new("unsigned long[8]"))
      assert.equal(1, image:new("box", { high = { y = 1 } }).high.y)
    end)

    it("has a type that means what its own image means by it", function()
      local twin = support.map("record_twin")
      assert.equal(3, twin:new("struct point", { z = 3 }).z)
      assert.equal("`struct point` has no field `z`", fails("type",
        read, image:new("struct point"), "z"))
      assert.equal("owner", support.error_of(exports.points_sum, twin:new("struct point"), 1).kind)
    end)
  end)

  describe("that the image points to", function()
    it("is read field by field, with C's values", function()
      local all = exports.everything()
      assert.is_true(all.flag)
      assert.equal(109, all.letter)
      assert.equal(-8, all.i8)
      assert.equal(200, all.u8)
      assert.equal(-1600, all.i16)
      assert.equal(65535, all.u16)
      assert.equal(-320000, all.i32)
      assert.equal(4000000000, all.u32)
      assert.equal(0.25, all.single)
      assert.equal(1e300, all.number)
      assert.equal(0.5, all.extended)
      assert.equal(5, all.color)
      assert.equal("kutya", image:string(all.name))
      assert.equal(2, all.list[1])
      assert.equal(6, all.grid[1][2])
      assert.equal(8, all.at.y)
      assert.equal(3, all.frame.high.x)
      assert.equal(42, all.value.as_integer)
      assert.equal(9, all.inner)
      assert.equal(10, all.left)
      assert.equal(10, all.right)
      assert.equal("a text", all.text)
      assert.equal(-2, all.point.y)
      assert.equal(4, all.fixed.y)
      assert.is_true(all.next == all)
    end)

    it("is written field by field, and the image sees it", function()
      local all = image:new("struct everything")
      all.flag, all.letter, all.i8, all.u8, all.i16, all.u16 = true, 109, -8, 200, -1600, 65535
      all.i32, all.u32, all.single, all.number, all.extended = -320000, 4000000000, 0.25, 1e300, 0.5
      all.color = "GREEN"
      all.name = "kutya"
      all.list = { 1, 2, 3 }
      all.grid[0] = { 1, 2, 3 }
      all.grid[1] = { 4, 5, 6 }
      all.at = exports.everything().at
      all.frame = { low = { x = 1, y = 2 }, high = { x = 3, y = 4 } }
      all.value.as_integer = 42
      all.inner, all.left = 9, 10
      assert.equal(1, exports.everything_same(all))
      all.grid[1][2] = 7
      assert.equal(0, exports.everything_same(all))
    end)

    it("holds 64-bit integers as arguments do", function()
      local all = image:new("struct everything", { i64 = 2 ^ 53, u64 = 2 ^ 53 })
      assert.equal(2 ^ 53, all.i64)
      fails("range", write, all, "u64", -1)
      fails("range", write, all, "i64", 2 ^ 63)
      local kept = exports.everything()
      if has_ffi then
        assert.equal("-9223372036854775808LL", tostring(kept.i64))
        assert.equal("18446744073709551615ULL", tostring(kept.u64))
        all.u64 = kept.u64
      elseif math.type then
        assert.equal(math.mininteger, kept.i64)
        assert.equal(-1, kept.u64)
      else
        assert.equal("i64 of `struct everything` is `int64_t`, -9223372036854775808 does not " ..
          "fit a Lua number exactly",
          fails("range", read, kept, "i64"))
        all.i64 = "-9223372036854775808"
      end
    end)

    it("has the bounds of its parts, and is assigned whole", function()
      local all, two = exports.everything(), image:new("struct everything[2]")
      assert.equal(3, #all.list)
      fails("range", read, all.list, 3)
      fails("range", write, all.list, 3, 1)
      fails("range", read, all.grid[0], 3)
      fails("range", read, all.name, 8)
      two[1] = all
      assert.equal(1, exports.everything_same(two + 1))
      local aggregate = support.map("aggregate")
      local flags = aggregate:new("struct flags", { a = 2, b = -15, c = 0, d = true, e = 0 })
      flags.b = 3
      assert.same({ 2, 3, 0, true, 0 }, { flags.a, flags.b, flags.c, flags.d, flags.e })
      flags.a, flags.d = 1, false
      assert.same({ 1, 3, 0, false, 0 }, { flags.a, flags.b, flags.c, flags.d, flags.e })
      aggregate:unmap()
    end)

    it("is written through a pointer into the snapshot, and put back by a reset", function()
      exports.point().x = 10
      assert.equal(8, exports.points_sum(exports.point(), 1))
      mm.assert(image:reset())
      assert.equal(-0.5, exports.points_sum(exports.point(), 1))
    end)

    it("is not written where C has a const, or where the image could not write", function()
      local constant = exports.point_constant()
      assert.equal("x of `struct point` is `double`, of a const object",
        fails("type", write, constant, "x", 1))
      fails("type", write, exports.everything().fixed, "x", 1)
      fails("range", write, image:cast("struct point *", constant), "x", 1)
      assert.equal("point_move: argument 1 is `struct point *`, " ..
        "got a pointer `const struct point *`: "
        .. "`void point_move(struct point *point, double x, double y)`",
        fails("type", exports.point_move, constant, 0, 0))
      assert.equal(7, exports.points_sum(constant, 1))
      fails("type", write, image:new("const int[2]", { 1, 2 }), 0, 3)
    end)

    it("has one element, unless it is cast to more", function()
      local numbers = exports.ints()
      assert.equal(1, #numbers)
      assert.equal(1, numbers[0])
      assert.equal("1 is out of bounds: the `int *` reaches 1 element; cast it to an array of more",
        fails("range", read, numbers, 1))
      local three = image:cast("int[3]", numbers)
      assert.equal(3, #three)
      assert.equal(3, three[2])
      fails("range", read, three, 3)
      fails("range", write, three, -1, 0)
    end)

    it("names what is wrong with a field", function()
      local all = exports.everything()
      assert.equal("`struct everything` has no field `nothing`", fails("type",
        read, all, "nothing"))
      fails("type", read, all, true)
      fails("type", write, all, "nothing", 1)
      assert.equal("u8 of `struct everything` is `unsigned char`, 256 is out of range",
        fails("range", write, all, "u8", 256))
      assert.equal("name of `struct everything` is `char[8]`, got a string of 9 bytes",
        fails("range", write, all, "name", "ninebytes"))
      assert.equal("color of `struct everything` is `enum color`, which has no constant `PINK`",
        fails("range", write, all, "color", "PINK"))
      assert.equal("flag of `struct everything` is `bool`, got a number", fails("type",
        write, all, "flag", 1))
      fails("null", write, all, "point", nil)
      all.point = mm.null
      assert.is_nil(all.point)
      assert.equal("`struct box` is only declared: what is in it is not known here",
        fails("type", read, support.map("pointer").exports.box_kept(), "value"))
    end)

    it("is an error, and no crash, where a pointer is garbage", function()
      local all = image:new("struct everything")
      exports.spoil(all)
      fails("result", read, all, "text")
      fails("result", read, all.next, "i32")
      fails("range", read, all.point, "y")
      fails("range", read, all.fixed, "x")
      fails("range", write, all.next, "i32", 5)
      fails("result", image.string, image, all.any, 1)
      fails("result", image.string, image, all.any, 2 ^ 45)
      fails("result", image.string, image, image:cast("char *", all.any))
      fails("result", image.new, image, "struct everything", all.next)
      assert.matches("^struct everything { flag = false", tostring(all))
      assert.matches("^struct everything %* 0x%x+ of record.mmi$", tostring(all.next))
      assert.matches("^struct point %* 0x%x+ of record.mmi$", tostring(all.point))
      assert.equal("owner", support.error_of(exports.points_sum, all.point, 1).kind)
    end)
  end)

  describe("walked with pairs", function()
    local walk = (pcall(pairs, mm.null) or _VERSION ~= "Lua 5.1") and pairs or mm.pairs

    it("gives a struct's fields in their order, those of anonymous ones too", function()
      local names = {}
      assert.equal("pairs: argument 1 is a view, got a table",
        support.error_of(mm.pairs, {}).message)
      for name in mm.pairs(image:new("struct everything")) do names[#names + 1] = name end
      assert.equal("flag letter i8 u8 i16 u16 i32 u32 i64 u64 single number extended color name " ..
        "list grid at frame value inner left right text any point fixed next",
        table.concat(names, " "))
      local point = {}
      for name, value in walk(exports.point()) do point[name] = value end
      assert.same({ x = 1.5, y = -2 }, point)
    end)

    it("gives an array's elements from 0", function()
      local found = {}
      for index, value in walk(image:new("int[3]", { 7, 8, 9 })) do
        found[#found + 1] = { index, value }
      end
      assert.same({ { 0, 7 }, { 1, 8 }, { 2, 9 } }, found)
      for _ in walk(image:buffer(0)) do error("an empty buffer has no elements") end
    end)
  end)

  describe("by arithmetic", function()
    it("moves within its bounds, its end included", function()
      local numbers = image:new("int[3]", { 7, 8, 9 })
      local last = numbers + 2
      assert.equal(9, last[0])
      assert.equal(7, last[-2])
      assert.equal(9, (2 + numbers)[0])
      assert.equal(2, last - numbers)
      assert.equal(-2, numbers - last)
      assert.is_true(last - 2 == numbers)
      assert.is_true(last + 1 ~= numbers)
      assert.equal(0, #(numbers + 3))
      fails("range", read, numbers + 3, 0)
      for _, step in ipairs { -1, 4, 2 ^ 50, -2 ^ 50, 0.5, 1 / 0 } do
        fails("range", function() return numbers + step end)
      end
    end)

    it("is refused for what has no size, and between strangers", function()
      local all = exports.everything()
      fails("type", function() return all.any + 1 end)
      fails("type", function() return all + "1" end)
      fails("type", function() return all - image:buffer(1) end)
      fails("type", function() return 1 - all end)
      fails("type", read, all.any, 0)
      local numbers = image:new("int[4]")
      local odd = image:cast("int *", image:cast("char *", numbers) + 2)
      fails("type", function() return odd - numbers end) -- no whole number of elements
      local twin = mm.assert(mm.map(support.image("record_twin")))
      local here, there = image:new("int"), twin:new("int")
      fails("type", function() return here - there end)
      twin:unmap()
      local before = exports.ints()
      image:reset()
      fails("type", function() return exports.ints() - before end)
    end)
  end)

  describe("cast to another type", function()
    it("keeps its address and its memory's bounds", function()
      local buffer = image:buffer("\1\0\0\0\2\0\0\0")
      local numbers = image:cast("int *", buffer)
      assert.equal(2, #numbers)
      assert.equal(2, numbers[1])
      fails("range", read, numbers, 2)
      assert.equal(3, exports.ints_sum(numbers, 2))
      assert.equal(2, image:cast("int[1]", numbers + 1)[0])
      assert.equal("1", tostring((numbers + 1) - numbers))
      assert.equal("cast: `struct point` takes 16 bytes, there are 8",
        fails("range", image.cast, image, "struct point", buffer))
      fails("range", image.cast, image, "int[3]", buffer)
      fails("range", image.cast, image, "int[2]", buffer + 4)
      fails("range", read, image:cast("struct point *", buffer), "y")
      fails("range", read, image:cast("struct point *", exports.everything().name), "y")
      fails("type", write, image:cast("const char *", buffer), 0, 1)
      fails("type", write, image:cast("const int *", buffer), 0, 1)
      fails("type", write, image:cast("const int", buffer), 0, 1)
      image:cast("char *", buffer)[0] = 7
      assert.equal(7, buffer[0])
    end)

    it("is given to the image as what it is then", function()
      local buffer = image:buffer("kutya\0")
      assert.equal(5, tonumber(exports.length(image:cast("void *", buffer))))
      fails("type", exports.length, image:cast("int *", buffer))
      fails("type", exports.sum, exports.point(), 1)
      fails("type", exports.sum, exports.everything().name, 1)
      fails("type", exports.upper, image:cast("const char *", buffer))
    end)

    it("wants a pointer of its own image", function()
      fails("null", image.cast, image, "int *", mm.null)
      fails("null", image.cast, image, "int *")
      fails("argument", image.cast, image, "int *", 5)
      fails("argument", image.cast, image, "int *", "text")
      fails("owner", image.cast, image, "int *", support.map("pointer").exports.box_kept())
      fails("null", image.string, image, mm.null)
      fails("argument", image.string, image, 5)
    end)

    it("makes a string of what it points to", function()
      local text = image:buffer("kutya\0")
      local kept = image:new("char *", text)
      assert.equal("kutya", image:string(kept[0]))
      assert.equal("ku", image:string(kept[0], 2))
      fails("range", image.string, image, text, 7)
      fails("range", image.string, image, text + 3, 4)
      assert.equal("utya", image:string(image:cast("char *", text) + 1))
      assert.equal("kuty", image:string(image:cast("char[4]", text)))
    end)
  end)

  describe("after the end", function()
    it("is stale when the image was reset, by a fault too", function()
      for _, reset in ipairs { function() image:reset() end,
        function() pcall(exports.crash) end } do
        local buffer, point, kept = image:buffer(4), image:new("struct point"), exports.point()
        reset()
        for _, view in ipairs { buffer, point, kept } do
          local key = view == buffer and 0 or "x"
          fails("stale", read, view, key)
          fails("stale", write, view, key, 1)
          fails("stale", exports.sum, image:cast("unsigned char *", view), 1)
          assert.equal("string", type(tostring(view)))
        end
        fails("stale", buffer.get, buffer)
        fails("stale", buffer.set, buffer, 0, "a")
        fails("stale", write, image:new("struct everything"), "point", point)
        fails("stale", image.new, image, "struct everything", { point = kept })
        fails("stale", buffer.free, buffer)
        assert.equal(0, image:buffer(4)[0])
      end
    end)

    it("is unmapped with its image", function()
      local twin = mm.assert(mm.map(support.image("record_twin")))
      local buffer, point = twin:buffer(4), twin:new("struct point")
      mm.assert(twin:unmap())
      fails("unmapped", read, buffer, 0)
      fails("unmapped", write, point, "z", 1)
      fails("unmapped", buffer.get, buffer)
      fails("unmapped", twin.buffer, twin, 1)
      fails("unmapped", twin.new, twin, "int")
      fails("unmapped", buffer.free, buffer)
      assert.equal("string", type(tostring(buffer)))
    end)

    it("keeps its image alive", function()
      local view = mm.assert(mm.map(support.image("record_twin"))):new("struct point", { z = 4 })
      collectgarbage()
      collectgarbage()
      assert.equal(4, view.z)
      local record = support.output([[
        local mm = require "matchmaker"
        local point = mm.assert(mm.map(...)).exports.point() -- one that the image gave
        for _ = 1, 4 do collectgarbage() end
        print(point.x, #mm.mapped())
        point = nil
        for _ = 1, 4 do collectgarbage() end
        print(#mm.mapped())
      ]], support.image("record"))
      assert.equal("1.5\t1\n0\n", record)
      view = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
    end)

    it("is no use after mm.finalize, which says so", function()
      local result = support.run([[
        local mm = require "matchmaker"
        local image = mm.assert(mm.map(...))
        local buffer = image:buffer(4)
        mm.assert(mm.finalize())
        local ok, err = pcall(function() return buffer[0] end)
        print(ok, err.kind)
        mm.assert(mm.init())
        ok, err = pcall(function() return buffer[0] end)
        print(ok, err.kind)
      ]], support.image("record"))
      assert.equal("false\tnot_connected\nfalse\tunmapped\n", result.stdout)
      assert.equal(0, result.status)
    end)
  end)
end)
