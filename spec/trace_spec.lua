-- What MM_TRACE prints, in a child process: the variable is read when the library connects.
local support = require "spec.support"

local code = [[
  local mm = require "matchmaker"
  local image = mm.assert(mm.map((...), { guard = "open" }))
  image.exports.process()
  image.exports.open_socket()
  pcall(image.exports.end_thread, 3)
  image:unmap()
]]

local function trace(words, lines, image)
  local lua = support.lua
  support.lua = ("env MM_TRACE=%s "):format(words) .. lua
  local ok, result = pcall(support.run, lines or code, support.image(image or "syscall"))
  support.lua = lua
  assert(ok, result)
  assert.equal(0, result.status, result.stderr)
  assert.equal("", result.stdout)
  return result.stderr
end

describe("MM_TRACE", function()
  support.guard(before_each, after_each)

  it("prints nothing when it is empty or has only words that nobody knows", function()
    assert.equal("", trace "")
    assert.equal("", trace "everything,of,gates")
  end)

  it("prints system calls with their arguments and answers", function()
    local text = trace "syscall"
    assert.matches("syscall: getpid%(.-%) = 0x%x+\n", text)
    assert.matches("syscall: socket%(0x1, 0x80001, 0x0, .-%) = %-1 EPERM %(.-%)\n", text)
    assert.matches("syscall: exit%(0x3, .-%) = the call ends\n", text)
    assert.is_nil(text:find("gate:", 1, true))
    assert.is_nil(text:find("image:", 1, true))
  end)

  it("prints what enters and leaves", function()
    local text = trace "gate"
    assert.matches("gate: process enters slot %d+ depth 1 stack 0x%x+\n", text)
    assert.matches("gate: process leaves slot %d+ rax 0x%x+\n", text)
    assert.matches("gate: end_thread enters .-gate: end_thread leaves", text)
    assert.is_nil(text:find("syscall:", 1, true))
  end)

  it("prints what is mapped, reset and unmapped", function()
    local text = trace "image"
    assert.matches("image: mapped %S+/syscall%.mmi in slot %d+, %d+ segments, %d+ bytes\n", text)
    assert.matches("image: reset %S+/syscall%.mmi, generation 2\n", text)
    assert.matches("image: unmapped %S+/syscall%.mmi from slot %d+\n", text)
  end)

  it("prints which pages the guard opens and closes", function()
    local text = trace("guard", [[
      local mm = require "matchmaker"
      local image = mm.assert(mm.map((...), { guard = "pages" }))
      for _ = 1, 3 do image.exports.add(1, 2) end
      io.stderr:write "once more\n"
      image.exports.add(1, 2)
      io.stderr:write("changes: ", image:info().guard_changes, "\n")
    ]], "math")
    local last = text:match "once more\n(.*)changes"
    assert.matches("guard: 0x%x+000%-0x%x+000 r%-x\n", last)
    assert.matches("guard: 0x%x+000%-0x%x+000 rw%-\n", last)
    assert.matches("guard: 0x%x+000%-0x%x+000 r%-%-\n$", last)
    local _, all = text:gsub("guard: ", "")
    assert.equal(text:match "changes: (%d+)", tostring(all))
  end)

  it("takes several words, among them unknown ones", function()
    local text = trace "image,nothing,gate"
    assert.matches("image: mapped", text)
    assert.matches("gate: process enters", text)
    assert.is_nil(text:find("syscall:", 1, true))
  end)
end)
