-- One backtrace, from the client through the gate into an image's function.
local support = require "spec.support"

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- Lets gdb run the program to where `commands` bring it, and shows the stack.
local function backtrace(program, commands)
  local script = os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write([[
set pagination off
set confirm off
set debuginfod enabled off
set width 0
handle SIGSYS nostop noprint pass
source share/matchmaker/gdb.py
]], commands, [[

backtrace
kill
]])
  file:close()
  local pipe = assert(io.popen(("env MATCHMAKER_ELF=%s/matchmaker.elf LUA_PATH=%s LUA_CPATH=%s " ..
    "timeout 100 gdb -nx -q -batch -x %s --args %s 2>&1 </dev/null"):format(support.build,
    quote(package.path), quote(package.cpath), script, program)))
  local text = pipe:read("*a")
  pipe:close()
  os.remove(script)
  return text
end

-- The named functions must be in the backtrace, the innermost first. Of a list, one: gdb stops at
-- main where it knows it, and else goes on to who calls it.
local function check(text, functions)
  local from = 1
  for _, names in ipairs(functions) do
    local low, high, name
    for _, one in ipairs(type(names) == "table" and names or { names }) do
      if not low then
        low, high = text:find("\n#%d+ [^\n]*%f[%w_]" .. one .. "%f[^%w_][^\n]*", from)
        name = one
      end
    end
    if not low then error(("no frame of %s where it should be in:\n%s"):format(name, text), 2) end
    from = high
  end
  assert.is_nil(text:find("previous frame", from, true)) -- gdb's words for a stack it cannot walk
end

describe("gdb", function()
  it("shows one backtrace from Lua through the gate into an image", function()
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write([[
      local mm = require "matchmaker"
      local image = mm.assert(mm.map(..., { guard = "open" }))
      pcall(image.call, image, { "deep", 2 }) -- not compiled: by libffi
    ]])
    file:close()
    local text = backtrace(("%s %s %s"):format(support.lua, script, support.image "crash"),
      "handle SIGSEGV stop print pass\nrun\nmatchmaker-symbols") -- until the fault
    os.remove(script)
    check(text, { "innermost", "helper", "helper", "helper", "deep", "mm__gate_enter", "ffi_call",
      "mm__thunk_call", "mm__function_call_within", { "main", "__libc_start_main[%w_]*" } })
  end)

  it("shows one backtrace from a C program through the gate into an image", function()
    local text = backtrace(("%s/example/c_client %s szó"):format(support.build,
      support.image "spell"), "handle SIGSEGV nostop noprint pass\nbreak mm_request_call\nrun\n" ..
      "matchmaker-symbols\ntbreak server.c:spell\ncontinue")
    check(text, { "spell", "mm__gate_enter", "ffi_call", "mm__function_call_within",
      "mm_request_call", "main" })
  end)
end)
