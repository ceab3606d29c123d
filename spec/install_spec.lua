-- `make install` into a fresh folder: what is there works without the sources and the build folder.
local version = _VERSION:match("%d%.%d")
local lua = os.getenv("MATCHMAKER_LUA") or (jit and "luajit" or "lua" .. version)
local build = os.getenv("MM_BUILD") or "build"

local SERVER = [[
#include <matchmaker/server.h>
static int base;
MM_EXPORT(int, add, (int a, int b), "the sum, and what the server was told")
int add(int a, int b) { return base + a + b; }
int main(int argc, char **argv) {
  (void)argv;
  base = 10 * (argc - 1);
  return mm_snapshot(0);
}
]]

local CLIENT = [[
#include <matchmaker.h>
#include <stdio.h>
int main(int argc, char **argv) {
  struct mm_error error;
  struct mm_image *image;
  struct mm_function *add;
  int a = 1, b = 2, sum = 0;
  void *args[] = {&a, &b};
  if (argc != 2 || mm_init(0, &error) || mm_request_map(argv[1], 0, &image, &error) ||
      mm_bind(image, "add", "int (int, int)", &add, &error) ||
      mm_request_call(add, &sum, args, &error)) {
    puts(error.message);
    return 1;
  }
  printf("%d\n", sum);
  mm_image_release(image);
  return mm_finalize(&error) != 0;
}
]]

local function output_of(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1; echo \" $?\""))
  local text = pipe:read("*a")
  pipe:close()
  local output, status = text:match("^(.*) (%d+)%s*$")
  return tonumber(status), output
end

local function succeed(command)
  local status, output = output_of(command)
  assert(status == 0, command .. "\n" .. output)
  return output
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

describe("make install #slow", function()
  local folder, prefix, make

  setup(function()
    folder = succeed("mktemp -d"):match("%S+")
    prefix = folder .. "/prefix"
    write(folder .. "/server.c", SERVER)
    write(folder .. "/client.c", CLIENT)
    -- A copy: another PREFIX means another library, and all that is linked to it anew.
    succeed(("mkdir %s/build; cd %s; cp -a core host lua lib* matchmaker* needs prefix %s/build")
      :format(folder, build, folder))
    make = ("env -u MAKEFLAGS -u MFLAGS make --no-print-directory -s B=%s/build"):format(folder)
    succeed(("%s install PREFIX=%s"):format(make, prefix))
  end)

  teardown(function() succeed("rm -rf " .. folder) end)

  -- Nothing of this folder, nothing of this process's own settings.
  local function outside(command, ...)
    return ("cd %s && env -u LUA_PATH -u LUA_CPATH -u MM_BUILD PKG_CONFIG_PATH=%s/lib/pkgconfig " ..
      "LD_LIBRARY_PATH=%s/lib PATH=%s/bin:$PATH MATCHMAKER_LUA=%s "):format(folder, prefix, prefix,
      prefix, lua) .. "sh -ec '" .. command:format(...) .. "'"
  end

  local function make_image()
    succeed(outside("cc -fPIE -pie server.c -o server " ..
      "$(pkg-config --cflags --libs matchmaker-server)"))
    succeed(outside("matchmaker snapshot -o sum.mmi ./server x"))
  end

  it("gives a server what it needs to become an image", function()
    make_image()
    assert.equal("13\n", succeed(outside("matchmaker call sum.mmi add 1 2")))
  end)

  it("gives a server that is started by itself its launcher", function()
    make_image()
    succeed(outside("rm sum.mmi; PATH=/usr/bin:/bin ./server x"))
    assert.equal("13\n", succeed(outside("matchmaker call server.mmi add 1 2")))
  end)

  it("gives a C client its library, shared and static", function()
    make_image()
    succeed(outside("cc client.c -o client $(pkg-config --cflags --libs matchmaker)"))
    assert.equal("13\n", succeed(outside("./client sum.mmi")))
    succeed(outside("cc client.c -o client $(pkg-config --cflags matchmaker) " ..
      "%s/lib/libmatchmaker.a -lffi -lelf -lyaml -lpthread", prefix))
    assert.equal("13\n", succeed(outside("./client sum.mmi")))
  end)

  it("gives this Lua its module", function()
    make_image()
    write(folder .. "/client.lua",
      'print(require("matchmaker").request_map("sum.mmi").exports.add(1, 2))')
    local sources, modules = prefix .. "/share/lua/" .. version, prefix .. "/lib/lua/" .. version
    assert.equal("13\n", succeed(outside("LUA_PATH=\"%s/?.lua;%s/?/init.lua\" " ..
      "LUA_CPATH=%s/?.so %s client.lua", sources, sources, modules, lua)))
  end)

  it("installs every Lua file of the sources", function()
    local sources = succeed("cd lua && find matchmaker -name '*.lua' | sort")
    assert.equal(sources, succeed(("cd %s/share/lua/%s && find matchmaker -name '*.lua' | sort")
      :format(prefix, version)))
    assert.matches("matchmaker/cli/inspect.lua", sources)
  end)

  it("puts DESTDIR before everything, and into nothing", function()
    local root = folder .. "/root"
    succeed(("%s install PREFIX=/opt/mm DESTDIR=%s"):format(make, root))
    succeed(("test -x %s/opt/mm/bin/matchmaker"):format(root))
    local found = select(2, output_of(("grep -rl %s %s"):format(root, root)))
    assert.equal("", found)
  end)

  it("is undone by make uninstall", function()
    local other = folder .. "/other"
    succeed(("%s install PREFIX=%s"):format(make, other))
    succeed(("%s uninstall PREFIX=%s"):format(make, other))
    assert.equal("", succeed(("find %s -not -type d"):format(other)))
  end)
end)
