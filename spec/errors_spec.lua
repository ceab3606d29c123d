local support = require "spec.support"
local shell = require "spec.shell"
local mm = require "matchmaker"

describe("an error", function()
  support.guard(before_each, after_each)
  local folder = shell.folders(before_each, after_each)

  it("prints as its message", function()
    local _, err = mm.map "/nowhere/x.mmi"
    assert.equal("missing", err.kind)
    assert.equal("/nowhere/x.mmi: No such file or directory", tostring(err))
    assert.equal(tostring(err), err.message)
  end)

  it("is joined with text as its message", function()
    local _, err = mm.map "/nowhere/x.mmi"
    local text = "/nowhere/x.mmi: No such file or directory"
    assert.equal("why: " .. text, "why: " .. err)
    assert.equal(text .. 7, err .. 7)
    assert.equal(text .. text, err .. err)
    assert.matches("concatenate", support.error_of(function() return err .. {} end))
  end)

  it("is one line that a terminal does not obey, whatever names are in it", function()
    local _, err = mm.map "/nowhere/a\nb\27[1mc\127.mmi"
    assert.equal("/nowhere/a b [1mc .mmi: No such file or directory", err.message)
    assert.equal("/nowhere/a\nb\27[1mc\127.mmi", err.image)
    local path = shell.write(folder "a\27[1m\nb", shell.read(support.image "math"):sub(1, 100))
    for _, try in ipairs { mm.map, mm.inspect } do
      assert.equal(folder "a [1m b: is damaged: truncated, 100 of at least 120 bytes are there",
        select(2, try(path)).message)
    end
  end)

  it("carries the status and the errno of the C interface", function()
    local _, err = mm.map "/nowhere/x.mmi"
    assert.equal(-10, err.status)
    assert.equal(2, err.errno)
    assert.equal("/nowhere/x.mmi", err.image)
  end)

  it("has the facts that apply and no others", function()
    local err = support.error_of(support.map("math").exports.add, 1)
    for _, fact in ipairs { "signal", "address", "symbol", "exit_status", "was_reset", "errno" } do
      assert.is_nil(err[fact])
    end
  end)

  it("says where in the Lua program it happened", function()
    local add = support.map("math").exports.add
    local err = support.error_of(function() return (add(1)) end)
    assert.matches("errors_spec.lua:%d+:", err.where)
  end)

  describe("of a fault", function()
    it("has the facts of a crash", function()
      local image = support.map "crash"
      local err = support.error_of(image.exports.write_null)
      assert.equal("fault", err.kind)
      assert.equal("SIGSEGV", err.signal)
      assert.equal("writing", err.access)
      assert.equal(0, err.address)
      assert.equal("write_null", err.symbol)
      assert.equal("write_null", err.export)
      assert.equal("crash", err.module)
      assert.matches("crash.mmi$", err.image)
      assert.is_true(err.was_reset)
      local info = image:info()
      assert.is_true(err.instruction > info.base and err.offset < 64)
      assert.equal(("write_null: SIGSEGV writing 0x0 in write_null+0x%x (crash); " ..
        "the image was reset"):format(err.offset), err.message)
    end)

    it("names the access", function()
      local exports = support.map("crash").exports
      assert.equal("reading", support.error_of(exports.read_null).access)
      assert.equal("executing", support.error_of(exports.execute_null).access)
    end)

    it("names the signal", function()
      local exports = support.map("crash").exports
      assert.equal("SIGFPE", support.error_of(exports.divide, 1, 0).signal)
      assert.equal("SIGILL", support.error_of(exports.illegal).signal)
      assert.equal("SIGTRAP", support.error_of(exports.trap).signal)
      assert.equal("SIGABRT", support.error_of(exports.call_abort).signal)
    end)

    it("has the status that the image gave to exit", function()
      local err = support.error_of(support.map("crash").exports.call_exit, 3)
      assert.equal("exit", err.kind)
      assert.equal(3, err.exit_status)
      assert.is_true(err.was_reset)
      assert.is_nil(err.signal)
    end)

    it("leaves an image usable that was reset", function()
      local image = support.map "crash"
      image.exports.counter_set(7)
      support.error_of(image.exports.write_null)
      assert.equal(100, image.exports.counter_get())
      assert.equal(1, image:info().faults)
    end)

    it("leaves an image dead that was mapped so, until it is reset", function()
      local image = support.map("crash", { on_fault = "dead" })
      local err = support.error_of(image.exports.write_null)
      assert.is_false(err.was_reset)
      assert.matches("the image is dead$", err.message)
      assert.equal("dead", support.error_of(image.exports.counter_get).kind)
      assert.is_true(image:info().dead)
      mm.assert(image:reset())
      assert.equal(100, image.exports.counter_get())
    end)
  end)

  describe("of a call", function()
    it("shows the prototype when the number of arguments is wrong", function()
      local exports = support.map("math").exports
      local err = support.error_of(exports.add, 1)
      assert.equal("count", err.kind)
      assert.equal("add: 2 arguments expected, got 1: `int add(int a, int b)`", err.message)
      assert.equal("add", err.export)
      err = support.error_of(exports.i8)
      assert.equal("i8: 1 argument expected, got 0: `int8_t i8(int8_t value)`", err.message)
      assert.equal("count", support.error_of(exports.add, 1, 2, nil).kind)
    end)

    it("names the argument, its type and what came", function()
      local err = support.error_of(support.map("text").exports.join, "a", 42)
      assert.equal("type", err.kind)
      assert.equal("join: argument 2 is `const char *`, got a number: "
        .. "`const char *join(const char *a, const char *b)`", err.message)
      assert.equal(2, err.argument)
      assert.equal("join", err.export)
      assert.equal("const char *join(const char *a, const char *b)", err.prototype)
    end)

    it("says what came, for every Lua type", function()
      local image = support.map "text"
      local pointer = support.map("pointer").exports.box_kept()
      local function got(value)
        local message = support.error_of(image.exports.length, value).message
        return message:match "got (.*): `unsigned long length"
      end
      assert.equal("a boolean", got(true))
      assert.equal("a table", got {})
      assert.equal("a function", got(print))
      assert.equal("userdata", got(io.stdout))
      assert.equal("a coroutine", got(coroutine.create(function() end)))
      assert.equal("an image", got(image))
      assert.equal("an image's function", got(image.exports.length))
      assert.equal("a pointer `struct box *`", got(pointer))
      local int = support.map("math").exports.i32
      assert.matches("got mm.null: `", support.error_of(int, mm.null).message)
    end)

    it("is the same whichever way the call goes", function()
      local image = support.map "math"
      local expected = "add: argument 2 is `int`, got a string: `int add(int a, int b)`"
      local add = image.exports.add
      local function often(f) -- no upvalue: a trace would keep it, and the image with it
        for i = 1, 300 do f(i, i < 300 and i or "x") end
      end
      local ways = {
        ["the export"] = function() add(1, "x") end,
        ["its name"] = function() mm.request_call(image, "add", 1, "x") end,
        ["a table"] = function() image:call { "add", 1, "x" } end,
        ["what bind gave"] = function() image:bind("add", "int (int, int)")(1, "x") end,
        ["an open image"] = function() image:open(function() add(1, "x") end) end,
        ["a trace"] = function() often(add) end,
      }
      for way, call in pairs(ways) do
        local err = support.error_of(call)
        assert.equal(expected, err.message, way)
        assert.same({ "add", 2, "int add(int a, int b)" },
          { err.export, err.argument, err.prototype }, way)
      end
      local err = support.error_of(image.batch, image, "add", { { 1, 2 }, { 1, "x" } })
      assert.equal(expected .. " (call 2 of the batch)", err.message)
      assert.equal(2, err.argument)
      mm.assert(image:unmap())
    end)

    it("names the argument that only the call itself can judge", function()
      local image = support.map "pointer"
      local box = image.exports.box_kept()
      mm.assert(image:reset())
      local err = support.error_of(image.exports.box_get, box)
      assert.equal("box_get: argument 1 is a pointer from before the image was reset: "
        .. "`int box_get(const struct box *box)`", err.message)
      assert.equal(1, err.argument)
    end)

    it("says that the image was unmapped", function()
      local image = support.map "math"
      local add = image.exports.add
      add(1, 2)
      mm.assert(image:unmap())
      assert.equal("unmapped", support.error_of(add, 1, 2).kind)
      assert.equal("unmapped", support.error_of(image.exports.add_double, 1, 2).kind)
      assert.equal("add: the image is not mapped any more", support.error_of(add, 1, 2).message)
    end)

    it("is an object also for calls on something else", function()
      local image = support.map "math"
      assert.equal("reset: argument 1 is an image, got a number",
        support.error_of(image.reset, 5).message)
      assert.equal("request_call: argument 1 is an image, got nothing",
        support.error_of(mm.request_call).message)
      assert.equal("request_call: the name of an export is a string, got a number",
        support.error_of(mm.request_call, image, 5).message)
      assert.equal("argument", support.error_of(image.bind, image, {}).kind)
    end)
  end)

  describe("of a name", function()
    it("suggests one that is near", function()
      local exports = support.map("math").exports
      local err = support.error_of(function() return exports.ad end)
      assert.equal("no_export", err.kind)
      assert.equal("math.mmi has no export `ad`; did you mean `add`?", err.message)
    end)

    it("suggests none when none is near", function()
      local image = support.map "math"
      for _, f in ipairs { mm.request_call, image.bind } do
        local err = support.error_of(f, image, "hippopotamus")
        assert.equal("math.mmi has no export `hippopotamus`", err.message)
      end
    end)

    it("is raised for a key that is no name", function()
      local exports = support.map("math").exports
      assert.equal("no_export", support.error_of(function() return exports[1] end).kind)
    end)

    it("refuses to add one", function()
      local exports = support.map("math").exports
      local err = support.error_of(function() exports.mine = print end)
      assert.equal("math.mmi: exports are not assigned to", err.message)
    end)
  end)

  describe("of a binding", function()
    it("shows both prototypes when they differ", function()
      local image = support.map "math"
      local err = support.error_of(image.bind, image, "add", "int (int, long)")
      assert.equal("signature", err.kind)
      assert.equal("add: expected `int add(int, long)`, the image has `int add(int a, int b)`",
        err.message)
    end)

    it("says that a text is no prototype", function()
      local image = support.map "math"
      assert.equal("prototype", support.error_of(image.bind, image, "add", "int (int,").kind)
    end)

    it("shows where a text is no prototype, with a caret", function()
      local image = support.map "math"
      local err = support.error_of(image.bind, image, "add", "int (int,\n nothing x)")
      assert.equal("int (int,  nothing x)", err.text)
      assert.equal(12, err.column)
      assert.equal("int (int,  nothing x)\n           ^", err.excerpt)
      assert.is_nil(err.message:find("\n", 1, true))
      local long = ("int (%snothing x)"):format(("int, "):rep(50))
      err = support.error_of(image.bind, image, "add", long)
      assert.equal(256, err.column)
      local text, caret = err.excerpt:match("^(.-)\n( *)%^$")
      assert.equal("nothing", text:sub(#caret + 1, #caret + 7))
      assert.is_nil(support.error_of(image.exports.add, 1).column)
    end)

    it("tells of the C text of a callback or a type, too, which method it was given to", function()
      local image = support.map "math"
      local err = support.error_of(image.callback, image, "int (int", print)
      assert.equal("callback: prototype: expected `,` or `)` before the end, at column 9 of " ..
        "`int (int`", err.message)
      assert.matches("math.mmi$", err.image)
      for what, f in pairs {
        ["bind: argument 3 is a prototype or nil"] = function(text) image:bind("add", text) end,
        ["callback: argument 2 is a prototype"] = function(text) image:callback(text, print) end,
        ["new: argument 2 is a C type"] = function(text) image:new(text) end,
      } do
        assert.equal(what .. ", which holds a NUL", support.error_of(f, "int (int, int)\0").message)
        assert.equal(what .. ", got a boolean", support.error_of(f, true).message)
      end
    end)
  end)

  describe("of mapping", function()
    it("is returned when the operation failed, and raised when the call was wrong", function()
      assert.equal("request_map: argument 1 is the path of an image, got nothing",
        support.error_of(mm.map).message)
      assert.equal("request_map: the path holds a NUL at position 2",
        support.error_of(mm.map, "a\0b").message)
      assert.equal("request_map: argument 2 is a table of options, got a number",
        support.error_of(mm.map, "x", 5).message)
    end)

    it("tells a file that is no image", function()
      local image, err = mm.map "Makefile"
      assert.is_nil(image)
      assert.equal("not_an_image", err.kind)
      assert.equal("not_a_file", select(2, mm.map "spec").kind)
    end)

    it("tells a slot that is taken", function()
      local image = support.map "math"
      local again, err = mm.map(support.image "math")
      assert.is_nil(again)
      assert.equal("slot_taken", err.kind)
      assert.matches("is mapped already", err.message)
      mm.assert(image:unmap())
    end)

    it("tells the needs that were not granted", function()
      local image, err = mm.map(support.image "need_output")
      assert.is_nil(image)
      assert.equal("needs", err.kind)
      assert.is_not_nil(support.map("need_output", { grant = "output" }))
    end)

    it("names an option that does not exist or has a wrong value", function()
      local function message(options) return support.error_of(mm.map, "x", options).message end
      assert.equal("request_map: there is no option `gaurd`", message { gaurd = "open" })
      assert.equal('request_map: option `guard` is "pages", "open" or "keys", got "none"',
        message { guard = "none" })
      assert.equal('request_map: option `on_fault` is "reset" or "dead", got a boolean',
        message { on_fault = true })
      assert.equal("request_map: option `verify` is true or false, got a number",
        message { verify = 1 })
      assert.equal("request_map: option `memory` is a number of bytes, got 0.5",
        message { memory = 0.5 })
      assert.equal("request_map: option `timeout` is a number of seconds, from 1e-6 to 1e9, got 0",
        message { timeout = 0 })
      assert.matches('^request_map: option `grant` is .*, got "disk"$',
        message { grant = { "output", "disk" } })
      assert.equal("request_map: the name of an option is a string, got a number",
        message { "open" })
    end)
  end)
end)
