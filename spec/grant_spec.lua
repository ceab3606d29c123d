-- What a client grants an image, and what the image then may do.
local support = require "spec.support"
local shell = require "spec.shell"
local mm = require "matchmaker"

local EPERM, ENOENT, EBADF, EACCES, EINVAL, EMFILE, ENOTDIR = -1, -2, -9, -13, -22, -24, -20
local EFAULT, ENAMETOOLONG = -14, -36
local HERE, O_DIRECTORY, O_NOFOLLOW, O_CREAT = -100, 0x10000, 0x20000, 0x40
local O_RDWR, O_TRUNC, O_TMPFILE = 2, 0x200, 0x410000

local function number(value) return tonumber(value) end

describe("files", function()
  local folder = shell.folders(before_each, after_each)
  local image, exports

  local function grant(grants)
    image = mm.assert(mm.map(support.image "files", { grant = grants }))
    exports = image.exports
  end

  -- inside/: a file, a folder; outside/: a secret
  before_each(function()
    os.execute(("cd %s && mkdir inside inside/deep outside && echo -n open >inside/file && " ..
      "echo -n deeper >inside/deep/file && echo -n secret >outside/file"):format(folder()))
  end)
  after_each(function() image:unmap() end)
  support.guard(before_each, after_each)

  local function open(path, flags) return number(exports.open_at(HERE, path, flags or 0)) end
  local function refused() return support.refused(image) end

  it("are out of reach without a grant, and the image's facts tell", function()
    grant { "output" }
    assert.equal("EPERM", exports.slurp(folder "inside/file"))
    assert.equal("EPERM", exports.slurp(folder "inside/file"))
    assert.equal(EPERM, number(exports.remove_file(folder "inside/file")))
    assert.equal("openat - 2\nunlink - 1", refused())
  end)

  describe("beneath a folder that may be read", function()
    before_each(function() grant { read = folder "inside" } end)

    it("are read in every way", function()
      local path = folder "inside/file"
      assert.equal("open", exports.slurp(path))
      assert.equal("deeper", exports.slurp(folder "inside/deep/file"))
      assert.equal("deeper", exports.slurp(folder() .. "//inside///deep/../deep/./file"))
      assert.equal("open", exports.mapped_text(path))
      for _, name in ipairs { "size_of", "size_of_link", "size_of_x" } do
        assert.equal(4, number(exports[name](path)))
      end
      assert.equal(0, number(exports.may(path, 4)))
      assert.equal(ENOENT, number(exports.size_of(folder "inside/none")))
      local names = exports.names_in(folder "inside")
      assert.is_true(names == "file deep " or names == "deep file ")
      local descriptor = open(path)
      assert.equal(1, number(exports.seek(descriptor, 1, 0)))
      assert.equal("pen", exports.read_some(descriptor))
      assert.equal(4, number(exports.size_of_descriptor(descriptor)))
      assert.equal(0, number(exports.close_it(descriptor)))
      assert.equal(EBADF, number(exports.close_it(descriptor)))
      assert.equal("", refused())
    end)

    it("are not written, made, moved or removed", function()
      local path = folder "inside/file"
      assert.equal(EACCES, number(exports.spill(path, "x")))
      assert.equal(EACCES, number(exports.spill(folder "inside/new", "x")))
      assert.equal(EACCES, number(exports.remove_file(path)))
      assert.equal(EACCES, number(exports.move(path, folder "inside/new")))
      assert.equal(EACCES, number(exports.make_folder(folder "inside/new")))
      assert.equal(EACCES, number(exports.remove_folder(folder "inside/deep")))
      assert.equal(EACCES, number(exports.may(path, 2)))
      assert.equal(EACCES, number(exports.write_mapped(path, "x")))
      local descriptor = open(path)
      assert.equal(EBADF, number(exports.write_to(descriptor, "x")))
      local deep = open(folder "inside/deep", O_DIRECTORY)
      assert.equal(EACCES, number(exports.open_at(deep, "new", O_CREAT + 1)))
      for _, flags in ipairs { O_TRUNC, O_CREAT, O_RDWR, 3 } do
        assert.equal(EACCES, open(path, flags), flags)
      end
      assert.equal(EACCES, open(folder "inside/new", O_CREAT))
      assert.equal(EACCES, open(folder "inside", O_TMPFILE + O_RDWR))
      assert.is_nil(io.open(folder "inside/new"))
      assert.equal("open", shell.read(path))
    end)

    it("are opened beneath an open folder", function()
      local deep = open(folder "inside/deep", O_DIRECTORY)
      local descriptor = number(exports.open_at(deep, "file", 0))
      assert.equal("deeper", exports.read_some(descriptor))
      assert.equal(EACCES, number(exports.open_at(deep, "../file", 0)))
      assert.equal(ENOTDIR, number(exports.open_at(descriptor, "file", 0)))
      assert.equal(EBADF, number(exports.open_at(0, "file", 0)))
    end)

    it("are found by a path that is relative to the client's folder", function()
      image:unmap()
      grant { read = "spec/fixture" }
      assert.matches("fixture/files.c", exports.slurp("spec/fixture/files.c"), 1, true)
      assert.equal("EACCES", exports.slurp("spec/fixture/../support.lua"))
      assert.equal("EACCES", exports.slurp("spec/support.lua"))
      local long = ("./"):rep(2037) .. "spec/fixture/files.c" -- with the client's folder, too long
      assert.equal(ENAMETOOLONG, open(long))
      assert.equal(EFAULT, open(mm.null))
    end)

    it("are found by each name of the folder, however it is written", function()
      os.execute(("cd %s && ln -s inside link"):format(folder()))
      for _, name in ipairs { "link", "link//", ".//link", "./link/." } do
        image:unmap()
        grant { read = folder(name) }
        assert.equal("open", exports.slurp(folder "inside/file"), name)
        if name ~= "./link/." then
          assert.equal("open", exports.slurp(folder(name) .. "/file"), name)
        end
        assert.equal("EACCES", exports.slurp(folder "outside/file"))
      end
    end)

    it("and no others, whatever the path tries", function()
      local inside, outside = folder "inside", folder "outside"
      os.execute(("cd %s && ln -s ../outside/file inside/relative && ln -s %s/file " ..
        "inside/absolute && ln -s ../outside inside/folder && ln -s file inside/fine && " ..
        "ln -s /proc/self/mem " ..
        "inside/memory && ln outside/file inside/hard && mkfifo inside/pipe"):format(folder(),
        outside))
      for _, path in ipairs { outside .. "/file", inside .. "/../outside/file", inside .. "X/file",
          inside .. "/deep/../../outside/file", inside .. "/relative", inside .. "/absolute",
          inside .. "/folder/file", inside .. "/memory", inside .. "/pipe", "/proc/self/mem",
          "/proc/self/root" .. outside .. "/file", "/proc/self/cwd/README.md", "/proc/self/fd/0",
          "/dev/null", inside .. "/.." } do
        assert.equal("EACCES", exports.slurp(path), path)
      end
      assert.equal(EACCES, number(exports.size_of(inside .. "/relative")))
      assert.equal(EACCES, number(exports.may(outside .. "/file", 4)))
      assert.equal("../outside/file", exports.link_text(inside .. "/relative"))
      assert.equal("open", exports.slurp(inside .. "/fine"))
      assert.equal(-40, open(inside .. "/fine", O_NOFOLLOW)) -- ELOOP
      assert.equal("secret", exports.slurp(inside .. "/hard")) -- it does lie in the folder
      assert.equal(ENOENT, open("")) -- of no folder
      assert.matches("openat " .. outside .. "/file 1\n", refused(), 1, true)
      assert.matches("openat " .. inside .. "/folder/file 1\n", refused(), 1, true)
      assert.matches("openat " .. inside .. "/pipe 1\n", refused(), 1, true)
      assert.equal(EACCES, open "/\27[31m\127")
      assert.matches("openat /?[31m? 1", refused(), 1, true)
    end)

    it("but no descriptor of the client's", function()
      local file = io.open(folder "outside/file")
      for descriptor = 0, 30 do
        assert.equal("EBADF", exports.read_some(descriptor))
        assert.equal(EBADF, number(exports.seek(descriptor, 0, 0)))
        assert.equal(EBADF, number(exports.size_of_descriptor(descriptor)))
        assert.equal(EBADF, number(exports.map_descriptor(descriptor)))
        assert.equal(EBADF, number(exports.duplicate(descriptor)))
        assert.equal(EBADF, number(exports.control(descriptor, 1, 0)))
        assert.equal(EBADF, number(exports.close_it(descriptor)))
        assert.equal(EBADF, number(exports.open_at(descriptor, "file", 0)))
      end
      assert.equal(EPERM, number(exports.duplicate_to(open(folder "inside/file"), 0)))
      assert.equal("secret", file:read("*a"))
      file:close()
    end)
  end)

  describe("beneath a folder that may be written", function()
    before_each(function() grant { write = folder "inside" } end)

    it("are made, changed, moved and removed", function()
      local path = folder "inside/new"
      assert.equal(0, number(exports.spill(path, "text")))
      assert.equal("text", shell.read(path))
      assert.equal(0, number(exports.may(path, 2)))
      assert.equal(0, number(exports.write_mapped(path, "T")))
      assert.equal("Text", shell.read(path))
      assert.equal(0, number(exports.make_folder(folder "inside/more/")))
      assert.equal(EFAULT, number(exports.move(path, mm.null)))
      assert.equal(0, number(exports.move(path, folder "inside/more/moved")))
      assert.equal("Text", exports.slurp(folder "inside/more/moved"))
      assert.equal("bcdefg", exports.scattered(folder "inside/scattered"))
      assert.equal("ab", shell.read(folder "inside/scattered"))
      assert.equal(0, number(exports.remove_file(folder "inside/more/moved")))
      assert.equal(0, number(exports.remove_folder(folder "inside/more")))
      assert.equal(ENOENT, number(exports.size_of(folder "inside/more")))
      assert.equal("", refused())
    end)

    it("and nothing else is", function()
      os.execute(("cd %s && ln -s ../outside inside/folder"):format(folder()))
      assert.equal(EACCES, number(exports.spill(folder "outside/new", "x")))
      assert.equal(EACCES, number(exports.spill(folder "inside/folder/file", "x")))
      assert.equal(EACCES, number(exports.remove_file(folder "inside/folder/file")))
      assert.equal(EACCES, number(exports.remove_file(folder "inside/../outside/file")))
      assert.equal(EACCES, number(exports.move(folder "inside/file", folder "outside/new")))
      assert.equal(EACCES, number(exports.move(folder "outside/file", folder "inside/new")))
      assert.equal(EACCES, number(exports.make_folder(folder "inside/folder/new")))
      assert.equal(EINVAL, number(exports.remove_folder(folder "inside/deep/..")))
      assert.equal(EINVAL, number(exports.remove_folder(folder "inside")))
      assert.equal(EFAULT, number(exports.remove_file(folder "inside/" .. ("a/"):rep(5000))))
      assert.equal(EPERM, number(exports.link_to("/etc/passwd", folder "inside/link")))
      assert.equal("secret", shell.read(folder "outside/file"))
      assert.equal(0, number(exports.remove_file(folder "inside/folder"))) -- the link itself
    end)

    it("may vanish under a path that is being read", function()
      local function blocked() return shell.read("/proc/self/status"):match("SigBlk:%s*(%x+)") end
      local before = blocked()
      local err = support.error_of(exports.open_lost, folder "inside/file")
      assert.equal("SIGBUS", err.signal)
      assert.matches("open", err.symbol) -- the image's, not the Matchmaker's that read it
      assert.equal(before, blocked())
      assert.equal("deeper", exports.slurp(folder "inside/deep/file"))
    end)

    it("have no special permissions", function()
      assert.is_true(open(folder "inside/new", O_CREAT + 1) > 2)
      assert.matches("^%-rw", shell.output("ls -l " .. folder "inside/new"))
      local unnamed = open(folder "inside", O_TMPFILE + O_RDWR)
      assert.matches("^rw", require("lfs").attributes("/proc/self/fd/" .. unnamed, "permissions"))
    end)

    it("only from the client's memory if it is the image's", function()
      local descriptor = open(folder "inside/new", O_CREAT + 1)
      assert.equal(EFAULT, number(exports.vector_from(descriptor, support.matchmaker "r--", 16)))
      assert.equal(4, number(exports.write_to(descriptor, "fine")))
    end)
  end)

  it("of the whole tree do not include what is mounted in it", function()
    grant { read = "/" }
    assert.equal("open", exports.slurp(folder "inside/file"))
    for _, path in ipairs { "/proc/self/mem", "/proc/self/maps", "/proc/1/root/etc/passwd",
        "/sys/kernel/notes", "/proc/self/fd/0" } do
      assert.equal("EACCES", exports.slurp(path), path)
    end
  end)

  it("are no devices", function()
    grant { write = "/dev" }
    assert.equal("EACCES", exports.slurp("/dev/zero"))
    assert.equal(EACCES, number(exports.spill("/dev/null", "x")))
  end)

  it("stay where they are when the folder is replaced", function()
    grant { read = folder "inside" }
    os.execute(("cd %s && mv inside elsewhere && ln -s outside inside"):format(folder()))
    assert.equal("ENOENT", exports.slurp(folder "inside/file"))
    os.execute(("cd %s && rm inside && mv elsewhere inside"):format(folder()))
    assert.equal("open", exports.slurp(folder "inside/file"))
  end)

  -- Where the new folder has the number of the old one: both are roots.
  it("stay where they are when another file system is mounted over the folder", function()
    grant {}
    local mount = "mount -t tmpfs tmpfs " .. folder "inside"
    if shell.run("unshare -m " .. mount).status ~= 0 then
      return pending "needs the right to mount"
    end
    local script = mount .. " && " .. shell.lua([[
      local mm = require "matchmaker"
      local path, folder, mount = ...
      local image = mm.assert(mm.map(path, { grant = { read = folder } }))
      os.execute("echo -n open >" .. folder .. "/file")
      print(image.exports.slurp(folder .. "/file"))
      os.execute(mount .. " && echo -n secret >" .. folder .. "/file")
      print(image.exports.slurp(folder .. "/file"))
    ]], folder()) .. (" %s %s '%s'"):format(support.image "files", folder "inside", mount)
    assert.equal("open\nENOENT", shell.output("unshare -m sh -c " .. shell.quote(script)))
  end)

  it("stay out of reach while a folder on the way is exchanged for a link", function()
    grant { read = folder "inside" }
    local swapping = io.popen(([[
      cd %s/inside && mkdir a && cp file a/file && ln -s ../outside b && touch running
      while [ -e running ]; do mv -T a c; mv -T b a; mv -T c b; done 2>/dev/null; echo done
    ]]):format(folder()))
    local seen = {}
    for _ = 1, 3000 do seen[exports.slurp(folder "inside/a/file")] = true end
    os.remove(folder "inside/running")
    assert.equal("done\n", swapping:read("*a"))
    swapping:close()
    assert.is_nil(seen.secret)
    assert.is_true(seen.open)
  end)

  describe("that are open", function()
    local function descriptors()
      local count = 0
      for _ in require("lfs").dir("/proc/self/fd") do count = count + 1 end
      return count
    end
    before_each(function() grant { read = folder "inside" } end)

    it("are closed by a reset, a fault and the end of the image, and no others", function()
      local path, before = folder "inside/file", descriptors()
      local descriptor = open(path)
      assert.equal(before + 1, descriptors())
      image:reset()
      assert.equal(before, descriptors())
      assert.equal("EBADF", exports.read_some(descriptor))
      assert.equal("fault", support.error_of(exports.open_and_crash, path).kind)
      assert.equal(before, descriptors())
      open(path)
      image:unmap()
      assert.equal(before, descriptors())
    end)

    it("are not those of a program that the client starts", function()
      for _, grants in ipairs { { read = folder "inside" }, { "everything" } } do
        image:unmap()
        grant(grants)
        exports.duplicate(open(folder "inside/file"))
        assert.is_nil(shell.output("ls -l /proc/self/fd"):find("inside/file", 1, true))
      end
    end)

    it("are only so many at a time", function()
      for _ = 1, 200 do assert.equal(0, number(exports.close_it(open(folder "inside/file")))) end
      local before = descriptors()
      assert.equal(EMFILE, number(exports.open_many(folder "inside/file", 200)))
      assert.equal(before + 128, descriptors())
    end)

    it("are the image's own when duplicated, and never the standard ones", function()
      local descriptor = open(folder "inside/file")
      local other = number(exports.duplicate(descriptor))
      assert.is_true(other > 2)
      assert.is_true(number(exports.control(descriptor, 0, 0)) > 2) -- F_DUPFD
      assert.equal("open", exports.read_some(other))
      assert.equal(1, number(exports.control(other, 1, 0))) -- F_GETFD: closed on exec
      assert.equal(0, number(exports.control(other, 2, 0)))
      assert.equal(1, number(exports.control(other, 1, 0)))
      assert.equal(EINVAL, number(exports.control(other, 1031, 4096))) -- F_SETPIPE_SZ
    end)

    it("are none of the image's any more when the client closed and reused them", function()
      local result = support.run([[
        local mm = require "matchmaker"
        local path, folder = ...
        local image = mm.assert(mm.map(path, { grant = { read = folder .. "/inside" } }))
        local ffi = require "ffi"
        ffi.cdef "int close(int); int open(const char *, int); int dup2(int, int);"
        local descriptor = tonumber(image.exports.open_at(-100, folder .. "/inside/file", 0))
        local other = ffi.C.open(folder .. "/outside/file", 0)
        assert(ffi.C.dup2(other, descriptor) == descriptor)
        print(image.exports.read_some(descriptor), tonumber(image.exports.close_it(descriptor)))
        image:reset()
        print(ffi.C.close(descriptor))
        descriptor = tonumber(image.exports.open_at(-100, folder .. "/inside/file", 0))
        assert(ffi.C.dup2(other, descriptor) == descriptor)
        image:reset() -- when nothing has looked at it since
        assert(ffi.C.close(descriptor) == 0)
        local again = tonumber(image.exports.open_at(-100, folder .. "/inside/file", 0))
        assert(ffi.C.close(again) == 0)
        assert(tonumber(image.exports.open_at(-100, folder .. "/inside/file", 0)) == again)
        assert(tonumber(image.exports.close_it(again)) == 0)
        assert(ffi.C.dup2(ffi.C.open(folder .. "/inside/file", 0), again) == again)
        assert(tonumber(image.exports.close_it(again)) == -9) -- of the same file, and the client's
        for _ = 1, 200 do
          descriptor = tonumber(image.exports.open_at(-100, folder .. "/inside/file", 0))
          assert(ffi.C.dup2(other, descriptor) == descriptor)
          assert(tonumber(image.exports.close_it(descriptor)) == -9)
        end
        print(ffi.C.close(descriptor))
      ]], support.image "files", folder())
      if result.stderr:find("module 'ffi' not found", 1, true) then return end
      assert.equal("EBADF\t-9\n0\n0\n", result.stdout)
    end)

    -- Roots of file systems without a disk have the same number.
    it("are told from those of another file system by more than the number", function()
      local lfs = require "lfs"
      if lfs.attributes("/dev", "ino") ~= lfs.attributes("/proc", "ino") then return end
      local result = support.run([[
        local mm = require "matchmaker"
        local image = mm.assert(mm.map(..., { grant = { read = "/dev" } }))
        local ffi = require "ffi"
        ffi.cdef "int open(const char *, int); int dup2(int, int);"
        local descriptor = tonumber(image.exports.open_at(-100, "/dev", 0))
        ffi.C.dup2(ffi.C.open("/proc", 0), descriptor)
        print(tonumber(image.exports.open_at(descriptor, "version", 0)))
      ]], support.image "files")
      if result.stderr:find("module 'ffi' not found", 1, true) then return end
      assert.equal("-9\n", result.stdout)
    end)

    it("do not take the number of a standard one that the client closed", function()
      local code = [[
        local mm = require "matchmaker"
        local path, folder = ...
        local image = mm.assert(mm.map(path, { grant = { read = folder } }))
        local function flags_of(number)
          local file = io.open("/proc/self/fdinfo/" .. number)
          local flags = file and file:read("*a"):match("flags:%s*(%d+)") or "none"
          if file then file:close() end
          return flags
        end
        local facts, first = {}, nil
        for i = 1, 4 do
          if i == 3 then first = io.open(folder) end -- the others are free still
          local number = tonumber(image.exports.open_at(-100, folder, 0))
          facts[i] = number > 2 and flags_of(number):match("^02") and "closed on exec" or "wrong"
        end
        first:close()
        for i = 0, 2 do facts[#facts + 1] = flags_of(i) end
        local told = io.open(folder .. "/told", "w")
        told:write(table.concat(facts, " "))
        told:close()
      ]]
      shell.run(shell.lua(code, folder()) .. " " .. support.image "files" .. " " ..
        folder() .. " <&- >&- 2>&-")
      assert.equal(("closed on exec "):rep(4) .. "none none none", shell.read(folder "told"))
    end)
  end)

  describe("cannot be granted", function()
    local function message(grants, options)
      options = options or {}
      options.grant = grants
      local made, err = mm.map(support.image "files", options)
      assert.is_nil(made)
      return (err.kind .. " " .. err.message:gsub("^[^:]*: ", ""))
    end
    before_each(function() grant {} end)

    it("beneath what is no folder, or is not there", function()
      image:unmap()
      assert.equal(("missing the folder %s cannot be granted: No such file or directory"):format(
        folder "none"), message { read = folder "none" })
      assert.equal(("missing the folder %s cannot be granted: Not a directory"):format(
        folder "inside/file"), message { read = { folder "inside", folder "inside/file" } })
      assert.equal("argument /proc cannot be granted: it lies in /proc, where all memory of the " ..
        "client is", message { read = "/proc" })
      assert.matches("^missing .*xxx/y cannot be granted: File name too long$",
        message { read = ("x"):rep(5000) .. "/y" })
      local long = {}
      for i = 1, 32 do long[i] = folder() .. ("/."):rep(100 + i) end
      assert.equal("limit the names of the granted folders are too long", message { read = long })
    end)

    it("where the client may not look", function()
      os.execute(("mkdir %s/shut %s/shut/within && chmod 0 %s/shut"):format(folder(), folder(),
        folder()))
      local result = shell.run(shell.unprivileged(shell.lua([[
        local mm = require "matchmaker"
        local path, shut = ...
        print(select(2, mm.map(path, { grant = { read = shut } })).kind)
      ]], folder()) .. " " .. support.image "files" .. " " .. folder "shut/within"))
      assert.equal("unreadable\n", result.stdout, result.stderr)
      os.execute("chmod 700 " .. folder "shut")
    end)

    it("by what is no option", function()
      local function wrong(grants)
        return support.error_of(mm.map, support.image "files", { grant = grants }).message
      end
      assert.equal("request_map: there is no option `grant.execute`", wrong { execute = "/" })
      assert.equal("request_map: option `grant.read` is the path of a folder, or a list of " ..
        "them, got a number", wrong { read = 1 })
      assert.equal('request_map: option `grant.write` is the path of a folder, or a list of ' ..
        'them, got ""',
        wrong { write = { "" } })
      assert.equal('request_map: option `grant` is "output", "sockets", "jit" or "everything", ' ..
        'or folders as in { read = "/tmp" }, got "read"', wrong "read")
      assert.equal("request_map: option `grant` is a list from 1 on, got a boolean as a key",
        wrong { [true] = "/" })
      assert.equal("request_map: option `grant` is a list from 1 on, got a number as a key",
        wrong { [0] = "output" })
      assert.equal("request_map: option `grant.read` is a list from 1 on, got a string as a key",
        wrong { read = { "/", write = "/tmp" } })
      assert.equal("request_map: option `grant.read` holds a NUL at position 5",
        wrong { read = "/tmp\0/x" })
      local many = {}
      for i = 1, 100 do many[i] = "/" end
      assert.equal("request_map: more than 32 folders are granted", wrong { read = many })
    end)
  end)
end)

describe("the shell", function()
  support.guard(before_each, after_each)

  local function command(words)
    return shell.run(("MATCHMAKER_LUA=%s MM_BUILD=%s bin/matchmaker %s"):format(support.lua,
      support.build, words))
  end

  it("grants what --grant names", function()
    local image = support.image "need_output"
    assert.equal("hello, you\n0\n", command("call --grant output " .. image .. " greet you").stdout)
    local result = command("call --grant jit --grant output " .. image .. " greet you")
    assert.equal("hello, you\n0\n", result.stdout)
  end)

  it("says what it does not understand of --grant", function()
    local image = support.image "need_output"
    local result = command("call --grant disk " .. image .. " greet you")
    assert.equal(2, result.status)
    assert.matches('^matchmaker: request_map: option `grant` is .*, got "disk"\n$', result.stderr)
    result = command("call --grant")
    assert.equal(2, result.status)
    assert.equal("matchmaker: `--grant` wants a value: a name\n", result.stderr)
  end)
end)
