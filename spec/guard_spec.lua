-- The guards, as a Lua program sees them; spec/unit/stray_test.c looks closer.
local shell = require "spec.shell"
local support = require "spec.support"
local mm = require "matchmaker"

-- How many pages of an image may be written, executed, read now, by /proc/self/maps.
local function open_pages(image)
  local base, counts = image:info().base, { w = 0, x = 0, r = 0 }
  for line in io.lines("/proc/self/maps") do
    local low, high, r, w, x = line:match("^(%x+)-(%x+) (.)(.)(.)")
    low, high = tonumber(low, 16), tonumber(high, 16)
    if low >= base and low < base + 2 ^ 36 then
      local pages = (high - low) / 4096
      if r == "r" then counts.r = counts.r + pages end
      if w == "w" then counts.w = counts.w + pages end
      if x == "x" then counts.x = counts.x + pages end
    end
  end
  return counts
end

describe("the guard `pages`", function()
  support.guard(before_each, after_each)

  local function closed(image)
    local counts = open_pages(image)
    return counts.w == 0 and counts.x == 0 and counts.r > 0
  end

  it("is the default, where there are no protection keys", function()
    local image = mm.assert(mm.map(support.image "math"))
    if image:info().guard == "keys" then return image:unmap() end
    assert.equal("pages", image:info().guard)
    assert.is_true(closed(image))
    image:unmap()
  end)

  it("leaves nothing open after calls, faults and resets", function()
    for _, name in ipairs { "crash", "hook", "memory", "text" } do
      local image = mm.assert(mm.map(support.image(name), { guard = "pages" }))
      assert.is_true(closed(image), name)
      if name == "text" then image.exports.length(("x"):rep(100000)) end
      if name == "memory" then image.exports.keep(2 ^ 20, 1) end
      if name == "crash" then support.error_of(image.exports.write_null) end
      if name == "hook" then support.error_of(image.exports.crash) end
      assert.is_true(closed(image), name)
      mm.assert(image:reset())
      assert.is_true(closed(image), name)
      image:unmap()
    end
  end)

  it("opens what a call needs, however scattered, and closes it", function()
    local image = mm.assert(mm.map(support.image "memory", { guard = "pages" }))
    local call = image.exports
    local sum = call.field_mark()
    for _, stride in ipairs { 1, 5, 6, 7, 64, 6 } do
      local changed = math.ceil((2048 - 3) / stride)
      assert.equal(changed, call.scatter(3, stride))
      assert.is_true(closed(image))
      assert.not_equal(sum, call.field_mark())
      assert.equal(changed, call.scatter(3, stride))
      assert.equal(sum, call.field_mark())
      call.scatter(3, stride)
      assert.is_true(image:reset())
      assert.equal(sum, call.field_mark())
      assert.is_true(closed(image))
    end
    image:unmap()
  end)

  it("forgets what calls needed long ago, and learns it again", function()
    local image = mm.assert(mm.map(support.image "memory", { guard = "pages" }))
    local call = image.exports
    local sum = call.field_mark()
    for round = 1, 3 do
      for i = 1, 1100 do
        assert.equal((round - 1) * 1100 + 100 + i, call.counter_next())
        if i % 100 == 0 then call.scatter(i, 600) call.scatter(i, 600) end
      end
    end
    assert.equal(sum, call.field_mark())
    assert.is_true(closed(image))
    call.scatter(1, 6)
    assert.is_true(image:reset())
    assert.equal(sum, call.field_mark())
    assert.equal(101, call.counter_next())
    image:unmap()
  end)

  -- How often the kernel was told, in one call of those that came after many.
  local function changes(image, name, ...)
    for _ = 1, 50 do image.exports[name](...) end
    local before = image:info().guard_changes
    for _ = 1, 10 do image.exports[name](...) end
    return (image:info().guard_changes - before) / 10
  end

  it("asks the kernel rarely: once to open a piece, once to close many", function()
    local math = mm.assert(mm.map(support.image "math", { guard = "pages" }))
    assert.equal(4, changes(math, "add", 1, 2)) -- the stack and the code, which lie far apart
    math:unmap()
    local text = mm.assert(mm.map(support.image "text", { guard = "pages" }))
    local staged = changes(text, "join", "one", "two")
    assert.is_true(staged <= 20, staged) -- some 14 pieces, which two or three calls close
    text:unmap()
  end)

  it("costs what a call touches, however big the image is", function()
    local counts = {}
    for i, mebibytes in ipairs { 2, 64 } do
      local path = os.tmpname()
      shell.output(("%s -o %s %s %d"):format(shell.launcher, path, shell.fixture "big", mebibytes))
      local image = mm.assert(mm.map(path, { guard = "pages" }))
      for page = 0, mebibytes * 256 - 1 do image.exports.sum_page(page) end
      counts[i] = { changes(image, "add", 1, 2), changes(image, "sum_page", 7),
        changes(image, "touch", 1), changes(image, "touch", 100) }
      image:unmap()
      os.remove(path)
    end
    assert.same(counts[1], counts[2])
    assert.equal(4, counts[1][1])
    assert.equal(counts[1][3], counts[1][4])
  end)

  it("leaves nothing open after calls that never happened", function()
    local image = mm.assert(mm.map(support.image "text", { guard = "pages" }))
    for _ = 1, 2 do -- the second time, the mailbox opens with the stack that the first call needed
      support.error_of(image.exports.join, "staged", 42)
      support.error_of(image.exports.length)
      assert.is_true(closed(image))
      assert.equal("ab", image.exports.join("a", "b"))
      assert.is_true(closed(image))
    end
    image:unmap()
  end)

  it("names a stray write, then kills as a SIGSEGV does", function()
    if not rawget(_G, "jit") then return end -- only an FFI can
    local result = support.run([[
      local mm, ffi = require "matchmaker", require "ffi"
      local image = mm.assert(mm.map(..., { guard = "pages" }))
      for line in io.lines("/proc/self/maps") do
        local low = tonumber(line:match("^%x+"), 16)
        if low >= image:info().base and line:match("^%S+ r") then
          ffi.cast("char *", low)[0] = 1
        end
      end
      print "it went on"
    ]], support.image "gate")
    assert.equal(11, result.signal)
    assert.equal("", result.stdout)
    assert.matches("rejected: client code at 0x%x+ was writing 0x%x+ in %S+/gate%.mmi, " ..
      "not through the gate", result.stderr)
  end)

  it("turns a raw call of an export through an FFI into a call", function()
    if not rawget(_G, "jit") then return end
    local output = support.output([[
      local mm, ffi = require "matchmaker", require "ffi"
      local image = mm.assert(mm.map(..., { guard = "pages" }))
      local entry = image.exports.address_of(1)
      local counter_get = ffi.cast("int (*)(void)", entry)
      for _ = 1, 200 do assert(counter_get() == 100) end
      print(counter_get(), image:info().calls)
    ]], support.image "gate")
    assert.equal("100\t202\n", output)
  end)

  it("names a raw call that is none of an export, then kills", function()
    if not rawget(_G, "jit") then return end
    local result = support.run([[
      local mm, ffi = require "matchmaker", require "ffi"
      local image = mm.assert(mm.map(..., { guard = "pages" }))
      ffi.cast("int (*)(void)", image.exports.address_of(1) + 1)()
    ]], support.image "gate")
    assert.equal(11, result.signal)
    assert.matches("was executing 0x%x+ %(counter_get%+0x1%) in %S+/gate%.mmi", result.stderr)
  end)
end)

