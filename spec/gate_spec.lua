-- The gate, as a Lua program sees it: values, state and signals on both sides; spec/unit/gate_test.c looks closer.
local support = require "spec.support"
local mm = require "matchmaker"

-- Every way in which calls can be made on this machine: { guard, configuration of the library }.
local ways = {
  { "pages", {} },
  { "open", {} },
  { "open", { without = "inclusive" } },
  { "open", { without = "fsgsbase" } },
  { "pages", { without = { "inclusive", "fsgsbase" }, signals = "mask" } },
}

local function describe_way(way)
  local without = way[2].without or "nothing"
  if type(without) == "table" then without = table.concat(without, " and ") end
  return ("guarded by %s, without %s"):format(way[1], without)
end

for _, way in ipairs(ways) do
  describe("a call " .. describe_way(way), function()
    -- What the library does without is read when it connects.
    setup(function()
      collectgarbage() collectgarbage()
      while mm.finalize() do end
      mm.assert(mm.init(way[2]))
    end)
    teardown(function()
      collectgarbage() collectgarbage()
      while mm.finalize() do end
      mm.assert(mm.init())
    end)

    local image
    local function map(name)
      image = mm.assert(mm.map(support.image(name), { guard = way[1] }))
      return image.exports
    end
    after_each(function() image:unmap() end)
    support.guard(before_each, after_each)

    it("passes twenty arguments, in registers and on the stack", function()
      local mix = map("math").mix
      assert.equal(2870, mix(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20))
      assert.equal(12, mix(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0))
    end)

    it("passes long doubles, aligned", function()
      local exports = map "math"
      assert.equal(385, exports.align_long(1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
      assert.equal(91, exports.mix_long(1, 2, 3, 4, 5, 6))
      for _ = 1, 20 do assert.equal(0.1, exports.f80(0.1)) end
    end)

    it("computes with the image's own rounding, and the client with its own", function()
      local exports = map "rounding"
      local tenth = 1 / 10
      assert.equal(2, exports.rounding_sse())
      assert.equal(2, exports.rounding_x87())
      assert.is_true(exports.quotient(1, 3) > 1 / 3)
      assert.equal(1, exports.round_down())
      assert.equal(2, exports.rounding_sse())
      assert.equal(tenth, 1 / (5 + 5))
      assert.equal(0.1 + 0.2, tenth + 1 / 5)
    end)

    it("repairs what the image spoilt", function()
      local exports = map "crash"
      for _, name in ipairs { "registers", "stack_pointer", "direction", "mxcsr", "x87_control",
          "x87_stack", "x87_pending", "all" } do
        for _ = 1, 3 do assert.equal(7, exports["spoil_" .. name]()) end
        assert.equal(0.1 + 0.2, 3 * 0.1)
        assert.equal("2.5", ("%.1f"):format(10 / 4))
      end
    end)

    it("keeps the image's thread-local storage and errno", function()
      local exports = map "tls"
      assert.equal(18, exports.number_get())
      exports.number_set(5)
      assert.equal(33, exports.errno_set(9))
      assert.is_nil(io.open "/nowhere/at/all") -- errno of the client
      assert.equal(9, exports.errno_get())
      assert.equal(5, exports.number_get())
      assert.equal(0, exports.zeros_sum())
    end)

    it("answers after a fault as before", function()
      local exports = map "crash"
      for _ = 1, 5 do
        assert.equal("SIGSEGV", support.error_of(exports.spoil_all_then_crash).signal)
        assert.equal(7, exports.spoil_all())
        assert.equal(100, exports.counter_get())
      end
    end)
  end)
end
