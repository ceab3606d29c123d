-- The list of clients, each in a runtime folder of its own.
local shell = require "spec.shell"
local support = require "spec.support"
local lfs = require "lfs"

describe("the list of clients", function()
  support.guard(before_each, after_each)
  local path = shell.folders(before_each, after_each)

  local preamble = [[
    local mm = require "matchmaker"
    local function mine()
      for _, client in ipairs(mm.assert(mm.clients())) do
        if client.is_self then return client end
      end
    end
  ]]

  local function command(code)
    return ("XDG_RUNTIME_DIR=%s %s"):format(path(), shell.lua(code, path()))
  end

  local function output(code) return shell.output(command(preamble .. code)) end

  local function entries()
    local list = {}
    for name in lfs.dir(path "matchmaker") do
      if not name:find "^%.+$" then list[#list + 1] = name end
    end
    return list
  end

  -- A client that has mapped an image, until the test's shell ends it; `$pid` is its own.
  local function with_client(words)
    return ([[
      rm -f %s/ready; [ -p %s/never ] || mkfifo %s/never
      %s & pid=$!
      while ! [ -e %s/ready ]; do sleep 0.01; done
      %s
      kill -9 $pid 2>/dev/null; wait 2>/dev/null; true
    ]]):format(path(), path(), path(), command(preamble .. ([[
      local image = mm.assert(mm.map(%q))
      io.open(%q, "w"):close()
      io.open(%q) -- waits for a writer
    ]]):format(support.image "math", path "ready", path "never")), path(), words)
  end

  local ps = ("XDG_RUNTIME_DIR=$XDG MM_BUILD=%s MATCHMAKER_LUA=%s %s/bin/matchmaker ps")
    :format(support.build, support.lua, shell.root)
  local function list(options) return ps:gsub("$XDG", path()) .. " " .. (options or "") end

  it("shows a process its own images", function()
    assert.equal("0\n1 math.mmi pages\n0", output(([[
      print(#mine().images)
      local image = mm.assert(mm.map(%q))
      local listed = mine().images
      assert(listed[1].slot == image:info().slot)
      print(#listed, listed[1].path:match "[^/]+$", listed[1].guard)
      image:unmap()
      print(#mine().images)
    ]]):format(support.image "math")):gsub("\t", " "))
  end)

  it("shows other processes, and what they map", function()
    local text = shell.output(with_client(list()))
    assert.matches("\n *%d+  %d+%-%d+%-%d+ %d+:%d+:%d+  %S*" .. support.lua, text)
    assert.matches("\n +slot %d+ +pages +[%d.]+ MiB  /.*/math.mmi", text)
    text = shell.output(with_client(list "--json"))
    assert.matches('^%[{"command":"[^"]*","images":%[{"guard":"pages",.*"user":%d+}%]$', text)
  end)

  it("has nothing left of a process that ended well", function()
    output "assert(mine())"
    assert.same({}, entries())
    output "mm.finalize() assert(not mine())"
    assert.same({}, entries())
  end)

  it("is cleared of killed processes by whoever reads it", function()
    shell.run(with_client "true")
    assert.equal(1, #entries())
    assert.equal("[]", shell.output(list "--json"))
    assert.same({}, entries())
  end)

  it("is the user's own, and written by no other name", function()
    shell.write(path "other", "mine")
    local code = ([[
      local lfs, folder, entry = require "lfs", "%s/matchmaker/", nil
      assert(mine())
      for name in lfs.dir(folder) do if not name:find "^%%.+$" then entry = folder .. name end end
      print(lfs.attributes(entry, "permissions"))
      os.remove(entry)
      os.execute("ln -s ../other " .. entry)
      local image = mm.assert(mm.map "%s")
      print(mm.clients().lack.message:match "[^:]*$")
    ]]):format(path(), support.image "math")
    assert.equal("rw-------\n Too many levels of symbolic links", output(code))
    assert.equal("mine", shell.read(path "other"))
  end)

  it("is left by who asks not to be in it", function()
    assert.equal("nil", output "mm.init { list = false } print(tostring((mine())))")
    local silent = command(preamble .. "print(tostring((mine())), mm.clients().lack)")
    assert.equal("nil\tnil", shell.output("MM_LIST=0 " .. silent))
  end)

  it("stands a thousand clients at once, and one killed at a thousand moments #long", function()
    local unit = io.popen(("timeout 1000 %s/unit/list_test %s 1000 1000 2>&1")
      :format(support.build, path()))
    local text = unit:read "*a"
    unit:close()
    assert.matches("ok killed_at_any_moment_it_hurts_nobody", text)
    assert.matches("ok many_at_once", text)
    assert.is_nil(text:find("not ok", 1, true), text)
  end)

  it("may be missing: the client works, and says why others do not see it", function()
    shell.write(path "matchmaker", "")
    assert.matches("the list of clients: .*/matchmaker must be a folder", output(([[
      local image = mm.assert(mm.map(%q))
      assert(image.exports.add(1, 2) == 3)
      local list, err = mm.clients()
      assert(not list and err.kind == "system")
      print(err)
    ]]):format(support.image "math")))
    local result = shell.run(list())
    assert.equal(1, result.status)
    assert.matches("^matchmaker: the list of clients: [^\n]*\n$", result.stderr)
  end)
end)
