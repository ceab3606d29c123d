-- What a client grants an image, and what the image then may do.
local support = require "spec.support"
local shell = require "spec.shell"

describe("the shell", function()
  support.guard(before_each, after_each)

  local function command(words)
    return shell.run(("MATCHMAKER_LUA=%s MM_BUILD=%s bin/matchmaker %s"):format(support.lua,
      support.build, words))
  end

  it("grants what --grant names", function()
    local image = support.image "need_output"
    assert.equal("hello, you\n0\n", command("call --grant output " .. image .. " greet you").stdout)
    local result = command("inspect --grant jit --grant output " .. image)
    assert.matches("need_output.mmi", result.stdout, 1, true)
    assert.equal(0, result.status)
  end)

  it("says what it does not understand of --grant", function()
    local image = support.image "need_output"
    local result = command("call --grant disk " .. image .. " greet you")
    assert.equal(1, result.status)
    assert.matches('^matchmaker: request_map: option `grant` is .*, got "disk"\n$', result.stderr)
    result = command("call --grant")
    assert.equal(2, result.status)
    assert.equal("matchmaker: `--grant` lacks its value\n", result.stderr)
  end)
end)
