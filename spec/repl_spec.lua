-- `matchmaker repl`: from a pipe, and in a real terminal, which tmux draws. What is waited for is
-- text, never time.
local support = require "spec.support"
local complete = require "matchmaker.repl.complete"
local mm = require "matchmaker"
local shell = require "spec.shell"
local show = require "matchmaker.show"

local command = ("MM_BUILD=%s MATCHMAKER_LUA=%s %s/bin/matchmaker "):format(support.build,
  support.lua, shell.root)
local build = support.build:find("^/") and support.build or shell.root .. "/" .. support.build
local function image(name) return ("%s/image/%s.mmi"):format(build, name) end
command = command:gsub("MM_BUILD=%S+", "MM_BUILD=" .. build)

-- What a session says to lines from a pipe.
local function session(lines, words)
  return shell.run(("printf '%%s\\n' %s | %s repl %s"):format(shell.quote(lines), command,
    words or image("math")))
end

describe("matchmaker repl, from a pipe", function()
  it("shows values, without a prompt", function()
    local result = session("math.exports.add(1, 2)\n=1 + 1\nx = _\nx, nil, 'a\"b'\n\n" ..
      ":quit\nprint(1)")
    assert.equal("", result.stderr)
    assert.equal('3\n2\n2\nnil\n"a\\"b"\n', result.stdout)
    assert.equal(0, result.status)
  end)

  it("reads on while a text lacks its end", function()
    assert.equal("1\n2\n", session("for i = 1, 2 do\n\nprint(i)\nend").stdout)
    assert.equal('"a\\nb"\n', session("[[a\nb]]").stdout)
    local result = session("for i = 1, 2 do")
    assert.equal(1, result.status)
    assert.matches("^matchmaker: error: .*'?end'? expected", result.stderr)
  end)

  it("ends at the first error, with status 1", function()
    for text, message in pairs {
      ["math.exports.add('x', 2)"] = "add: argument 1 is `int`, got a string",
      ["error('oh')"] = "oh", ["error{}"] = "{}", ["error()"] = "nil",
      ["1 + )"] = "unexpected symbol",
      ["?nothing.at.all"] = "attempt to index", [":nonsense"] = ":nonsense` is no command",
      [":reset nobody"] = "`nobody` is no image", ["?  nothing "] = "`nothing` is nil",
      [":trace gates"] = "usage: :trace", [":trace"] = "usage: :trace",
    } do
      local result = session(text .. "\nprint 'and on'")
      assert.equal(1, result.status, text)
      assert.equal("", result.stdout)
      assert.matches("^matchmaker: error: ", result.stderr)
      assert.matches(message, result.stderr, 1, true)
    end
  end)

  it("says where an error inside of functions came from, up to the session", function()
    local result = session("function f() error('deep') end function g() f() end\ng()")
    assert.matches("deep\nstack traceback:.*session:1: in .*f", result.stderr)
    assert.not_matches("repl.lua", result.stderr)
  end)

  it("explains what ? stands before", function()
    local text = session("?math.exports.add\n?\n?math\nhelp(math.exports.color)").stdout
    assert.matches("^int add%(int a, int b%)\n  the sum\n  in math.mmi, module math, at 0x%x+\n" ..
      "  may be called; guard `pages`\n", text)
    assert.matches("mm.map(path, options)", text, 1, true)
    assert.matches("image math%.mmi %(slot %d+, 27 exports, pages%)\n", text)
    assert.matches("enum color { RED = 0, GREEN = 5, BLUE = -1 };", text, 1, true)
  end)

  it("disassembles exports and what they call", function()
    local text = session(":disasm add\n:disasm math.exports.add\n:disasm strlen").stdout
    assert.equal(2, select(2, text:gsub("%x+ <add>:", "")))
    assert.matches("ret", text)
    assert.not_matches("Disassembly", text)
    assert.equal(1, session(":disasm nothing_of_that_name").status)
  end)

  it("shows what is mapped, and resets", function()
    local text = session("math.exports.counter_set(7)\n:reset math\n" ..
      "math.exports.counter_get()\n:maps")
    assert.matches("^100\nmath\n", text.stdout)
    assert.matches("\n%x+%-%x+ r%-%- +%S+ %S+  math\n", text.stdout)
    assert.matches(" stack", text.stdout)
  end)

  it("traces, and stops tracing", function()
    local call = "math.exports.add(1, 2)\n"
    local result = session(":trace gate\n" .. call .. ":trace off\n" .. call)
    assert.equal("3\n3\n", result.stdout)
    local _, count = result.stderr:gsub("add", "")
    assert.is_true(count > 0 and count <= 2, result.stderr)
  end)

  it("times an expression", function()
    assert.matches("^%S+ us each %(%d+ times%); the first %S+ us\n$", session(":time 1 + 1").stdout)
  end)

  it("gives images names, and says which it cannot map", function()
    assert.equal('"pointer"\n', session("for k, v in pairs(_ENV or getfenv()) do " ..
      "if v == pointer then name = k end end\nname", image("pointer")).stdout)
    local result = session("1", "/nowhere.mmi")
    assert.equal(1, result.status)
    assert.matches("^matchmaker: /nowhere.mmi: No such file", result.stderr)
  end)
end)

