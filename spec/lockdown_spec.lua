local shell = require "spec.shell"
local support = require "spec.support"

describe("a lockdown", function()
  local folder = shell.folders(before_each, after_each)

  it("is for good, and images go on to be mapped, called and reset", function()
    assert.equal("true true 101 101 true", support.output([[
      local mm = require "matchmaker"
      local first, second = mm.assert(mm.lockdown()), mm.assert(mm.lockdown())
      mm.finalize()
      mm.assert(mm.init())
      local image = mm.assert(mm.map(...))
      local before = image.exports.counter_next()
      mm.assert(image:reset())
      io.write(tostring(first), " ", tostring(second), " ", tostring(before), " ",
        tostring(image.exports.counter_next()), " ", tostring(mm.lockdown()))
    ]], support.image "math"))
  end)

  it("is refused without a connection", function()
    assert.equal("not_connected", support.output([[
      local mm = require "matchmaker"
      mm.finalize()
      io.write(select(2, mm.lockdown()).kind)
    ]]))
  end)

  it("keeps a script with an FFI from opening an image", function()
    if not rawget(_G, "jit") then return end
    local code = [[
      local mm, ffi = require "matchmaker", require "ffi"
      ffi.cdef "int mprotect(void *, size_t, int);"
      local image = mm.assert(mm.map(%q, { guard = "pages" }))
      if %s then mm.assert(mm.lockdown()) end
      for line in io.lines("/proc/self/maps") do
        local low = tonumber(line:match("^%%x+"), 16)
        if low >= image:info().base and line:match("^%%S+ r") then
          local result = ffi.C.mprotect(ffi.cast("void *", low), 4096, 3)
          io.write(result == 0 and "done" or "errno " .. ffi.errno())
          break
        end
      end
    ]]
    local path = support.image "gate"
    assert.equal("done", shell.output(shell.lua(code:format(path, "false"), folder())))
    assert.equal("errno 1", shell.output(shell.lua(code:format(path, "true"), folder())))
  end)

  it("is inherited by programs, which say that they cannot map images", function()
    local inner = shell.lua([[
      local fine, why = pcall(require, "matchmaker")
      io.write(tostring(fine), tostring(why))
    ]], folder())
    assert.matches("this process was started locked down", support.output([[
      local mm = require "matchmaker"
      mm.assert(mm.lockdown())
      os.execute(...)
    ]], inner))
  end)
end)
