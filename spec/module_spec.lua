local support = require "spec.support"
local mm = require "matchmaker"

local preamble = support.arena .. [[
local mm = require "matchmaker"
local math_image, text_image = ...
]]

local function run(code)
  return support.output(preamble .. code, support.image "math", support.image "text")
end

describe("the module", function()
  support.guard(before_each, after_each)

  it("connects when it is required", function()
    assert.same({}, mm.mapped())
    assert.is_true(tonumber(run "print(arena())") > 0)
  end)

  it("defines no global", function()
    assert.equal("", support.output [[
      local before = {}
      for name in pairs(_G) do before[name] = true end
      require "matchmaker"
      for name in pairs(_G) do if not before[name] then print(name) end end
    ]])
  end)

  it("knows its version", function() assert.matches("^%d+%.%d+%.%d+$", mm.version) end)

  it("has the names of the interface", function()
    assert.equal(mm.map, mm.request_map)
    for name in ("init finalize lockdown request_map request_call mapped"):gmatch "%S+" do
      assert.equal("function", type(mm[name]))
    end
  end)

  it("lists what is mapped", function()
    local image = support.map "math"
    local list = mm.mapped()
    assert.equal(1, #list)
    assert.equal(image:info().slot, list[1].slot)
    assert.matches("math.mmi$", list[1].path)
  end)

  describe("finalize", function()
    it("leaves no mapping and no signal handler", function()
      assert.equal("0\ttrue\n", run [[
        local function handlers()
          for line in io.lines "/proc/self/status" do
            if line:find "SigCgt" then return line end
          end
        end
        mm.finalize()
        local before = handlers()
        mm.init()
        local image = mm.assert(mm.map(math_image))
        image.exports.add(1, 2)
        mm.assert(mm.finalize())
        print(arena(), handlers() == before)
      ]])
    end)

    it("unmaps the images, which say so afterwards", function()
      assert.equal("not_connected\nnot_connected\nnot_connected\nnot_connected\n", run [[
        local image = mm.assert(mm.map(math_image))
        local add = image.exports.add
        add(1, 2)
        mm.assert(mm.finalize())
        print(select(2, pcall(add, 1, 2)).kind)
        print(select(2, pcall(image.exports.add_double, 1, 2)).kind)
        print(select(2, image:reset()).kind)
        print(select(2, image:info()).kind)
      ]])
    end)

    it("answers not_connected when it is called twice, and so do map and mapped", function()
      assert.equal("nil not_connected\nnil not_connected\nnil not_connected\n", run [[
        mm.assert(mm.finalize())
        local function show(value, err) print(tostring(value) .. " " .. err.kind) end
        show(mm.finalize())
        show(mm.map(math_image))
        show(mm.mapped())
      ]])
    end)

    it("leaves handles unmapped when init follows", function()
      assert.equal("unmapped\nunmapped\n3\n", run [[
        local old = mm.assert(mm.map(math_image))
        local add = old.exports.add
        add(1, 2)
        mm.assert(mm.finalize())
        mm.assert(mm.init())
        local new = mm.assert(mm.map(math_image))
        print(select(2, pcall(add, 1, 2)).kind)
        print(select(2, old:unmap()).kind)
        print(new.exports.add(1, 2))
      ]])
    end)

    it("leaves nothing behind a thousand times", function()
      local grown = run [[
        local function mappings()
          local count = 0
          for _ in io.lines "/proc/self/maps" do count = count + 1 end
          return count
        end
        local function round()
          mm.assert(mm.finalize())
          mm.assert(mm.init())
          local image = mm.assert(mm.map(math_image))
          assert(image.exports.add(1, 2) == 3)
        end
        for _ = 1, 10 do round() end
        mm.finalize()
        collectgarbage() collectgarbage()
        local before = mappings()
        mm.init()
        for _ = 1, 1000 do round() end
        mm.finalize()
        collectgarbage() collectgarbage()
        assert(arena() == 0)
        print(mappings() - before)
      ]]
      assert.is_true(tonumber(grown) <= 8, grown)
    end)
  end)

  describe("init", function()
    it("does nothing when it is connected and asked for nothing", function()
      assert.is_true(mm.init())
    end)

    it("changes the limits", function()
      assert.equal("limit\nmath\n", run [[
        mm.assert(mm.init { images = 1 })
        local image = mm.assert(mm.map(math_image))
        print(select(2, mm.map(text_image)).kind)
        mm.assert(mm.init { images = 2 })
        mm.assert(mm.map(text_image))
        print(image.exports.add(1, 2) == 3 and "math")
      ]])
    end)

    it("takes the way to keep signals away, and what to do without", function()
      assert.equal("3\n", run [[
        mm.assert(mm.finalize())
        mm.assert(mm.init { signals = "mask", without = { "fsgsbase", "inclusive", "keys" } })
        print(mm.assert(mm.map(math_image)).exports.add(1, 2))
      ]])
    end)

    local function message(...) return support.error_of(mm.init, ...).message end

    it("names an option that does not exist", function()
      assert.equal("init: there is no option `image`", message { image = 5 })
    end)

    it("names an option of the wrong type or with a wrong value", function()
      assert.equal("init: option `images` is a number of images, got a string",
        message { images = "5" })
      assert.equal("init: option `exports` is a number of exports, got -1",
        message { exports = -1 })
      assert.equal('init: option `signals` is "defer" or "mask", got "all"',
        message { signals = "all" })
      assert.equal('init: option `look` is "often" or "always", got "never"',
        message { look = "never" })
      assert.equal('init: option `without` is "fsgsbase", "inclusive", "keys" or "closing", ' ..
        'got "sud"', message { without = { "sud" } })
      assert.equal("init: option `without` is a list from 1 on, got a string as a key",
        message { without = { keys = true } })
      assert.equal("init: argument 1 is a table of options, got a string", message "images")
    end)
  end)

  describe("opened again and again", function()
    local function reopen()
      local old, old_core = package.loaded["matchmaker"], package.loaded["matchmaker.core"]
      package.loaded["matchmaker"], package.loaded["matchmaker.core"] = nil, nil
      local new = require "matchmaker"
      package.loaded["matchmaker"], package.loaded["matchmaker.core"] = old, old_core
      return new
    end

    it("works each time, with the old ones collected at any moment", function()
      for _ = 1, 50 do
        local again = reopen()
        assert.are_not.equal(mm, again)
        local image = mm.assert(again.map(support.image "math"))
        assert.equal(3, image.exports.add(1, 2))
        mm.assert(image:unmap())
        collectgarbage("step", 100)
      end
    end)

    it("keeps the images of the other opening when one is finalized", function()
      local other = reopen()
      local ours, theirs = support.map "math", mm.assert(other.map(support.image "text"))
      mm.assert(other.finalize())
      assert.equal("not_connected", support.error_of(theirs.exports.length, "x").kind)
      assert.equal(3, ours.exports.add(1, 2))
    end)

    it("keeps a function alive when its module is gone", function()
      local length
      do
        local image = mm.assert(reopen().map(support.image "text"))
        length = image.exports.length
      end
      for _ = 1, 4 do collectgarbage() end
      assert.equal(5, length("kutya"))
    end)

    it("takes images of one opening in the functions of another", function()
      local image = mm.assert(reopen().map(support.image "math"))
      assert.equal(3, mm.request_call(image, "add", 1, 2))
    end)
  end)

  describe("collected", function()
    it("unmaps an image that nobody holds", function()
      support.map "math"
      for _ = 1, 2 do collectgarbage() end
      assert.same({}, mm.mapped())
    end)

    it("keeps an image that one of its functions or pointers needs", function()
      local add = support.map("math").exports.add
      local box = support.map("pointer").exports.box_new(5)
      for _ = 1, 3 do collectgarbage() end
      assert.equal(2, #mm.mapped())
      assert.equal(3, add(1, 2))
      assert.matches("pointer.mmi$", tostring(box))
    end)

    it("ends well when a state is closed with everything in use", function()
      assert.equal("", run [[
        local image = mm.assert(mm.map(math_image))
        local text = mm.assert(mm.map(text_image))
        keep = { image, text, text.exports, image.exports.add, mm }
        image.exports.add(1, 2)
      ]])
    end)

    it("ends well when finalizers of others use it while the state is closed", function()
      assert.equal("", run [[
        local image = mm.assert(mm.map(math_image))
        local add = image.exports.add
        add(1, 2)
        local function use() pcall(add, 1, 2) pcall(tostring, image) pcall(image.info, image) end
        if newproxy then
          for _ = 1, 10 do
            local proxy = newproxy(true)
            getmetatable(proxy).__gc = use
            keep = { keep, proxy }
          end
        else
          for _ = 1, 10 do keep = { keep, setmetatable({}, { __gc = use }) } end
        end
      ]])
    end)

    if rawget(_G, "jit") then
      it("serves two states in one process, each with a connection of its own", function()
        assert.equal("42\n7\n0\n", run [[
          local ffi = require "ffi"
          ffi.cdef "void *luaL_newstate(void); void luaL_openlibs(void *); void lua_close(void *);"
          ffi.cdef "int luaL_loadstring(void *, const char *);"
          ffi.cdef "int lua_pcall(void *, int, int, int);"
          local other = ffi.C.luaL_newstate()
          ffi.C.luaL_openlibs(other)
          local code = ('package.path, package.cpath = %q, %q local mm = require "matchmaker"' ..
            ' print(mm.assert(mm.map(%q)).exports.add(40, 2)) io.flush()'):format(package.path,
            package.cpath, math_image)
          assert(ffi.C.luaL_loadstring(other, code) == 0)
          assert(ffi.C.lua_pcall(other, 0, 0, 0) == 0)
          ffi.C.lua_close(other)
          print(mm.assert(mm.map(math_image)).exports.add(3, 4))
          mm.assert(mm.finalize())
          print(arena())
        ]])
      end)
    end
  end)
end)
