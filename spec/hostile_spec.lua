-- What an image does to its own memory must not reach its client, nor outlive a reset.
local support = require "spec.support"
local mm = require "matchmaker"

for _, guard in ipairs { "pages", "open" } do
  describe("an image that misuses its memory, guard " .. guard, function()
    support.guard(before_each, after_each)
    local function try(name, test)
      it(name, function()
        local image = mm.assert(mm.map(support.image "hostile", { guard = guard }))
        test(image, image.exports)
        image:unmap()
      end)
    end

    try("may map memory and crash in a call with text, hooks and all", function(_, call)
      for _ = 1, 3 do
        assert.equal("fault", support.error_of(call.map_then_crash, "x").kind)
        assert.equal(1, call.hook_count())
        assert.equal(3, call.length "abc")
      end
    end)

    try("may do so while it is kept open", function(image, call)
      image:open(function()
        assert.is_false(pcall(call.map_then_crash, "x"))
        assert.equal(3, call.length "abc")
        assert.equal(1, call.map_a_page())
        assert.is_true(image:reset())
        assert.equal(4, call.length "abcd")
      end)
    end)

    try("may have written to its arguments before", function(image, call)
      call.length "abc"
      call.write_argument()
      image:open(function()
        assert.is_false(pcall(call.write_argument_then_crash, "x"))
        assert.equal(3, call.length "abc")
        assert.is_true(image:reset())
        assert.equal(4, call.length "abcd")
      end)
      assert.equal(3, call.length "abc")
    end)

    try("cannot unmap or close its mailbox", function(_, call)
      assert.equal(2, call.unmap_argument "x")
      assert.equal(3, call.length "abc")
    end)

    try("gets read-only memory back by a reset", function(image, call)
      assert.equal(9, call.constant_get())
      assert.equal(0, call.constant_discard())
      assert.equal(0, call.constant_get())
      assert.is_true(image:reset())
      assert.equal(9, call.constant_get())
    end)

    try("cannot make its code writable", function(_, call)
      assert.equal(-1, call.text_writable())
    end)

    try("may map over its own mapping for ever", function(_, call)
      assert.equal(3000, call.map_over_itself(3000))
    end)

    try("cannot grow its heap over a mapping", function(_, call)
      assert.equal(1, call.brk_over_mapping())
    end)

    try("takes any number of long strings in one batch", function(image)
      local words = {}
      for i = 1, 100 do words[i] = ("x"):rep(1000000) end
      local lengths = image:batch("length", words)
      assert.equal(100, #lengths)
      assert.equal(1000000, lengths[100])
    end)
  end)
end

if rawget(_G, "jit") then
  it("a reset gives locked memory back, too, or says that it cannot", function()
    local ffi = require "ffi"
    ffi.cdef "int mlockall(int); int munlockall(void);"
    local image = mm.assert(mm.map(support.image "hostile"))
    assert.equal(101, image.exports.counter_next())
    assert.equal(0, ffi.C.mlockall(1))
    assert.equal(102, image.exports.counter_next())
    local done = image:reset()
    ffi.C.munlockall()
    if done then
      assert.equal(101, image.exports.counter_next())
    else
      assert.equal("dead", support.error_of(image.exports.counter_next).kind)
    end
    image:unmap()
  end)
end
