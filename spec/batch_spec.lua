-- Many calls for one opening of the guard.
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

it("opens only functions", function()
  local image = support.map "math"
  assert.equal("argument", support.error_of(function() image:open(1) end).kind)
  mm.assert(image:unmap())
end)
