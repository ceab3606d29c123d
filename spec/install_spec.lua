-- `make install`: what it puts there is found, and works without the sources and the build folder.
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

local MAKE = "env -u MAKEFLAGS -u MFLAGS make --no-print-directory -s B=%s "

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

describe("make install with another PREFIX #slow", function()
  local folder, prefix, make

  setup(function()
    folder = succeed("mktemp -d"):match("%S+")
    prefix = folder .. "/prefix"
    write(folder .. "/server.c", SERVER)
    write(folder .. "/client.c", CLIENT)
    -- A copy: another PREFIX means another library, and all that is linked to it anew.
    succeed(("mkdir %s/build; cd %s; cp -a core host lua lib* matchmaker* needs prefix %s/build")
      :format(folder, build, folder))
    make = MAKE:format(folder .. "/build")
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
end)

-- What is installed stands in /usr/local for these commands, in a mount namespace of their own, and
-- no variable tells them where to look.
describe("make install, in Debian's folders", function()
  local separate = "unshare --user --map-root-user --mount "
  local can_separate = output_of(separate .. "true") == 0
  local it = can_separate and it or pending -- luacheck: ignore
  local folder, root

  setup(function()
    folder = succeed("mktemp -d"):match("%S+")
    root = folder .. "/root"
    write(folder .. "/client.c", CLIENT)
    succeed(("umask 077; mkdir -m 755 %s; " .. MAKE .. "install DESTDIR=%s"):format(root, build,
      root))
  end)

  teardown(function() succeed("rm -rf " .. folder) end)

  local function installed(command)
    return (succeed(("cp %s/image/math.mmi %s; %s sh -ec 'mount --bind %s/usr/local /usr/local; " ..
      "cd %s; exec env -i HOME=%s PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin " ..
      "sh -ec \"$0\"' '%s'"):format(build, folder, separate, root, folder, folder,
      command:gsub("'", "'\\''"))):gsub("\n$", ""))
  end

  local function has(command) return output_of("command -v " .. command) == 0 end

  it("wants a PREFIX that means the same everywhere", function()
    local status, output = output_of((MAKE .. "-n install PREFIX=here"):format(build))
    assert.equal(2, status)
    assert.matches("PREFIX=here is no absolute path", output, 1, true)
  end)

  it("gives this Lua its modules", function()
    assert.equal("3", installed(lua ..
      [[ -e 'print(require("matchmaker").map("math.mmi").exports.add(1, 2))']]))
    assert.equal("@/usr/local/share/lua/" .. version .. "/matchmaker/help.lua",
      installed(lua .. [[ -e 'print(debug.getinfo(require("matchmaker.help").text).source)']]))
  end)

  it("lets everyone read what it gives, whatever the umask", function()
    assert.equal("", succeed(("find %s -not -type l -not -perm -o=r"):format(root)))
    assert.equal("", succeed(("find %s -type d -not -perm -o=x"):format(root)))
  end)

  it("gives the shell its command and the manual its page", function()
    assert.equal("3", installed("matchmaker call math.mmi add 1 2"))
    if has "man" then
      assert.equal("/usr/local/share/man/man1/matchmaker.1", installed("man -w matchmaker"))
    end
  end)

  it("gives a compiler headers and libraries, and ldconfig what a program needs", function()
    installed("cc client.c -o client $(pkg-config --cflags --libs matchmaker)")
    assert.matches("libmatchmaker.so.0 ->", installed("ldconfig -v -N -X 2>&1"), 1, true)
    assert.equal("3", installed("LD_LIBRARY_PATH=/usr/local/lib ./client math.mmi"))
    installed("echo \"#include <matchmaker/server.h>\" | cc -fsyntax-only -x c -; " ..
      "pkg-config --exists matchmaker-server")
  end)

  it("gives bash, zsh and fish their completion", function()
    local loader = "/usr/share/bash-completion/bash_completion"
    if output_of("test -e " .. loader) == 0 then
      assert.equal("complete -F _matchmaker matchmaker", installed(("bash -c '. %s; " ..
        "__load_completion matchmaker; complete -p matchmaker'"):format(loader)))
    end
    if has "zsh" then
      assert.matches("/usr/local/share/zsh/site%-functions/_matchmaker$", installed(
        "zsh -fc 'autoload -Uz compinit; compinit -D; autoload +X $_comps[matchmaker]; " ..
        "whence -v _matchmaker'"))
    end
    if has "fish" then
      assert.matches("^doctor\t", installed("XDG_DATA_DIRS=/usr/local/share:/usr/share " ..
        "fish -c 'complete -C \"matchmaker doc\"'"))
    end
  end)

  it("with PREFIX=/usr gives zsh its completion where Debian's packages have theirs", function()
    local folders = has "zsh" and succeed("zsh -fc 'print -l $fpath'")
    local rule = succeed((MAKE .. "-n install PREFIX=/usr DESTDIR=/nowhere"):format(build))
    local path = rule:match("/nowhere(/usr/share/zsh/[%w-]+)/_matchmaker")
    assert.equal("/usr/share/zsh/vendor-completions", path)
    if folders then assert.matches("\n" .. path .. "\n", folders, 1, true) end
  end)

  it("is undone by make uninstall, which leaves what others put there", function()
    local copy, other = folder .. "/copy", "/usr/local/share/lua/" .. version .. "/other.lua"
    succeed(("cp -a %s %s; touch %s"):format(root, copy, copy .. other))
    succeed((MAKE .. "uninstall DESTDIR=%s"):format(build, copy))
    assert.equal(copy .. other .. "\n", succeed(("find %s -not -type d"):format(copy)))
    assert.equal("", succeed(("find %s -name 'matchmaker*'"):format(copy)))
  end)
end)
