local support = require "spec.support"
local shell = require "spec.shell"
local mm = require "matchmaker"

describe("a server in Lua", function()
  support.guard(before_each, after_each)
  local folder = shell.folders(before_each, after_each)

  -- What the launcher said to a script, run by the Lua that runs this spec.
  local function launch(code, words)
    shell.write(folder "server.lua", 'local server = require "matchmaker.server"\n' .. code)
    return shell.run(("LUA_PATH=%s LUA_CPATH=%s MATCHMAKER_LUA=%s %s -o %s %s %s"):format(
      shell.quote(package.path), shell.quote(package.cpath), support.lua, shell.launcher,
      folder "x.mmi", folder "server.lua", words or ""))
  end

  -- Maps the image of a script that has to succeed.
  local function serve(code, use, options, words)
    local result = launch(code .. "\nserver.snapshot()", words)
    assert.equal("", result.stderr)
    assert.equal(0, result.status)
    local image = mm.assert(mm.map(folder "x.mmi", options))
    use(image.exports, image)
    mm.assert(image:unmap())
  end

  local function complaint(code)
    local result = launch(code)
    assert.equal(1, result.status)
    return result.stderr
  end

  it("exports functions of a library, with no C written", function()
    serve([=[
      local functions = server.load("libz.so.1", [[
        /* of zlib.h; */
        typedef unsigned char Bytef; // a byte;
        extern unsigned long crc32(unsigned long crc, const Bytef *bytes, unsigned int count);
        const char *zlibVersion(void);
      ]])
      server.load("libm.so.6", "double cos(double x); struct pair { int a, b; };")
      server.load(nil, "void (*signal(int number, void (*handler)(int)))(int);" ..
        "struct pair; int abs(int);")
      server.export(functions.zlibVersion, "const char *version(void)", "zlib's")
    ]=], function(exports)
      assert.equal(1, exports.cos(0))
      assert.match("^%d+%.%d+", exports.version())
      assert.equal("zlib's", exports.version.doc)
      assert.equal(7, exports.abs(-7))
      assert.equal(
        "unsigned long crc32(unsigned long crc, const Bytef *bytes, unsigned int count)",
        exports.crc32.prototype)
    end)
  end)

  it("exports functions of its warm state", function()
    serve([[
      local squares = {}
      for i = 1, 50000 do squares["n" .. i] = i * i end
      local calls = 0
      server.export_lua("square", "double (const char *word)", function(word)
        calls = calls + 1
        return squares[word] or -1
      end, "from the table")
      server.export_lua("calls", "int calls(void)", function() return calls end)
      server.export_lua("argument", "const char *(void)", function() return arg[1] end)
    ]], function(exports, image)
      assert.equal(2500000000, exports.square "n50000")
      assert.equal(-1, exports.square "none")
      assert.equal(2, exports.calls())
      mm.assert(image:reset())
      assert.equal(0, exports.calls())
      assert.equal("from the table", exports.square.doc)
      assert.equal("double square(const char *word)", exports.square.prototype)
      assert.equal("given", exports.argument())
    end, nil, "given")
  end)

  it("passes every scalar, in registers and in memory", function()
    serve([=[
      server.load(nil, "enum color { RED = 1, BLUE = 7 };")
      local function echo(...) return ... end
      for name, kind in pairs {
        schar = "signed char", uchar = "unsigned char", short = "short", ushort = "unsigned short",
        int = "int", uint = "unsigned int", long = "long", ulong = "unsigned long",
        float = "float", double = "double", bool = "bool", color = "enum color",
        text = "const char *", pointer = "void *" } do
        server.export_lua("echo_" .. name, ("%s (%s value)"):format(kind, kind), echo)
      end
      server.export_lua("list", "const char *(int a, double b, long c, float d, short e, " ..
        "signed char f, bool g, unsigned h, double i, int j, double k, double l, double m, " ..
        "double n, double o, double p, float q, unsigned char r)", function(...)
        local words = { ... }
        for i, word in ipairs(words) do words[i] = type(word) == "boolean" and tostring(word)
          or ("%g"):format(word) end
        return table.concat(words, " ")
      end)
      server.export_lua("length", "int (const void *bytes, int count)", function(bytes, count)
        return #server.string(bytes, count)
      end)
      server.export_lua("nothing", "void (void)", function() return "ignored" end)
    ]=], function(exports)
      local extremes = { schar = { -128, 127 }, uchar = { 0, 255 }, short = { -32768, 32767 },
        ushort = { 0, 65535 }, int = { -2147483648, 2147483647 }, uint = { 0, 4294967295 },
        long = { -9007199254740991, 9007199254740991 }, ulong = { 0, 9007199254740991 },
        float = { -0.5, 1.5 }, double = { 1e-300, 1e300 } }
      for name, values in pairs(extremes) do
        for _, value in ipairs(values) do assert.equal(value, exports["echo_" .. name](value)) end
      end
      assert.equal(true, exports.echo_bool(true))
      assert.equal(false, exports.echo_bool(false))
      assert.equal(7, tonumber(exports.echo_color(7)))
      assert.equal("árvíztűrő", exports.echo_text "árvíztűrő")
      assert.is_nil(exports.echo_text(mm.null))
      assert.is_nil(exports.nothing())
      assert.equal("1 2.5 -3 4.5 -5 -6 true 8 9 10 11 12 13 14 15 16 17.5 255",
        exports.list(1, 2.5, -3, 4.5, -5, -6, true, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17.5, 255))
    end)
  end)

  it("ends a call by an error in its function, with the message, and goes on", function()
    serve([[
      local count = 0
      server.export_lua("fail", "int (int x)", function(x)
        count = count + 1
        if x > 0 then error("no\nsuch thing: " .. x) end
        if x < 0 then error({}) end
        return count
      end)
      server.export_lua("deep", "int (void)", function()
        local function f() return 1 + f() end
        return f()
      end)
      for name, value in pairs { text = "x", real = 1.5, large = 70000, none = false } do
        server.export_lua(name, "short (void)", function() return value or nil end)
      end
      server.export_lua("table", "const char *(void)", function() return {} end)
      server.export_lua("pointer", "void *(void)", function() return 1 end)
    ]], function(exports)
      assert.equal(1, exports.fail(0))
      local err = support.error_of(exports.fail, 5)
      assert.equal("server", err.kind)
      assert.match("^fail: .*server%.lua:5: no such thing: 5; the image was reset$", err.message)
      assert.equal(true, err.was_reset)
      assert.equal(1, exports.fail(0))
      assert.match("an error that is not a string", support.error_of(exports.fail, -1).message)
      assert.match("stack overflow", support.error_of(exports.deep).message)
      assert.match("returned string; its prototype wants an integer",
        support.error_of(exports.text).message)
      assert.match("wants an integer", support.error_of(exports.real).message)
      assert.match("no room for", support.error_of(exports.large).message)
      assert.match("returned nil", support.error_of(exports.none).message)
      assert.match("wants a string", support.error_of(exports.table).message)
      assert.match("wants a pointer or nil", support.error_of(exports.pointer).message)
      assert.equal(1, exports.fail(0))
    end)
  end)

  it("stays usable from a coroutine and from nested tables of modules", function()
    serve([[
      local list = {}
      coroutine.wrap(function()
        for i = 1, 10 do list[i] = i end
        coroutine.yield()
      end)()
      server.export_lua("sum", "int (void)", function()
        local sum = 0
        for value in coroutine.wrap(function()
          for _, value in ipairs(list) do coroutine.yield(value) end
        end) do sum = sum + value end
        return sum
      end)
    ]], function(exports)
      for _ = 1, 3 do assert.equal(55, exports.sum()) end
    end)
  end)

  if support.lua == "luajit" then
    local hot = [[
      local function loop(n)
        local sum = 0
        for i = 1, n do sum = sum + i % 7 end
        return sum
      end
      for _ = 1, 300 do loop(100) end
      local fresh = function(n) local p = 1 for i = 1, n do p = (p * 3 + i) % 1000 end return p end
      server.export_lua("loop", "double (int n)", loop)
      server.export_lua("fresh", "double (int n)", fresh)
      server.export_lua("compiles", "bool (void)", function() return (jit.status()) end)
    ]]

    it("runs its traces without the grant jit, and compiles with it", function()
      serve(hot, function(exports)
        assert.equal(2999998, exports.loop(1e6))
        assert.equal(exports.fresh(1e5), exports.fresh(1e5))
        assert.equal(false, exports.compiles())
      end)
      local code = hot .. "server.need('jit', 'traces')"
      serve(code, function(exports)
        assert.equal(2999998, exports.loop(1e6))
        assert.equal(exports.fresh(1e5), exports.fresh(1e5))
        assert.equal(true, exports.compiles())
      end, { grant = "jit" })
      local image, err = mm.map(folder "x.mmi")
      assert.is_nil(image)
      assert.equal("needs", err.kind)
    end)

    it("exports a function pointer of the FFI", function()
      serve([=[
        local ffi = require "ffi"
        ffi.cdef "int toupper(int c);"
        server.export(ffi.C.toupper, "int toupper(int c)")
      ]=], function(exports) assert.equal(65, exports.toupper(97)) end)
    end)
  end

  it("says what it cannot do, where it was asked for", function()
    for code, text in pairs {
      ["server.load('nowhere', 'int f(void);')"] = "server.lua:2: nowhere: cannot open",
      ["server.load(5, 'int f(void);')"] =
        "server.lua:2: load: argument 1 is a library's name or path, or nil, got a number",
      ["server.load('z')"] = "server.lua:2: load: argument 2 is the functions in C, got nil",
      ["server.export_lua(nil, 'int (void)', print)"] =
        "server.lua:2: export_lua: argument 1 is the name of the export, got nil",
      ["server.need()"] = "server.lua:2: need: argument 1 is what has to be granted, got nil",
      ["server.load(nil, 'int no_such_function(void);')"] =
        "server.lua:2: what is loaded has no function `no_such_function`",
      ["server.load(nil, 'int abs(int)')"] = "`;` is missing behind `int abs%(int%)`",
      ["server.load(nil, 'integer abs(int);')"] = "server.lua:2: .*unknown type `integer`",
      ["server.load(nil, 'struct s { integer x; };')"] = "server.lua:2: .*unknown type `integer`",
      ["server.export(nil, 'int f(void)')"] = "server.lua:2: a function's address is expected",
      ["server.export_lua('f', 'int', print)"] = "server.lua:2: `int` is not a prototype",
      ["server.export_lua('f', 'int (void)', 1)"] =
        "server.lua:2: export_lua: argument 3 is a function, got a number",
      ["server.export_lua('f', 'long double (void)', print)"] =
        "server.lua:2: `long double` cannot be passed to or from a Lua function",
      ["server.export_lua('f', 'int (int count, ...)', print)"] = "cannot be exported with `...`",
      ["server.load(nil, 'struct s { int x; };') server.export_lua('f', 'int (struct s s)', print)"]
        = "`struct s` cannot be passed to or from a Lua function",
      ["for i = 1, 1025 do server.export_lua('f' .. i, 'int (void)', print) end"] =
        "at most 1024 Lua functions",
      ["server.need('sunshine') server.snapshot()"] = "no such need",
      ["server.export_lua('f', 'int (void)', print) server.export_lua('f', 'int (void)', print) " ..
        "server.snapshot()"] = "is exported already",
      ["local x = 1"] = "server.lua exited with status 0 before its snapshot",
      ["error 'deliberate'"] = "deliberate",
    } do
      assert.match(text, complaint(code))
    end
  end)

  it("is a script with a name that ends in .lua, which -o need not repeat", function()
    shell.write(folder "dict.lua", [[
      local server = require "matchmaker.server"
      server.export_lua("one", "int (void)", function() return 1 end)
      server.snapshot()
    ]])
    local result = shell.run(("cd %s && MM_BUILD=%s MATCHMAKER_LUA=%s %s snapshot dict.lua"):format(
      folder(), shell.launcher:match "^(.*)/", support.lua, shell.root .. "/bin/matchmaker"))
    assert.equal("", result.stderr)
    local image = mm.assert(mm.map(folder "dict.mmi"))
    assert.equal(1, image.exports.one())
    mm.assert(image:unmap())
  end)
end)