describe("the guard `open`", function()
  support.guard(before_each, after_each)

  it("changes no permission", function()
    local image = mm.assert(mm.map(support.image "crash", { guard = "open" }))
    local before = open_pages(image)
    assert.is_true(before.w > 0 and before.x > 0)
    image.exports.counter_set(5)
    assert.same(before, open_pages(image))
    support.error_of(image.exports.write_null)
    assert.same(before, open_pages(image))
    assert.equal(100, image.exports.counter_get())
    image:unmap()
  end)
end)

describe("the map options", function()
  support.guard(before_each, after_each)

  it("`sealed` keeps an image from being read at rest, but for the interface", function()
    local image = mm.assert(mm.map(support.image "text", { guard = "pages", sealed = true }))
    assert.is_true(image:info().sealed)
    assert.equal(0, open_pages(image).r)
    assert.equal("onetwo", image.exports.join("one", "two"))
    assert.equal(("x"):rep(100000), image.exports.echo(("x"):rep(100000)))
    assert.equal(0, open_pages(image).r)
    mm.assert(image:reset())
    assert.equal(0, open_pages(image).r)
    image:unmap()
  end)

  it("`stateless` forgets every call, also in a batch", function()
    local image = mm.assert(mm.map(support.image "math", { stateless = true }))
    assert.is_true(image:info().stateless)
    for _ = 1, 3 do assert.equal(101, image.exports.counter_next()) end
    assert.same({ 101, 101, 101 }, image:batch("counter_next", { {}, {}, {} }))
    assert.equal(101, image:open(function()
      image.exports.counter_next()
      return image.exports.counter_next()
    end))
    image:unmap()
  end)

  it("`strict` ends a call that jumps into the client's code, and gives it back", function()
    local image = mm.assert(mm.map(support.image "jump", { strict = true }))
    assert.is_true(image:info().strict)
    local code
    for line in io.lines("/proc/self/maps") do
      code = code or tonumber(line:match("^(%x+)%-%x+ r%-xp.*/libc%.so") or "", 16)
    end
    for _ = 1, 2 do
      local err = support.error_of(image.exports.jump, code)
      assert.equal("fault", err.kind)
      assert.matches("executing client code", err.message)
      assert.equal(7, image.exports.wait_long(10))
    end
    image:unmap()
  end)

  it("`keys` is refused in one line where there are none", function()
    local image, err = mm.map(support.image "math", { guard = "keys" })
    if image then return image:unmap() end
    assert.equal("unsupported", err.kind)
    assert.matches("lack protection keys$", err.message)
  end)
end)
