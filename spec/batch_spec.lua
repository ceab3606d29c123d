-- Many calls for one opening of the guard.
local shell = require "spec.shell"
local support = require "spec.support"
local mm = require "matchmaker"

-- Pages of the arena's slots above the Matchmaker's that are writable or executable.
local function open_pages()
  local count = 0
  for line in io.lines("/proc/self/maps") do
    local low, rights = line:match("^(%x+)%-%x+ (%S+)")
    local slot = #low == 12 and low >= "201000000000" and low < "500000000000"
    if slot and rights:find("[wx]") then count = count + 1 end
  end
  return count
end

for _, guard in ipairs { "pages", "open" } do
  describe("a batch, guard " .. guard, function()
    support.guard(before_each, after_each)

    it("gives the results of single calls, in their order", function()
      local image = support.map("math", { guard = guard })
      local sums = image:batch("add", { { 1, 2 }, { 3, 4 }, { -5, 5 } })
      assert.same({ 3, 7, 0 }, sums)
      image:unmap()
    end)

    it("takes the only argument of a call as it is", function()
      local image = support.map("text", { guard = guard })
      assert.same({ 3, 0, 5 }, image:batch("length", { "abc", "", "kutya" }))
      assert.same({ "KUTYA", "A" }, image:batch("upper", { "kutya", "a" }))
      image:unmap()
    end)

    it("of nothing, and of calls without arguments or results, is fine", function()
      local image = support.map("math", { guard = guard })
      assert.same({}, image:batch("add", {}))
      assert.same({ 101, 102 }, image:batch("counter_next", { {}, {} }))
      assert.same({}, image:batch("nothing", { {}, {} }))
      image:unmap()
    end)

    it("gives any number of results, of every kind, in their order", function()
      local image = support.map("math", { guard = guard })
      for _, count in ipairs { 255, 256, 257, 1000 } do
        local calls, expected = {}, {}
        for i = 1, count do
          calls[i] = { i, -3 * i }
          expected[i] = -2 * i
        end
        assert.same(expected, image:batch("add", calls))
      end
      local values = {
        i8 = { -128, 127 }, u8 = { 0, 255 }, i16 = { -32768, 32767 }, u32 = { 0, 4294967295 },
        i64 = { -4503599627370497, 1 }, plain_char = { -1, 65 }, f32 = { 0.5, -1 / 0 },
        f64 = { 0.1, 1e300 }, f80 = { 0.1, -2.5 }, boolean = { true, false },
        color = { "GREEN", 0, -1 },
      }
      for name, list in pairs(values) do
        local singly = {}
        for i, value in ipairs(list) do singly[i] = image.exports[name](value) end
        assert.same(singly, image:batch(name, list))
      end
      local narrow = { -1, 255, -2, 65535, -3, 4294967295, -4, 254, -5, 65534, true, 1.5 }
      local long = { 1, 2, 3, 4, 5, 6, 7, 0.5, 9, 0.25 }
      for name, call in pairs { narrow = narrow, align_long = long } do
        local expected = image.exports[name]((table.unpack or unpack)(call))
        assert.same({ expected, expected }, image:batch(name, { call, call }))
      end
      image:unmap()
    end)

    it("copies strings of any length", function()
      local image = support.map("text", { guard = guard })
      local calls, expected = {}, {}
      for i, length in ipairs { 1, 3 * 2 ^ 20, 0, 700000, 700000, 2 ^ 20, 5, 2 ^ 21, 2 } do
        calls[i] = ("x"):rep(length)
        expected[i] = length
      end
      assert.same(expected, image:batch("length", calls))
      local long = ("x"):rep(30 * 2 ^ 20) -- three are more than a mailbox holds
      assert.same({ #long, #long, #long }, image:batch("length", { long, long, long }))
      image:unmap()
    end)

    it("makes calls that take or give records as single ones", function()
      local image = support.map("aggregate", { guard = guard })
      local calls = { { { x = 1, y = 2 } }, { { x = 3, y = 4 } } }
      local mirrored = image:batch("mirror", calls)
      assert.same({ 2, 1, 4, 3 },
        { mirrored[1].x, mirrored[1].y, mirrored[2].x, mirrored[2].y })
      local p = image.exports.wave_here()
      assert.same({ 1, 2 }, image:batch("has", { { { n = 1, at = { p, mm.null } } },
        { { n = 1, at = { mm.null, p } } } }))
      assert.equal(7, image:batch("chain", { {}, {} })[2]["in"].n)
      local z = { { { re = 1, im = 2 } }, { { re = 3, im = -4 } } }
      assert.same({ { re = 1, im = -2 }, { re = 3, im = 4 } }, image:batch("conjugate", z))
      image:unmap()
    end)

    it("gives pointers that are of the image until it is reset", function()
      local image = support.map("record", { guard = guard })
      local points = image:batch("point", { {}, {} })
      assert.same({ 1.5, 1.5 }, { points[1].x, points[2].x })
      image:reset()
      assert.equal("stale", support.error_of(function() return points[2].x end).kind)
      image:unmap()
    end)

    it("makes the calls before a wrong one, and tells which of them failed", function()
      local image = support.map("math", { guard = guard })
      local calls = {}
      for i = 1, 300 do calls[i] = i end
      calls[290] = {}
      local err = support.error_of(function() image:batch("counter_set", calls) end)
      assert.same({ "count", 290 }, { err.kind, err.call })
      assert.equal(289, image.exports.counter_get())
      image:unmap()
      image = support.map("crash", { guard = guard })
      err = support.error_of(function()
        image:batch("divide", { { 4, 2 }, { 4, 0 }, { 4, "x" }, { 4, 2 } })
      end)
      assert.same({ "fault", 2, "SIGFPE" }, { err.kind, err.call, err.signal })
      calls = {}
      for i = 1, 1000 do calls[i] = { 84, i == 700 and 0 or 2 } end
      err = support.error_of(function() image:batch("divide", calls) end)
      assert.same({ "fault", 700 }, { err.kind, err.call })
      assert.matches("divide.*call 700 of the batch", tostring(err))
      assert.same({ 42 }, image:batch("divide", { { 84, 2 } }))
      image:unmap()
    end)

    it("refuses pointers of others, call by call", function()
      local image = support.map("crash", { guard = guard })
      local other = support.map("memory", { guard = guard })
      local text = support.map("text", { guard = guard })
      local pointer = other:buffer "kutya"
      local err = support.error_of(function()
        text:batch("length", { "a", pointer, "b" })
      end)
      assert.same({ "owner", 2 }, { err.kind, err.call })
      for _, each in ipairs { image, text } do each:unmap() end
      other:unmap()
    end)

    it("ends at the first error, which tells the call", function()
      local image = support.map("math", { guard = guard })
      local err = support.error_of(function()
        image:batch("counter_set", { { 7 }, { 8 }, { "x" }, { 9 } })
      end)
      assert.equal("type", err.kind)
      assert.equal(3, err.call)
      assert.matches("^counter_set: argument 1 .* %(call 3 of the batch%)$", tostring(err))
      assert.equal(8, image.exports.counter_get())
      image:unmap()
    end)

    it("ends at a fault, and the image is reset and closed", function()
      local image = support.map("crash", { guard = guard })
      image.exports.counter_set(7)
      local err = support.error_of(function() image:batch("write_null", { {}, {} }) end)
      assert.equal("fault", err.kind)
      assert.equal(1, err.call)
      assert.is_true(err.was_reset)
      assert.equal(100, image.exports.counter_get())
      if guard == "pages" then assert.equal(0, open_pages()) end
      image:unmap()
    end)

    it("wants a name and a list", function()
      local image = support.map("math", { guard = guard })
      assert.equal("argument", support.error_of(function() image:batch(1, {}) end).kind)
      assert.equal("argument", support.error_of(function() image:batch("add", 1) end).kind)
      assert.equal("no_export", support.error_of(function() image:batch("ad", {}) end).kind)
      image:unmap()
    end)
  end)

  describe("an opened image, guard " .. guard, function()
    support.guard(before_each, after_each)

    it("is open while the function runs, and closed again behind it", function()
      local image = support.map("math", { guard = guard })
      local a, b = image:open(function()
        image.exports.counter_next()
        if guard == "pages" then assert.is_true(open_pages() > 0) end
        return image.exports.counter_next(), "b"
      end)
      assert.same({ 102, "b" }, { a, b })
      if guard == "pages" then assert.equal(0, open_pages()) end
      image:unmap()
    end)

    it("is closed when the function raises", function()
      local image = support.map("math", { guard = guard })
      local err = support.error_of(function()
        image:open(function()
          image.exports.counter_next()
          error("mine", 0)
        end)
      end)
      assert.equal("mine", err)
      if guard == "pages" then assert.equal(0, open_pages()) end
      assert.equal(102, image.exports.counter_next())
      image:unmap()
    end)

    it("goes on after a fault that the function caught", function()
      local image = support.map("crash", { guard = guard })
      image:open(function()
        image.exports.counter_set(7)
        assert.is_false(pcall(image.exports.write_null))
        assert.equal(100, image.exports.counter_get())
      end)
      if guard == "pages" then assert.equal(0, open_pages()) end
      image:unmap()
    end)

    it("cannot be unmapped, nor the Matchmaker finalized, meanwhile", function()
      local image = support.map("math", { guard = guard })
      image:open(function()
        local done, err = image:unmap()
        assert.is_nil(done)
        assert.equal("busy", err.kind)
      end)
      assert.is_true(image:unmap())
      assert.equal("unmapped", support.error_of(function() image:open(print) end).kind)
    end)

    it("may be opened and batched again inside", function()
      local image = support.map("math", { guard = guard })
      local list = image:open(function()
        return image:open(function() return image:batch("i32", { 1, 2 }) end)
      end)
      assert.same({ 1, 2 }, list)
      if guard == "pages" then assert.equal(0, open_pages()) end
      image:unmap()
    end)
  end)
end

-- How often the gate was crossed for a batch of `count` calls.
local function crossings(image, options, name, count, argument, before)
  local script = ([[
    local mm = require "matchmaker"
    local image = mm.assert(mm.map("%s/image/%s.mmi", %s))
    local calls = {}
    %s
    for i = 1, %d do calls[i] = %s end
    image:batch("%s", calls)]]):format(support.build, image, options, before or "", count, argument,
    name)
  local folder = shell.output("mktemp -d")
  local result = shell.run("MM_TRACE=gate " .. shell.lua(script, folder))
  os.execute("rm -rf " .. folder)
  assert.equal(0, result.status)
  return select(2, result.stderr:gsub(" enters slot", ""))
end

describe("the calls of a batch", function()
  it("share a crossing", function()
    assert.equal(1, crossings("math", "{}", "add", 256, "{ i, 1 }"))
    assert.equal(4, crossings("math", "{}", "add", 1000, "{ i, 1 }"))
    assert.equal(1, crossings("text", "{}", "length", 100, "'kutya'"))
  end)

  it("have their own where something is done around each", function()
    assert.equal(5, crossings("math", "{ timeout = 1000 }", "add", 5, "{ i, 1 }"))
    assert.equal(5, crossings("math", "{ stateless = true }", "add", 5, "{ i, 1 }"))
    assert.equal(5, crossings("text", "{}", "upper", 5, "'kutya'"))
    assert.equal(5, crossings("aggregate", "{}", "total", 5, "{ 0 }"))
    assert.equal(5, crossings("math", "{}", "add", 5, "{ i, 1 }",
      "local kept = image:callback('int (int)', print)"))
    assert.equal(3, crossings("callback", "{}", "apply", 3, "{ function() return 1 end, 1 }"))
  end)
end)

it("opens only functions", function()
  local image = support.map "math"
  assert.equal("argument", support.error_of(function() image:open(1) end).kind)
  mm.assert(image:unmap())
end)
