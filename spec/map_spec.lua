local support = require "spec.support"
local shell = require "spec.shell"
local mm = require "matchmaker"

describe("mapping", function()
  support.guard(before_each, after_each)
  local folder = shell.folders(before_each, after_each)

  -- The error of mapping what has to be refused; its message starts with the path.
  local function refusal(path, options)
    local image, err = mm.map(path, options)
    assert.is_nil(image)
    assert.equal(path, err.message:sub(1, #path))
    assert.equal(path, err.image)
    assert.same({}, mm.mapped())
    return err, err.message:sub(#path + 1)
  end

  local function file(bytes) return shell.write(folder "x.mmi", bytes) end

  local function little_endian(text, at)
    local value = 0
    for i = 7, 0, -1 do value = value * 256 + text:byte(at + i) end
    return value
  end

  -- Where the segments begin: right behind the notes, which are the first program header.
  local function head_bytes(image)
    local notes_end = little_endian(image, 64 + 8 + 1) + little_endian(image, 64 + 32 + 1)
    return math.ceil(notes_end / 4096) * 4096
  end

  describe("refuses", function()
    it("a file that is missing", function()
      local err, text = refusal(folder "none.mmi")
      assert.equal("missing", err.kind)
      assert.equal(": No such file or directory", text)
      assert.equal("missing", refusal(support.image "math" .. "/x.mmi").kind)
    end)

    it("a folder", function()
      local err, text = refusal(folder())
      assert.equal("not_a_file", err.kind)
      assert.equal(": is a folder", text)
    end)

    it("a pipe, without waiting for a writer", function()
      shell.output("mkfifo " .. folder "pipe")
      assert.equal("not_a_file", refusal(folder "pipe").kind)
    end)

    it("a device and a socket", function()
      assert.equal("not_a_file", refusal("/dev/null").kind)
      assert.equal("not_a_file", refusal("/dev/zero").kind)
      shell.output("perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => shift, " ..
        "Listen => 1) or die' " .. folder "socket")
      local err, text = refusal(folder "socket")
      assert.equal("not_a_file", err.kind)
      assert.equal(": is not a regular file", text)
      assert.equal(err.message, select(2, mm.inspect(folder "socket")).message)
    end)

    it("a link that leads to itself", function()
      shell.output(("ln -s loop %s"):format(folder "loop"))
      assert.equal("not_a_file", refusal(folder "loop").kind)
    end)

    it("a file that may not be read", function()
      shell.output(("cp %s %s && chmod 0 %s"):format(support.image "math", folder "x.mmi",
        folder "x.mmi"))
      local command = shell.lua([[
        local mm = require "matchmaker"
        local image, err = mm.map(...)
        print(image, err.kind, err.message)
      ]], folder()) .. " " .. folder "x.mmi"
      assert.equal(("nil\tunreadable\t%s: Permission denied"):format(folder "x.mmi"),
        shell.output(shell.unprivileged(command)))
    end)

    it("a file of a disk that is to hold no programs", function()
      local disk = folder "disk"
      local mount = ("mkdir -p %s && mount -t tmpfs -o noexec none %s"):format(disk, disk)
      if shell.run("unshare -m sh -c " .. shell.quote(mount)).status ~= 0 then
        return pending("this user cannot mount a disk")
      end
      local command = shell.lua([[
        local mm = require "matchmaker"
        local image, err = mm.map(...)
        print(image, err.kind, err.message)
      ]], folder()) .. (" %s/x.mmi"):format(disk)
      local script = ("%s && cp %s %s/x.mmi && %s"):format(mount, support.image "math", disk,
        command)
      assert.equal(("nil\tunreadable\t%s/x.mmi: lies in a file system that is mounted noexec")
        :format(disk), shell.output("unshare -m sh -c " .. shell.quote(script)))
    end)

    it("an empty file", function()
      local err, text = refusal(file "")
      assert.equal("not_an_image", err.kind)
      assert.equal(": is empty", text)
    end)

    it("a file that is no ELF file", function()
      local err, text = refusal(file("hello, world\n"))
      assert.equal("not_an_image", err.kind)
      assert.equal(": is not an image, and not even an ELF file", text)
    end)

    it("another ELF file", function()
      for _, path in ipairs { "/bin/sh", "/lib/x86_64-linux-gnu/libc.so.6",
                              shell.fixture "math" } do
        local err, text = refusal(path)
        assert.equal("not_an_image", err.kind)
        assert.equal(": is an ELF file but not an image", text)
      end
    end)

    it("an image that is truncated, in its head and behind it", function()
      local whole = shell.read(support.image "math")
      local head = head_bytes(whole)
      local lengths = { 4, 63, 64, 120, 500, head - 1, head, head + 1, 1000000, #whole - 1 }
      for _, length in ipairs(lengths) do
        local err, text = refusal(file(whole:sub(1, length)))
        assert.equal("damaged", err.kind)
        assert.matches("^: is damaged: truncated", text)
      end
    end)

    it("an image with something behind its end", function()
      assert.equal("damaged", refusal(file(shell.read(support.image "math") .. "x")).kind)
    end)

    it("an image with a changed byte in its head", function()
      local whole = shell.read(support.image "math")
      for at = 1, head_bytes(whole), 97 do
        local changed = string.char((whole:byte(at) + 1) % 256)
        local err = refusal(file(whole:sub(1, at - 1) .. changed .. whole:sub(at + 1)))
        assert.is_true(err.kind == "damaged" or err.kind == "not_an_image"
          or err.kind == "version", err.kind)
      end
    end)

    it("an image whose needs are not granted, and names them", function()
      local err, text = refusal(support.image "need_output")
      assert.equal("needs", err.kind)
      assert.equal(": needs what was not granted: output (prints greetings)", text)
      err, text = refusal(support.image "need_several")
      assert.equal("needs", err.kind)
      assert.equal(": needs what was not granted: output, files (reads words) (keeps a log), " ..
        "sockets (asks a server)", text)
    end)

    it("a path that is too long for a message, whose reason is told all the same", function()
      local path = ("x"):rep(5000) .. "/end.mmi"
      local image, err = mm.map(path)
      assert.is_nil(image)
      assert.matches("^%.%.%.x+/end%.mmi: File name too long$", err.message)
      assert.equal(err.message, select(2, mm.inspect(path)).message)
    end)

    it("an image with more exports than are allowed, or larger than allowed", function()
      local output = support.output([[
        local mm = require "matchmaker"
        for _, limit in ipairs { { exports = 299 }, { image_bytes = 4096 } } do
          mm.assert(mm.init(limit))
          local image, err = mm.map(...)
          print(image, err.kind, err.message)
        end
        mm.assert(mm.init { exports = 300 })
        print(mm.assert(mm.map(...)).exports.f299(1))
      ]], support.image "many")
      local path = support.image("many"):gsub("%p", "%%%0")
      assert.matches("^nil\tlimit\t" .. path .. ": has 300 exports, over the limit of 299\n" ..
        "nil\tlimit\t" .. path .. ": spans %d+ bytes, over the limit of 4096\n300\n$", output)
    end)

    it("an image whose slot another image has; the error names both and the way out", function()
      shell.output(("ln %s %s 2>/dev/null || cp %s %s"):format(support.image "math",
        folder "x.mmi", support.image "math", folder "x.mmi"))
      local first = mm.assert(mm.map(support.image "math"))
      local image, err = mm.map(folder "x.mmi")
      assert.is_nil(image)
      assert.equal("slot_taken", err.kind)
      assert.equal(("%s: its slot %d is taken by the image %s; snapshot one of them with another" ..
        " --slot"):format(folder "x.mmi", first:info().slot, support.image "math"), err.message)
      assert.equal(3, first.exports.add(1, 2))
      mm.assert(first:unmap())
      mm.assert(mm.assert(mm.map(folder "x.mmi")):unmap())
    end)

    if rawget(_G, "jit") then
      it("an image whose slot something else has, and names that", function()
        local err = support.output([[
          local ffi, mm = require "ffi", require "matchmaker"
          ffi.cdef "void *mmap(void *, size_t, int, int, int, long); int munmap(void *, size_t);"
          local image = mm.assert(mm.map(...))
          local place = image:info().base + 0x5000
          mm.assert(image:unmap())
          local there = ffi.C.mmap(ffi.cast("void *", place), 4096, 3, 0x100022, -1, 0)
          assert(tonumber(ffi.cast("uintptr_t", there)) == place)
          ffi.cast("char *", there)[0] = 42
          local again, err = mm.map(...)
          assert(again == nil and err.kind == "slot_taken", err)
          assert(err.message:find(("%x-%x"):format(place, place + 4096), 1, true), err)
          assert(ffi.cast("char *", there)[0] == 42)
          ffi.C.munmap(there, 4096)
          mm.assert(mm.map(...))
        ]], support.image "math")
        assert.equal("", err)
      end)
    end
  end)

  describe("with `verify`", function()
    local function changed_contents()
      local whole = shell.read(support.image "math")
      local at = head_bytes(whole) + 10
      return file(whole:sub(1, at - 1) .. string.char((whole:byte(at) + 1) % 256) ..
        whole:sub(at + 1))
    end

    it("finds a changed byte in the contents", function()
      local err, text = refusal(changed_contents(), { verify = true })
      assert.equal("damaged", err.kind)
      assert.equal(": is damaged: the digest of its contents does not match", text)
    end)

    it("maps an image that is as it was written, and a copy without holes", function()
      mm.assert(mm.assert(mm.map(support.image "math", { verify = true })):unmap())
      shell.output(("cp --sparse=never %s %s"):format(support.image "math", folder "x.mmi"))
      mm.assert(mm.assert(mm.map(folder "x.mmi", { verify = true })):unmap())
    end)

    it("left out maps an image whose contents have changed", function()
      mm.assert(mm.assert(mm.map(changed_contents())):unmap())
    end)
  end)

  describe("and unmapping", function()
    it("leaves no mapping in the slot", function()
      local function in_slots()
        local count = 0
        for line in io.lines "/proc/self/maps" do
          local low = tonumber(line:match("^%x+"), 16)
          if low >= 0x201000000000 and low < 0x500000000000 then count = count + 1 end
        end
        return count
      end
      local before = in_slots()
      local image = mm.assert(mm.map(support.image "math"))
      assert.is_true(in_slots() > before)
      mm.assert(image:unmap())
      assert.equal(before, in_slots())
    end)

    it("refuses what comes after it: calls, bound functions, reset, info, unmap", function()
      local image = mm.assert(mm.map(support.image "math"))
      local add = image.exports.add
      add(1, 2)
      mm.assert(image:unmap())
      assert.equal("unmapped", support.error_of(add, 1, 2).kind)
      assert.equal("unmapped", support.error_of(mm.request_call, image, "add", 1, 2).kind)
      for _, method in ipairs { "reset", "unmap", "info" } do
        local result, err = image[method](image)
        assert.is_nil(result)
        assert.equal("unmapped", err.kind)
      end
    end)

    it("does not bring old handles to life when the image is mapped again", function()
      local old = { image = mm.assert(mm.map(support.image "math")) }
      old.add = old.image.exports.add
      mm.assert(old.image:unmap())
      local new = mm.assert(mm.map(support.image "math"))
      assert.equal("unmapped", support.error_of(old.add, 1, 2).kind)
      assert.equal("unmapped", select(2, old.image:unmap()).kind)
      assert.equal(3, new.exports.add(1, 2))
      old.image, old.add = nil, nil
      for _ = 1, 2 do collectgarbage() end
      assert.equal(3, new.exports.add(1, 2))
      mm.assert(new:unmap())
    end)

    it("starts from the snapshot each time", function()
      for _ = 1, 3 do
        local image = mm.assert(mm.map(support.image "math"))
        assert.equal(101, image.exports.counter_next())
        mm.assert(image:unmap())
      end
    end)
  end)

  describe("and resetting", function()
    it("puts the memory back, counts the generation, and keeps functions usable", function()
      local image = support.map "math"
      local next_one = image.exports.counter_next
      assert.equal(101, next_one())
      assert.equal(102, next_one())
      assert.equal(1, image:info().generation)
      mm.assert(image:reset())
      assert.equal(2, image:info().generation)
      assert.equal(101, next_one())
    end)

    it("makes pointers from before it stale", function()
      local image = support.map "pointer"
      local box = image.exports.box_new(5)
      mm.assert(image:reset())
      assert.equal("stale", support.error_of(image.exports.box_get, box).kind)
    end)

    it("works under each guard", function()
      for _, guard in ipairs { "pages", "open" } do
        local image = mm.assert(mm.map(support.image "math", { guard = guard }))
        image.exports.counter_set(1)
        mm.assert(image:reset())
        assert.equal(100, image.exports.counter_get())
        mm.assert(image:unmap())
      end
    end)
  end)

  it("reads a path with unusual characters", function()
    local path = folder "a b\\'\"ő.mmi"
    shell.output(("cp %s %s"):format(support.image "math", shell.quote(path)))
    local image = mm.assert(mm.map(path))
    assert.equal(path, image:info().path)
    mm.assert(image:unmap())
  end)

  it("goes through a symbolic link", function()
    shell.snapshot(folder "x.mmi", "math")
    shell.output("ln -s x.mmi " .. folder "link.mmi")
    mm.assert(mm.assert(mm.map(folder "link.mmi")):unmap())
  end)

  it("needs the file no more when it is mapped", function()
    shell.snapshot(folder "x.mmi", "math")
    local image = mm.assert(mm.map(folder "x.mmi"))
    os.remove(folder "x.mmi")
    assert.equal(3, image.exports.add(1, 2))
    image.exports.counter_set(5)
    mm.assert(image:reset())
    assert.equal(100, image.exports.counter_get())
    mm.assert(image:unmap())
  end)
end)