describe("matchmaker repl, at a terminal", function()
  local folder = shell.folders(before_each, after_each)
  local server

  local function tmux(words) return shell.output(("tmux -L %s %s"):format(server, words)) end
  local function type_in(text) tmux("send-keys -l " .. shell.quote(text)) end
  local function press(keys) tmux("send-keys " .. keys) end
  local function screen() return tmux("capture-pane -p -J") end

  -- Polls until the screen shows a text.
  local function see(text, is_pattern)
    local shown
    for _ = 1, 400 do
      shown = screen()
      if shown:find(text, 1, not is_pattern) then return shown end
      os.execute("sleep 0.05")
    end
    error(("the screen does not show %q:\n%s"):format(text, shown), 2)
  end

  local function enter(text, answer)
    type_in(text)
    see(text:sub(-40))
    press("Enter")
    if answer then see(answer) end
  end

  local function start(words, environment)
    local line = ("trap : INT; %s XDG_STATE_HOME=%s %s repl %s; echo status $?; cat"):format(
      environment or "", folder("state"), command, words or image("math"))
    shell.write(folder("run.sh"), line)
    tmux(("-f /dev/null new-session -d -x 100 -y 40 sh %s"):format(folder("run.sh")))
    see(":help lists")
    see("> ")
  end

  before_each(function() server = "matchmaker" .. folder():gsub("%W", "") end)
  after_each(function() shell.run(("tmux -L %s kill-server"):format(server)) end)

  it("greets, calls, completes names, exports and methods", function()
    start()
    see("math = image math.mmi")
    type_in("math.ex")
    press("Tab")
    see("> math.exports")
    type_in(".counter_n")
    press("Tab")
    see("math.exports.counter_next(")
    type_in(")")
    press("Enter")
    see("\n101\n>")
    type_in("math:inf")
    press("Tab")
    see("math:info(")
    type_in(").slo")
    see("> math:info().slo")
    press("C-c")
    see("> math:info().slo^C\n>")
    type_in(":dis")
    press("Tab")
    see(":disasm")
  end)

  it("forgets a line at Ctrl-C, and ends at Ctrl-D", function()
    start()
    type_in("half a line")
    press("C-c")
    see("^C")
    see("\n> ")
    enter("40 + 2", "\n42")
    press("C-d")
    see("status 0")
  end)

  it("ends what runs at Ctrl-C, again and again, and not the session", function()
    start()
    for i = 1, 3 do
      enter(("print('round %d') while true do end"):format(i), ("\nround %d"):format(i))
      press("C-c")
      see(("round %d\n%%^C\nerror: [^\n]*interrupted"):format(i), true)
    end
    enter("40 + 2", "\n42")
  end)

  it("ends a call at Ctrl-C, and not the session", function()
    start(image("crash"))
    enter("print('begin') crash.exports.spin()", "\nbegin")
    press("C-c")
    see("\nerror: spin: ")
    see("\n> ")
    enter("crash.exports.divide(84, 2)", "\n42")
  end)

  it("prompts for the rest of a text, and keeps it as one line of history", function()
    start()
    enter("for i = 1, 2 do", ">> ")
    enter("print('number ' .. i)")
    enter("end", "number 2")
    enter(":quit", "status 0")
    assert.equal("for i = 1, 2 do print('number ' .. i) end\n:quit\n",
      shell.read(folder("state/matchmaker/history")))
    tmux("kill-server")
    server = server .. "again" -- the one before may still be ending
    start()
    press("Up Up")
    see("> for i = 1, 2 do print('number ' .. i) end")
  end)

  it("does without the line editor", function()
    start(nil, "TERM=dumb")
    enter("math.exports.add(40, 2)", "\n42")
    enter("print('round') while true do end", "\nround")
    press("C-c")
    see("interrupted")
    enter("math.exports.add(40, 3)", "\n43")
    enter(":quit", "status 0")
  end)
end)

