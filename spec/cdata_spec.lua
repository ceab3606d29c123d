local support = require "spec.support"
local mm = require "matchmaker"

local has_ffi, ffi = pcall(require, "ffi")

describe("cdata of an image's memory", function()
  if not (has_ffi and rawget(_G, "jit")) then
    it("is LuaJIT's alone", function() assert.is_nil(mm.cdata) end)
    return
  end

  local image, exports
  setup(function()
    image = mm.assert(mm.map(support.image("record")))
    exports = image.exports
    exports.point_move(exports.point(), 1, 1)
    exports.upper(image:buffer("a\0"))
  end)
  teardown(function() mm.assert(image:unmap()) end)
  before_each(function() mm.assert(image:reset()) end)
  after_each(function() mm.assert(image:reset()) end)
  support.guard(before_each, after_each)

  it("is the memory itself, and no copy", function()
    local point = image:new("struct point", { x = 1, y = 2 })
    local seen = mm.cdata(point)
    assert.equal(1, seen.x)
    point.x = 5
    assert.equal(5, seen.x)
    exports.point_move(point, 1, 0)
    assert.equal(6, seen.x)
  end)

  it("has every field where C has it", function()
    local all = mm.cdata(exports.everything())
    assert.is_true(all.flag)
    assert.equal(-8, all.i8)
    assert.equal(65535, all.u16)
    assert.equal(4000000000, all.u32)
    assert.equal("18446744073709551615ULL", tostring(all.u64))
    assert.equal(0.25, all.single)
    assert.equal(1e300, all.number)
    assert.equal(5, all.color)
    assert.equal("kutya", ffi.string(all.name))
    assert.equal(3, all.list[2])
    assert.equal(6, all.grid[1][2])
    assert.equal(8, all.at.y)
    assert.equal(3, all.frame.high.x)
    assert.equal(42, all.value.as_integer)
    assert.equal(10, all.right)
    assert.equal("a text", ffi.string(all.text))
  end)

  it("counts elements from 0", function()
    local numbers = mm.cdata(image:new("int[3]", { 7, 8, 9 }))
    assert.equal(9, numbers[2])
    local grid = mm.cdata(image:new("int[2][2]", { { 1, 2 }, { 3, 4 } }))
    assert.equal(3, grid[1][0])
    local bytes = mm.cdata(image:buffer("abc"))
    assert.equal("abc", ffi.string(bytes, 3))
  end)

  it("is read-only, by its type", function()
    local all, numbers = mm.cdata(exports.everything()), mm.cdata(image:new("int[2]"))
    assert.is_false(pcall(function() all.i32 = 1 end))
    assert.is_false(pcall(function() all.list[0] = 1 end))
    assert.is_false(pcall(function() all.at.x = 1 end))
    assert.is_false(pcall(function() all.point = nil end))
    assert.is_false(pcall(function() numbers[0] = 1 end))
    assert.equal(-320000, all.i32)
  end)

  it("is read-only at rest, whatever its type is made to be", function()
    local result = support.run([[
      local mm, ffi = require "matchmaker", require "ffi"
      local buffer = mm.assert(mm.map(...)):buffer(8)
      buffer[0] = 1
      print(mm.cdata(buffer)[0])
      io.stdout:flush()
      ffi.cast("char *", mm.cdata(buffer))[0] = 2
      print("written")
    ]], support.image("record"))
    assert.equal(11, result.signal)
    assert.equal("1\n", result.stdout)
  end)

  it("of two images knows two meanings of one name", function()
    local twin = support.map("record_twin")
    assert.equal(3, mm.cdata(twin:new("struct point", { z = 3 })).z)
    assert.equal(4, mm.cdata(image:new("struct point", { y = 4 })).y)
    assert.equal(5, mm.cdata(twin:new("struct point", { z = 5 })).z)
    assert.is_false(pcall(ffi.typeof, "struct point"))
  end)

  it("keeps its view alive", function()
    local seen = mm.cdata(image:new("struct point", { x = 4 }))
    for _ = 1, 3 do collectgarbage() end
    for i = 1, 50 do image:new("struct point", { x = i + 100 }) end
    assert.equal(4, seen.x)
  end)

  it("is refused for what is gone, and what has no size", function()
    local buffer, kept = image:buffer(4), exports.point()
    assert.equal("type", support.error_of(mm.cdata, exports.everything().any).kind)
    assert.equal("argument", support.error_of(mm.cdata, 5).kind)
    assert.equal("argument", support.error_of(mm.cdata).kind)
    mm.assert(image:reset())
    assert.equal("stale", support.error_of(mm.cdata, buffer).kind)
    assert.equal("stale", support.error_of(mm.cdata, kept).kind)
    local freed = image:buffer(4)
    freed:free()
    assert.equal("stale", support.error_of(mm.cdata, freed).kind)
  end)

  it("is refused of a sealed image, whose views can be read", function()
    local sealed = mm.assert(mm.map(support.image("record_twin"), { sealed = true }))
    local point = sealed:new("struct point", { z = 3 })
    assert.equal(3, point.z)
    assert.equal("unsupported", support.error_of(mm.cdata, point).kind)
    mm.assert(sealed:unmap())
  end)

  it("can be read by compiled code", function()
    local numbers = image:new("int[100]")
    for i = 0, 99 do numbers[i] = i end
    local seen, sum = mm.cdata(numbers), 0
    for _ = 1, 100 do
      for i = 0, 99 do sum = sum + seen[i] end
    end
    assert.equal(495000, sum)
  end)
end)