describe("mm_fail", function()
  support.guard(before_each, after_each)
  local folder = shell.folders(before_each, after_each)

  local function launch(source)
    shell.write(folder "server.c", "#include <matchmaker/server.h>\n" .. source ..
      "\nint main(void) { return mm_snapshot(NULL); }\n")
    local library = shell.launcher:gsub("[^/]+$", "libmatchmaker-server.a")
    shell.output(("cd %s && cc -fPIE -pie -I%s/csrc/include -o server server.c %s"):format(folder(),
      shell.root, library))
    return shell.launch(("-o %s %s"):format(folder "x.mmi", folder "server"))
  end

  it("ends a call with its message, and what the call changed is taken back", function()
    assert.equal(0, launch([[
      static int calls;
      MM_EXPORT(int, check, (const char *text))
      int check(const char *text) { calls++; if (text) mm_fail(text); return calls; }
    ]]).status)
    local image = mm.assert(mm.map(folder "x.mmi"))
    for _, text in ipairs { "line 3: no such word", "", ("x"):rep(5000) } do
      local err = support.error_of(image.exports.check, text)
      assert.equal("server", err.kind, tostring(err))
      assert.match("check: " .. text:sub(1, 100), err.message, 1, true)
      assert.equal(1, image.exports.check(mm.null))
      mm.assert(image:reset())
    end
    assert.match("check: one [31mline ;", support.error_of(image.exports.check,
      "one\27[31mline\n").message, 1, true)
    mm.assert(image:unmap())
  end)

  it("ends the process outside of a call", function()
    local result = launch([[
      __attribute__((constructor)) static void load(void) { mm_fail("no dictionary"); }]])
    assert.equal(134, result.status) -- SIGABRT, and 128 by the shell
    assert.match("no dictionary\n", result.stderr, 1, true)
    assert.equal("", shell.output("ls " .. folder() .. " | grep mmi || true"))
  end)
end)