describe("completion", function()
  support.guard(before_each, after_each)
  local environment = setmetatable({ mm = mm, point = { x = 1, y = 2, ["a b"] = 3 } },
    { __index = _G })

  local function candidates(text) return (complete(environment, { "maps", "help" }, text)) end

  it("knows names, fields, methods, exports and commands", function()
    environment.math = support.map("math")
    assert.same({ "point.x", "point.y" }, candidates("print(point."))
    assert.same({ "point.x" }, candidates("f(1, point.x"))
    assert.same({ "math.exports.counter_get", "math.exports.counter_next",
                  "math.exports.counter_set" }, candidates("math.exports.counter"))
    assert.same({ "math:reset" }, candidates("math:re"))
    assert.same({ ":maps" }, candidates(":m"))
    assert.same({ "math.exports.add.prototype" }, candidates("x = math.exports.add.pr"))
    assert.same({ "string.format" }, candidates("string.form"))
    assert.same({ "function" }, candidates("func"))
    environment.math = nil
  end)

  it("calls nothing, and survives what cannot be followed", function()
    environment.trap = setmetatable({}, { __index = function() error "called" end })
    for _, text in ipairs { "", "trap.x.y", "nothing.at", "point.x.z", "1.", "'text'.", ")." } do
      assert.is_table(candidates(text))
    end
    assert.same({}, candidates("trap.x.y"))
    environment.trap = nil
  end)
end)

describe("what a session shows of a value", function()
  support.guard(before_each, after_each)

  it("is short, in order, and ends with cycles", function()
    assert.equal('{ 1, 2, a = "x", [true] = false }', show.value { 1, 2, a = "x", [true] = false })
    local cycle = {}
    cycle.self = cycle
    assert.equal("{ self = { ... } }", show.value(cycle))
    assert.equal("{}", show.value {})
    local long = show.value { ("x"):rep(50), ("y"):rep(50) }
    assert.equal(('{\n  "%s",\n  "%s"\n}'):format(("x"):rep(50), ("y"):rep(50)), long)
    local many = {}
    for i = 1, 1000 do many[i] = i end
    assert.matches("%.%.%.", show.value(many))
    assert.is_true(#show.value(many) < 500)
  end)

  it("is a dump of bytes that are no text", function()
    assert.equal("00000000  00 01 02 41 42 ff" .. (" "):rep(32) .. "|...AB.|",
      show.value("\0\1\2AB\255"))
    assert.matches("%.%.%. 1000 bytes in all$", show.value(("\0"):rep(1000)))
    assert.equal('"kutyát\\n"', show.value("kutyát\n"))
  end)

  it("is a dump of a buffer that does not fit a line, and the fields of a view", function()
    local described = assert(mm.map(support.image("described")))
    local text = show.value(described:buffer(("x"):rep(300)))
    assert.matches("^buffer of 300 bytes\n00000000  78 78 .*|x+|\n", text)
    assert.matches("\n%.%.%. 300 bytes in all$", text)
    assert.matches("^buffer of 3 bytes: 61 62 63", show.value(described:buffer("abc")))
    local point = described:new("struct point", { x = 1, y = 2.5 })
    assert.equal("struct point { x = 1, y = 2.5 }", show.value(point))
    assert.same({ "p.x", "p.y" }, (complete({ p = point }, {}, "p.")))
    assert(described:unmap())
  end)

  it("is the prototype and doc of an export, the message of an error", function()
    local math = support.map("math")
    assert.equal("int add(int a, int b)\n    the sum", show.value(math.exports.add))
    local err = support.error_of(math.exports.add, "x", 1)
    assert.equal(err.message, show.value(err))
    assert.equal("error: " .. err.message, show.error(err))
  end)
end)
