-- Ctrl-C in a call that never ends, under the stand-alone interpreter.
local support = require "spec.support"

describe("an interrupt", function()
  support.guard(before_each, after_each)

  local start = [[
    local mm = require "matchmaker"
    local image_path, way = ...
    mm.init { interrupt = way }
    local image = mm.assert(mm.map(image_path))
    os.execute "(sleep 0.5; kill -INT $PPID) >/dev/null 2>&1 &"
  ]]

  it("ends the call, and then the interpreter's own handler raises its error", function()
    local result = support.run(start .. [[
      local ok, err = pcall(image.exports.spin)
      print(ok, tostring(err):match "interrupted!")
      print(image.exports.counter_get())
    ]], support.image "crash", "deliver")
    assert.equal("", result.stderr)
    assert.equal("false\tinterrupted!\n100\n", result.stdout)
    assert.equal(0, result.status)
  end)

  it("ends a script that does not catch it, as it would without us", function()
    local result = support.run(start .. [[ image.exports.spin() ]], support.image "crash",
      "deliver")
    assert.equal(1, result.status)
    assert.matches("interrupted!", result.stderr)
  end)

  it("is an error of the call alone, if that was asked for", function()
    local output = support.output(start .. [[
      local ok, err = pcall(image.exports.spin)
      print(ok, err.kind, err.was_reset)
      print(err)
      print(image.exports.counter_get())
    ]], support.image "crash", "error")
    local lines = {}
    for line in output:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal("false\tinterrupted\ttrue", lines[1])
    assert.matches("^spin: the call was interrupted in spin%+0x%x+ %(crash%); the image was reset$",
      lines[2])
    assert.equal("100", lines[3])
  end)

  it("is refused in a way that there is not", function()
    local mm = require "matchmaker"
    local err = support.error_of(mm.init, { interrupt = "perhaps" })
    assert.matches("deliver", tostring(err))
  end)
end)
