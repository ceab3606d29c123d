-- What others named is shown, and no terminal obeys it: paths, exports, options, command lines.
local shell = require "spec.shell"
local support = require "spec.support"
local mm = require "matchmaker"

-- Colours, a line of its own, DEL, and CSI as one character beyond ASCII.
local EVIL = "a\27[31mb\nmatchmaker: c\127d\194\1552J"

local quote = shell.quote

describe("what others named", function()
  support.guard(before_each, after_each)
  local folder = shell.folders(before_each, after_each)
  local image

  before_each(function()
    image = folder(EVIL) .. ".mmi"
    os.execute(("cp %s %s"):format(support.image "crash", quote(image)))
  end)

  local function matchmaker(words, variables)
    return shell.run(("%s MM_BUILD=%s MATCHMAKER_LUA=%s %s/bin/matchmaker %s"):format(
      variables or "", support.build, support.lua, shell.root, words))
  end

  local function is_plain(text, what)
    for place in text:gmatch "()[%c]" do
      assert.equal("\n", text:sub(place, place), what)
    end
    assert.is_nil(text:find("\194[\128-\159]"), what)
  end

  it("is plain in what commands say of it", function()
    local evil, name = quote(EVIL), quote(image)
    for words, lines in pairs {
      ["verify " .. name] = 1, ["verify " .. evil] = 1, ["inspect " .. evil] = 1,
      ["inspect " .. name] = false, ["describe --c " .. name] = false,
      ["describe --lua " .. name] = false, ["inspect --svg " .. name] = false,
      ["call " .. name .. " " .. evil] = 1, ["call " .. name .. " write_null"] = 1,
      ["call " .. name .. " call_exit " .. evil] = 1, [evil] = 1,
      ["call --guard " .. evil .. " " .. name .. " counter_get"] = 1,
      ["call --grant read=" .. evil .. " " .. name .. " counter_get"] = 1,
      ["call --grant " .. evil .. " " .. name .. " counter_get"] = 1,
      ["call --" .. evil] = 1, ["call --timeout " .. evil .. " x y"] = 1,
      ["help " .. evil] = 1, ["snapshot " .. evil] = 1, ["snapshot --slot " .. evil] = 1,
      ["snapshot --env =" .. evil] = 1, ["snapshot " .. name] = 1,
      [("snapshot -o %s/x %s/fixture/math"):format(name, support.build)] = 1,
      [("snapshot --export %s -o %s %s/fixture/math"):format(evil, folder "x.mmi",
        support.build)] = 1,
      ["repl " .. evil] = 1, ["inspect --svg --call " .. evil .. " " .. name] = 1,
    } do
      local result = matchmaker(words .. " </dev/null")
      local text = result.stdout .. result.stderr
      is_plain(text, words)
      assert.is_true(#text > 0, words)
      if lines then assert.equal(lines, select(2, text:gsub("\n", "")), text) end
    end
  end)

  it("is plain in traces, and in the report of a stray access", function()
    local words = "call " .. quote(image) .. " counter_get"
    local result = matchmaker(words, "MM_TRACE=image,gate")
    is_plain(result.stderr)
    assert.matches("^matchmaker: image: mapped [^\n]+ in slot %d+, ", result.stderr)
    result = shell.run(shell.lua([[
      local mm, ffi = require "matchmaker", require "ffi"
      local image = mm.assert(mm.map(...))
      ffi.cast("char *", image:info().base)[0] = 1
    ]], folder()) .. " " .. quote(image))
    if not rawget(_G, "jit") then return end
    is_plain((result.stderr:gsub("\n$", "")))
    assert.matches("^matchmaker: rejected: client code", result.stderr)
  end)

  it("is plain in the list of clients", function()
    local never = folder "never"
    local client = shell.lua(([[
      local mm = require "matchmaker"
      local image = mm.assert(mm.map(%q))
      io.open(%q, "w"):close()
      io.open(%q)
    ]]):format(image, folder "ready", never), folder()) .. " " .. quote(EVIL)
    local text = shell.output(([[
      export XDG_RUNTIME_DIR=%s; mkfifo %s
      %s & pid=$!
      while ! [ -e %s ]; do sleep 0.01; done
      MM_BUILD=%s MATCHMAKER_LUA=%s %s/bin/matchmaker ps
      kill -9 $pid; wait 2>/dev/null; true
    ]]):format(folder(), never, client, folder "ready", support.build, support.lua, shell.root))
    is_plain(text)
    assert.equal(2, select(2, text:gsub("\n", "")), text) -- a head, the client, its image
    assert.equal(2, select(2, text:gsub("a%?%[31mb%?matchmaker: c%?d%?2J", "")), text)
  end)

  it("is plain in the errors of Lua", function()
    local mapped = mm.assert(mm.map(image))
    for _, f in ipairs {
      function() return mapped.exports[EVIL] end,
      function() return mm.map(image, { guard = EVIL }) end,
      function() return mm.map(image, { [EVIL] = 1 }) end,
      function() return mapped:bind("counter_get", EVIL) end,
      function() return mapped:new(EVIL) end,
      function() return mm.map(EVIL) end,
    } do
      local fine, raised, returned = pcall(f)
      local message = tostring(fine and returned or raised)
      is_plain(message)
      assert.is_nil(message:find "\n")
    end
    is_plain(tostring(mapped))
    is_plain(require("matchmaker.help").text(mapped))
    is_plain(require("matchmaker.show").value(EVIL))
    is_plain(tostring(mapped:new("char[60]", EVIL)))
    mapped:unmap()
  end)

  it("is no code in what describe writes", function()
    local header = matchmaker("describe --c " .. quote(image)).stdout
    assert.matches("^/%* [^\n]*.mmi %- what the image exports[^\n]*%*/\n", header)
    local definitions = matchmaker("describe --lua " .. quote(image)).stdout
    assert.matches("^%-%-%-@meta [%w_]+\n%-%- What [^\n]* exports%. Written", definitions)
  end)
end)
