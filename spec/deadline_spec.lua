-- Calls that may take only so long.
local support = require "spec.support"
local mm = require "matchmaker"

for _, guard in ipairs { "pages", "open" } do
  describe("a deadline, guard " .. guard, function()
    support.guard(before_each, after_each)

    local function map(name, timeout)
      return mm.assert(mm.map(support.image(name), { guard = guard, timeout = timeout }))
    end

    it("ends a call that never ends, and the image is reset", function()
      local image = map("crash", 0.05)
      image.exports.counter_set(7)
      local err = support.error_of(image.exports.spin)
      assert.equal("deadline", err.kind)
      assert.equal("spin", err.export)
      assert.equal("spin", err.symbol)
      assert.is_true(err.was_reset)
      assert.matches("^spin: the call took longer than it may in spin%+0x%x+ %(crash%); " ..
        "the image was reset$", tostring(err))
      assert.equal(100, image.exports.counter_get())
      image:unmap()
    end)

    it("leaves the image dead if that was asked for", function()
      local image = mm.assert(mm.map(support.image "crash",
        { guard = guard, timeout = 0.02, on_fault = "dead" }))
      assert.equal("deadline", support.error_of(image.exports.spin).kind)
      assert.equal("dead", support.error_of(image.exports.counter_get).kind)
      assert.is_true(image:reset())
      assert.equal(100, image.exports.counter_get())
      image:unmap()
    end)

    it("may be set for one call", function()
      local image = map "crash"
      assert.equal("deadline",
        support.error_of(function() image:call { "spin", timeout = 0.02 } end).kind)
      assert.equal(100, image:call { "counter_get", timeout = 30 })
      image:unmap()
      image = map "syscall"
      assert.equal(0, image:call { "nap", 1, timeout = 0.3 })
      assert.equal(0, image.exports.nap(400))
      image:unmap()
    end)

    it("is stricter or laxer for one call than for the image", function()
      local image = map("crash", 1000)
      assert.equal("deadline",
        support.error_of(function() image:call { "spin", timeout = 0.02 } end).kind)
      image:unmap()
      image = map("syscall", 0.05)
      assert.equal("deadline", support.error_of(image.exports.nap, 300).kind)
      assert.equal(0, image:call { "nap", 100, timeout = 30 })
      image:unmap()
    end)

    it("ends a call that waits in the kernel", function()
      local image = map("syscall", 0.05)
      local err = support.error_of(image.exports.nap, 100000000)
      assert.equal("deadline", err.kind)
      assert.is_true(image.exports.process() > 0)
      image:unmap()
    end)

    it("does not touch calls that end in time, however many", function()
      local image = map("math", 100)
      for i = 1, 200 do assert.equal(i + 1, image.exports.add(i, 1)) end
      assert.equal(0, image:info().faults)
      image:unmap()
    end)

    it("ends calls inside calls with the outermost one", function()
      local image, other = map("nested", 0.05), map "crash"
      local err = support.error_of(function() image.exports.recurse(10 ^ 9) end)
      assert.is_true(err.kind == "deadline" or err.kind == "fault")
      assert.equal(100, other.exports.counter_get())
      other:unmap()
      image:unmap()
    end)

    it("ends one call of a batch, which tells which", function()
      local image = map("syscall", 0.1)
      local err = support.error_of(function() image:batch("nap", { 1, 1, 100000000, 1 }) end)
      assert.equal("deadline", err.kind)
      assert.equal(3, err.call)
      image:unmap()
    end)

    it("can end a hundred calls in a row", function()
      local image = map "crash" -- the last call is to take its time
      local function spin() image:call { "spin", timeout = 0.002 } end
      for _ = 1, 100 do assert.equal("deadline", support.error_of(spin).kind) end
      assert.equal(100, image:info().faults)
      assert.equal(100, image.exports.counter_get())
      image:unmap()
    end)
  end)
end

it("is a number of seconds", function()
  for _, timeout in ipairs { 0, -1, "1", 1e300, 0 / 0 } do
    assert.equal("argument", support.error_of(mm.map, support.image "math",
      { timeout = timeout }).kind)
  end
end)
