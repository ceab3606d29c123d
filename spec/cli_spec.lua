-- The shell's `matchmaker`: how it reads its words, what its commands answer, and with what status.
local shell = require "spec.shell"
local support = require "spec.support"
local mm = require "matchmaker"

local command = ("MM_BUILD=%s MATCHMAKER_LUA=%s bin/matchmaker "):format(support.build, support.lua)
local function run(words) return shell.run(command .. words) end
local function output(words) return shell.output(command .. words) end
local function call(image, words) return run(("call %s %s"):format(support.image(image), words)) end

local COMMANDS = { "snapshot", "inspect", "call", "repl", "verify", "describe", "ps",
                   "doctor" }

describe("the command matchmaker", function()
  local folder = shell.folders(before_each, after_each)

  it("answers wrong usage with status 2 and one line", function()
    for _, words in ipairs { "nonsense", "call", "inspect", "inspect --nonsense x", "doctor x",
                             "call --timeout", "call --json=1 a b", "describe x", "help nonsense",
                             "call --timeout soon x y", "call --grant nonsense x y",
                             "repl --guard x y" } do
      local result = run(words)
      assert.equal(2, result.status, words .. result.stderr)
      assert.matches("^matchmaker: [^\n]+\n$", result.stderr)
      assert.equal("", result.stdout)
    end
  end)

  it("answers failure with status 1 and one line that names the file", function()
    for _, words in ipairs { "inspect %s", "call %s add 1 2", "verify %s", "describe --c %s" } do
      local result = run(words:format("/nowhere/at-all.mmi"))
      assert.equal(1, result.status)
      assert.matches("^matchmaker: [^\n]*/nowhere/at%-all%.mmi[^\n]*\n$", result.stderr)
    end
  end)

  it("lists its commands, and says to nobody's words what they are", function()
    local text = output("help")
    for _, name in ipairs(COMMANDS) do assert.matches("\n  " .. name .. " ", text) end
    local result = run("")
    assert.equal(2, result.status)
    assert.equal(text .. "\n", result.stderr)
  end)

  it("says its version", function()
    assert.equal("matchmaker " .. mm.version, output("--version"))
  end)

  it("fails when what it writes is lost", function()
    local image, session = support.image("math"), shell.write(folder("session"), "print(1)\n")
    for _, words in ipairs { "help", "call --help", "ps", "doctor --json", "verify " .. image,
                             "inspect --json " .. image, "describe --c " .. image,
                             ("call %s add 1 2"):format(image), "repl <" .. session } do
      for place, why in pairs { ["/dev/full"] = "No space left on device",
                                ["&-"] = "Bad file descriptor" } do
        local result = run(("%s >%s"):format(words, place))
        assert.equal(1, result.status, words)
        assert.equal("matchmaker: standard output: " .. why .. "\n", result.stderr)
      end
    end
    assert.equal(0, run(("call %s nothing >&-"):format(image)).status)
  end)

  it("finds its module whatever the environment tells Lua", function()
    local number = _VERSION:match("%d%.%d"):gsub("%.", "_")
    local words = ("%scall %s add 1 2"):format(command, support.image("math"))
    local versioned = ("LUA_PATH_%s=/none/? LUA_CPATH_%s=/none/? "):format(number, number)
    for _, variables in ipairs { versioned, "LUA_PATH= LUA_CPATH= " } do
      assert.equal("3", shell.output(variables .. words))
    end
    assert.equal("=3", shell.output("LUA_INIT='io.write [[=]]' " .. words))
    local result = shell.run("MATCHMAKER_LUA=no-such-lua bin/matchmaker ps")
    assert.equal(1, result.status)
    assert.equal("matchmaker: no-such-lua, which MATCHMAKER_LUA names, has no module " ..
      "`matchmaker`\n", result.stderr)
  end)

  it("explains each command on one screen, the same way in three ways", function()
    for _, name in ipairs(COMMANDS) do
      local text = output(name .. " --help")
      assert.matches("^usage: matchmaker " .. name, text)
      assert.is_true(select(2, text:gsub("\n", "\n")) < 24, name)
      for line in text:gmatch("[^\n]+") do assert.is_true(#line <= 100, line) end
      assert.equal(text, output(name .. " -h"))
      assert.equal(text, output("help " .. name))
    end
  end)
end)

describe("matchmaker call", function()
  it("reads each word as its parameter wants it", function()
    for words, expected in pairs {
      ["add 1 -2"] = "-1", ["f64 0.1"] = "0.1", ["f64 -1e300"] = "-1e+300",
      ["boolean true"] = "true", ["boolean 0"] = "false", ["color GREEN"] = "5",
      ["color -1"] = "-1", ["u64 18446744073709551615"] = true,
      ["i64 -9223372036854775808"] = true, ["nothing"] = "",
    } do
      local result = call("math", words)
      -- Lua 5.1 and 5.2 have no number for these, 5.3 and later read them with a sign.
      if expected ~= true then assert.equal(expected .. (expected ~= "" and "\n" or ""),
        result.stdout, words .. result.stderr) end
      if expected == true and rawget(_G, "jit") then
        assert.equal(words:match("%S+$") .. "\n", result.stdout)
      end
    end
    assert.equal("-12\n", call("text", "upper -12").stdout)
    assert.equal("A B\n", call("text", "upper 'a b'").stdout)
    assert.equal("1\n", call("pointer", "is_null null").stdout)
    assert.equal("0.5 a\n", call("aggregate", "print '%g %s' 0.5 a").stdout)
    local result = call("aggregate", "print '%ld %ld' 5 -6")
    local has_integers = rawget(_G, "jit") or math.type
    assert.equal(has_integers and "5 -6\n" or "", result.stdout)
    if not has_integers then
      assert.matches("argument 2 is one of `...`, got a number", result.stderr, 1, true)
    end
  end)

  it("prints a struct as it is given", function()
    assert.equal("{ x = -2, y = 1.5 }\n",
      call("aggregate", "mirror '{ x = 1.5, y = -2 }'").stdout)
  end)

  it("says what is wrong with an argument, and with which", function()
    local result = call("math", "add 1 two")
    assert.equal(1, result.status)
    assert.equal("matchmaker: add: argument 2 is `int`, got a string: `int add(int a, int b)`\n",
      result.stderr)
    assert.equal(1, call("math", "add 1").status)
    assert.matches("did you mean `add`", call("math", "ad 1 2").stderr)
  end)

  it("shows C text that is none, with a caret under the place", function()
    local result = shell.run(("printf 'math:new(\"int int x\")\n' | %s repl %s"):format(
      command, support.image("math")))
    local text, caret = result.stderr:match "\n  (int int x)\n  ( *)%^\n"
    assert.equal("int int x", text, result.stderr)
    assert.equal("int ", text:sub(1, #caret))
  end)

  it("prints JSON that loses nothing", function()
    assert.equal('"A\\"\\\\\\n"', output(("call --json %s upper 'a\"\\\n'")
      :format(support.image("text"))))
    assert.equal("null", output("call --json " .. support.image("math") .. " nothing"))
    assert.equal("null", output("call --json " .. support.image("text") .. " none"))
    assert.equal("0.1", output("call --json " .. support.image("math") .. " f64 0.1"))
    assert.equal("true", output("call --json " .. support.image("math") .. " boolean 1"))
  end)

  it("tells a fault with status 1, and grants only what it is told to", function()
    local result = call("crash", "read_null")
    assert.equal(1, result.status)
    assert.matches("SIGSEGV", result.stderr)
    local image = support.image("need_output")
    assert.matches("needs what was not granted: output", call("need_output", "greet you").stderr)
    assert.equal("hello, you\n0", output(("call --grant output %s greet you"):format(image)))
  end)

  it("ends a call that takes longer than it may", function()
    local result = run(("call --timeout=0.05 %s spin"):format(support.image("crash")))
    assert.equal(1, result.status, result.stdout)
    assert.matches("took longer", result.stderr)
  end)
end)

describe("matchmaker verify", function()
  local folder = shell.folders(before_each, after_each)

  it("says that an image is intact", function()
    local image = support.image("math")
    assert.matches("math%.mmi: intact, %d+ bytes$", output("verify " .. image))
    assert.equal("", output(("verify --quiet %s %s"):format(image, support.image("text"))))
  end)

  it("says what is wrong, where, and goes on to the next file", function()
    local bytes = shell.read(support.image("math"))
    local at = #bytes - 5000
    shell.write(folder("bad.mmi"), bytes:sub(1, at - 1) ..
      string.char((bytes:byte(at) + 1) % 256) .. bytes:sub(at + 1))
    shell.write(folder("short.mmi"), bytes:sub(1, 1000))
    local result = run(("verify %s %s %s"):format(folder("bad.mmi"), folder("short.mmi"),
      support.image("math")))
    assert.equal(1, result.status)
    assert.matches("bad%.mmi: is damaged: its head is intact, but bytes 0x%x+ to 0x%x+ have",
      result.stderr)
    assert.matches("short%.mmi: is damaged: truncated", result.stderr)
    assert.matches("math%.mmi: intact", result.stdout)
    assert.equal(1, run("inspect " .. folder("short.mmi")).status)
    assert.equal(0, run("inspect " .. folder("bad.mmi")).status)
  end)

  it("says what is no image at all", function()
    for path, what in pairs { ["/dev/null"] = "not a regular file", ["/tmp"] = "is a folder",
                              ["README.md"] = "is not an image", ["/bin/sh"] = "but not an image",
                              ["/nowhere"] = "No such file" } do
      local result = run("verify " .. path)
      assert.equal(1, result.status, path)
      assert.matches(what, result.stderr, 1, true)
    end
  end)
end)

describe("matchmaker doctor", function()
  it("says what this machine offers, and what each lack costs", function()
    local text = output("doctor")
    assert.matches("kernel +yes", text)
    for line in text:gmatch("[^\n]+ no[^\n]*\n[^\n]*") do assert.matches("\n +without: ", line) end
    for _, row in ipairs { "FSGSBASE", "protection keys", "closed client", "seccomp",
                           "inclusive dispatch",
                           "PAGEMAP_SCAN", "list of clients", "Lua versions", "line editor" } do
      assert.matches("\n" .. row .. " +%a+", text)
    end
    assert.matches('^%[{.*"name":"kernel".*}%]$', output("doctor --json"))
  end)
end)

describe("the man page", function()
  it("has every command, and no warning of its formatter", function()
    local page = "share/man/man1/matchmaker.1"
    for _, name in ipairs(COMMANDS) do
      assert.matches("\n.B " .. name .. "\n", shell.read(page), 1, true)
      local synopsis = shell.read(page):match("\n%.B matchmaker " .. name .. "\n(.-)\n%.[bS][rH]")
      for option in output(name .. " --help"):gmatch("\n  (%-%-?%l+)") do
        assert.matches(option:gsub("%-", "\\-"), synopsis, 1, true)
      end
    end
    local result = shell.run("! command -v groff || LC_ALL=C groff -man -Tascii -ww -z " .. page)
    assert.equal("", result.stderr)
  end)
end)
