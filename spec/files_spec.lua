-- The calls on files one by one: which flags, modes, descriptors and pointers they take of an image.
-- What a granted folder is, and that no path leads out of it, is in grant_spec.lua.
-- Numbers: asm/unistd_64.h, asm-generic/errno-base.h, asm-generic/fcntl.h, asm-generic/ioctls.h.
local support = require "spec.support"
local shell = require "spec.shell"
local lfs = require "lfs"
local mm = require "matchmaker"

local ENOENT, EBADF, EACCES, EFAULT, EEXIST, EINVAL = -2, -9, -13, -14, -17, -22
local ENOTTY = -25
local HERE, EMPTY_PATH, NOFOLLOW = -100, 0x1000, 0x100
local O_APPEND, O_NONBLOCK, O_ASYNC, O_NOATIME = 0x400, 0x800, 0x2000, 0x40000
local AREA_GRAIN = 65536 -- a buffer of this size has nothing of the image's behind it

local function number(value) return tonumber(value) end

describe("a call of an image on", function()
  local folder = shell.folders(before_each, after_each)
  local image, exports

  local function grant(grants)
    if image then image:unmap() end
    image = mm.assert(mm.map(support.image "files", { grant = grants }))
    exports = image.exports
  end
  local function descriptors()
    local count = 0
    for _ in lfs.dir("/proc/self/fd") do count = count + 1 end
    return count
  end
  local function raw(call, ...)
    local words = { ... }
    for i = 1, 5 do words[i] = words[i] or 0 end
    return number(exports.raw(call, words[1], words[2], words[3], words[4], words[5]))
  end
  local function call_at(call, at, path, ...)
    local words = { ... }
    for i = 1, 3 do words[i] = words[i] or 0 end
    return number(exports.call_at(call, at, path, words[1], words[2], words[3]))
  end
  local function open(path, flags) return number(exports.open_at(HERE, path, flags or 0)) end
  local function room(bytes)
    local buffer = image:buffer(bytes)
    return number(exports.address_of(buffer)), buffer
  end
  local function ioctl(...) return raw(16, ...) end
  local function control(...) return number(exports.control(...)) end

  before_each(function()
    os.execute(("cd %s && mkdir inside outside && echo -n open >inside/file && " ..
      "echo -n secret >outside/file && ln -s none inside/lost"):format(folder()))
  end)
  after_each(function()
    image:unmap()
    image = nil
  end)
  support.guard(before_each, after_each)

  describe("a descriptor", function()
    local file
    before_each(function()
      grant { write = folder "inside" }
      file = open(folder "inside/file", 2)
    end)

    it("takes it by its lower half, as the kernel does", function()
      assert.equal(1, raw(8, file + 2 ^ 32, 1)) -- lseek
    end)

    it("duplicates it with what may be done with it, for no program outside", function()
      local copy = control(file, 0, 0) -- F_DUPFD
      assert.equal(0, control(copy, 2, 0)) -- F_SETFD
      assert.is_nil(shell.output("ls -l /proc/self/fd"):find("inside/file", 1, true))
      assert.equal(EINVAL, control(file, 0, -1))
      local other = number(exports.duplicate(open(folder "inside")))
      assert.equal("open", exports.read_some(number(exports.open_at(other, "file", 0))))
      assert.is_true(number(exports.open_at(other, "new", 0x41)) > 2)
      grant { read = folder "inside" }
      other = number(exports.duplicate(open(folder "inside")))
      assert.equal("open", exports.read_some(number(exports.open_at(other, "file", 0))))
      assert.equal(EACCES, number(exports.open_at(other, "new2", 0x41)))
    end)

    it("does not have signals sent, and changes no more than it may", function()
      local function is_set(flag) return math.floor(control(file, 3, 0) / flag) % 2 == 1 end -- F_GETFL
      assert.equal(0, control(file, 4, O_NOATIME + O_NONBLOCK + O_APPEND)) -- F_SETFL
      assert.is_true(is_set(O_NONBLOCK) and is_set(O_APPEND) and not is_set(O_NOATIME))
      file = open(folder "inside/file", O_ASYNC)
      assert.is_false(is_set(O_ASYNC))
    end)

    it("locks the file", function()
      assert.equal(2, number(exports.lock_it(file))) -- F_UNLCK: nobody else's
      local foreign = support.matchmaker "rw-"
      for command = 5, 7 do assert.equal(EFAULT, control(file, command, foreign)) end -- F_GETLK ...
      for command = 36, 38 do assert.equal(EFAULT, control(file, command, foreign)) end -- F_OFD_...
    end)

    it("asks a device for nothing but what is known", function()
      local low, buffer = room(AREA_GRAIN)
      assert.equal(0, ioctl(file, 0x541b, low)) -- FIONREAD
      assert.equal(4, buffer[0])
      assert.equal(0, ioctl(file, 0x5421, low)) -- FIONBIO
      assert.equal(ENOTTY, ioctl(file, 0x5401, low + AREA_GRAIN - 36)) -- TCGETS
      assert.equal(EFAULT, ioctl(file, 0x5401, low + AREA_GRAIN - 35))
      assert.equal(EFAULT, ioctl(file, 0x541b, low + AREA_GRAIN - 3))
      assert.equal(EFAULT, ioctl(file, 0x5421, support.matchmaker "r--"))
      assert.equal(ENOTTY, ioctl(file, 0x5451, 0)) -- FIOCLEX
      assert.equal("", support.refused(image))
      assert.equal(EINVAL, control(file, 1031, 4096)) -- F_SETPIPE_SZ
      assert.equal("fcntl - 1", support.refused(image))
      grant { "everything" }
      file = open(folder "inside/file")
      low = room(AREA_GRAIN)
      assert.equal(0, ioctl(file, 0x5460, low)) -- FIOQSIZE, into memory that is closed
    end)

    it("asks nothing of the client's", function()
      local low = room(256)
      for _, request in ipairs { 0x5401, 0x541b, 0x5421, 0x5451 } do
        assert.equal(EBADF, ioctl(0, request, low))
      end
      assert.equal(EBADF, call_at(262, 0, "", low, EMPTY_PATH)) -- newfstatat
      assert.equal(EFAULT, raw(20, file, 8, 1)) -- writev
      assert.equal(EINVAL, raw(20, file, 8, 1025))
      assert.equal(EBADF, call_at(332, 0, "", EMPTY_PATH, 0x7ff, low)) -- statx
      grant { "output" }
      assert.equal(EBADF, number(exports.size_of_descriptor(0)))
      assert.is_true(number(exports.size_of_descriptor(1)) >= 0)
      assert.equal(ENOTTY, ioctl(1, 0x5421, (room(256))))
    end)
  end)

  describe("a path", function()
    before_each(function() grant { write = folder "inside" } end)

    it("makes what has no special permissions", function()
      assert.is_true(call_at(257, HERE, folder "inside/one", 0x41, 4095) > 2) -- openat
      assert.is_true(number(exports.call_on(85, folder "inside/two", 4095, 0)) > 2) -- creat
      assert.equal(0, number(exports.call_on(83, folder "inside/three", 4095, 0))) -- mkdir
      assert.equal(0, call_at(258, HERE, folder "inside/four", 4095)) -- mkdirat
      for _, name in ipairs { "one", "two", "three", "four" } do
        assert.matches("^%d%d%d$", shell.output("stat -c %a " .. folder("inside/" .. name)), name)
      end
    end)

    it("does not read or write what it opens for its place only", function()
      local file = open(folder "inside/file", 0x200002) -- O_PATH, O_RDWR
      assert.is_true(file > 2)
      assert.equal(EBADF, number(exports.write_to(file, "x")))
      assert.equal("EBADF", exports.read_some(file))
      grant { read = folder "inside" }
      file = open(folder "inside/file", 0x200002)
      assert.equal(EBADF, number(exports.write_to(file, "x")))
      assert.equal("open", shell.read(folder "inside/file"))
    end)

    it("with a descriptor beside it means the one or the other", function()
      local place, low, buffer = open(folder "inside"), room(256)
      assert.equal(0, call_at(262, place, "file", low, EMPTY_PATH)) -- newfstatat
      assert.equal(4, buffer[48]) -- st_size
      assert.equal(EACCES, call_at(262, place, "../outside/file", low, EMPTY_PATH))
      assert.equal(EACCES, call_at(332, place, "../outside/file", EMPTY_PATH, 0x7ff, low)) -- statx
      assert.equal(0, call_at(262, place, "", low, EMPTY_PATH))
      assert.equal(ENOENT, call_at(262, HERE, "", low, EMPTY_PATH))
      assert.equal(ENOENT, call_at(332, HERE, "", EMPTY_PATH, 0x7ff, low))
    end)

    it("follows links where the call does", function()
      local lost, low = folder "inside/lost", room(256)
      assert.equal(ENOENT, number(exports.size_of(lost)))
      assert.equal(4, number(exports.size_of_link(lost)))
      assert.equal(ENOENT, call_at(262, HERE, lost, low, 0))
      assert.equal(0, call_at(262, HERE, lost, low, NOFOLLOW))
      assert.equal(ENOENT, call_at(332, HERE, lost, 0, 0x7ff, low))
      assert.equal(0, call_at(332, HERE, lost, NOFOLLOW, 0x7ff, low))
      assert.equal(ENOENT, call_at(269, HERE, lost, 0, NOFOLLOW)) -- faccessat takes no flags
      assert.equal(0, call_at(439, HERE, lost, 0, NOFOLLOW)) -- faccessat2
    end)

    it("renames as it is told to", function()
      local from, to = folder "inside/file", folder "inside/to"
      shell.write(to, "other")
      assert.equal(EEXIST, number(exports.move_at(316, HERE, from, HERE, to, 1))) -- RENAME_NOREPLACE
      assert.equal(0, number(exports.move_at(316, HERE, from, HERE, to, 2))) -- RENAME_EXCHANGE
      assert.equal("open", shell.read(to))
      assert.equal(EINVAL, number(exports.move_at(316, HERE, from, HERE, to, 4))) -- _WHITEOUT
      assert.equal(0, number(exports.move_at(264, HERE, from, HERE, to, 4))) -- renameat takes none
      assert.equal("other", shell.read(to))
    end)

    it("leaves nothing open, whatever comes of it", function()
      local before = descriptors()
      for _, path in ipairs { "inside/file", "inside/none", "outside/file", "inside/none/none" } do
        path = folder(path)
        exports.size_of(path)
        exports.size_of_x(path)
        exports.may(path, 6)
        exports.link_text(path)
        exports.move(path, folder "inside/other")
        exports.move(path, folder "outside/other")
        exports.move(folder "inside/other", path)
        exports.make_folder(path)
        exports.remove_folder(path)
        exports.remove_file(path)
        open(path .. "/../none")
      end
      os.execute("mkfifo " .. folder "inside/pipe")
      assert.equal(EACCES, open(folder "inside/pipe"))
      assert.equal(before, descriptors())
    end)

    it("ends before the image's memory does", function()
      local low, buffer = room(AREA_GRAIN)
      buffer:fill(110)
      assert.equal(EFAULT, raw(21, low + AREA_GRAIN - 8, 0)) -- access
      assert.equal(EFAULT, raw(21, low, 0))
      buffer:set(4200, "\0")
      assert.equal(EFAULT, raw(21, low, 0))
      buffer:set(4000, "\0")
      assert.equal(EACCES, raw(21, low, 0))
      buffer:set(10, "\0")
      assert.equal(EACCES, raw(21, low, 0))
    end)

    it("leads from the root where everything is granted", function()
      grant { "everything" }
      assert.equal(EEXIST, number(exports.make_folder "/tmp"))
      local place = open(folder "inside")
      assert.equal("open", exports.read_some(call_at(257, place, "file", 0)))
    end)

    it("is told of as long as there is room", function()
      grant { read = folder "inside" }
      for i = 1, 60 do assert.equal(EACCES, open("/none" .. i)) end
      assert.equal(EACCES, open("/" .. ("n"):rep(300)))
      assert.equal(39, #image:info().refused)
      grant { read = folder "inside" }
      open("/" .. ("n"):rep(300))
      assert.equal("openat /" .. ("n"):rep(118) .. " 1", support.refused(image))
    end)
  end)
end)
