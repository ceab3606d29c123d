-- `luarocks make` for the Lua that runs this, into a fresh tree, and the module loaded from nowhere
-- else. LuaJIT takes the place of 5.1, with headers of its own.
local version = _VERSION:match("%d%.%d")
local lua = os.getenv("MATCHMAKER_LUA") or (jit and "luajit" or "lua" .. version)

local function output_of(command)
  local pipe = assert(io.popen(command .. " 2>&1; echo \" $?\""))
  local text = pipe:read("*a")
  pipe:close()
  local output, status = text:match("^(.*) (%d+)%s*$")
  return tonumber(status), output
end

describe("the rockspec #slow", function()
  local folder, tree

  setup(function()
    local _, name = output_of("mktemp -d")
    folder = name:match("%S+")
    tree = folder .. "/tree"
    assert.equal(0, (output_of(("cp -r Makefile matchmaker-scm-1.rockspec tools csrc lua bin " ..
      "share LICENSE README.md %s"):format(folder))))
    local headers = ""
    if jit then
      local _, flags = output_of("pkg-config --cflags-only-I luajit")
      headers = "LUA_INCDIR=" .. flags:match("%-I(%S+)")
    end
    local status, output = output_of(("cd %s && env -u LUA_PATH -u LUA_CPATH -u MAKEFLAGS " ..
      "-u MFLAGS -u B luarocks --lua-version=%s --tree=%s make --deps-mode=none " ..
      "matchmaker-scm-1.rockspec %s"):format(folder, version, tree, headers))
    assert(status == 0, output)
  end)

  teardown(function() os.execute("rm -rf '" .. folder .. "'") end)

  it("installs a module that needs nothing else", function()
    local sources, modules = tree .. "/share/lua/" .. version, tree .. "/lib/lua/" .. version
    local status, output = output_of(("cd / && LUA_PATH='%s/?.lua;%s/?/init.lua' " ..
      "LUA_CPATH='%s/?.so' %s -e 'print(type(require(\"matchmaker\").request_map))'")
      :format(sources, sources, modules, lua))
    assert.equal("function\n", output)
    assert.equal(0, status)
  end)

  it("installs a command that finds its module and its launcher", function()
    local command = ("cd / && env -u LUA_PATH -u LUA_CPATH -u MM_BUILD MATCHMAKER_LUA=%s " ..
      "%s/bin/matchmaker "):format(lua, tree)
    local status, output = output_of(command .. "doctor")
    assert(status == 0, output)
    assert.equal(2, (output_of(command .. "snapshot")))
  end)
end)
