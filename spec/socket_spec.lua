-- Sockets that an image may have, and whose they are.
local support = require "spec.support"
local shell = require "spec.shell"
local mm = require "matchmaker"

local EPERM, EBADF, EACCES, EFAULT, EINVAL, EMFILE = -1, -9, -13, -14, -22, -24
local ENOPROTOOPT, EPIPE = -92, -32
local UNIX, INET, STREAM, DGRAM = 1, 2, 1, 2
local POLLIN, POLLNVAL = 1, 32

local function number(value) return tonumber(value) end

describe("sockets", function()
  local folder = shell.folders(before_each, after_each)
  local image, exports

  local function grant(grants, options)
    options = options or {}
    options.grant = grants
    image = mm.assert(mm.map(support.image "sockets", options))
    exports = image.exports
  end
  local function ok(value)
    value = number(value)
    assert.is_true(value >= 0, value)
    return value
  end
  local function make(domain, type) return ok(exports.make(domain, type)) end
  local function descriptors()
    local count = 0
    for _ in require("lfs").dir("/proc/self/fd") do count = count + 1 end
    return count
  end
  local function refused() return support.refused(image) end
  local function listening()
    local server = make(INET, STREAM)
    local port = ok(exports.bind_port(server, 0))
    ok(exports.listen_on(server))
    return server, port
  end
  -- two ends of a connection over the loopback
  local function connected()
    local server, port = listening()
    local near = make(INET, STREAM)
    ok(exports.connect_port(near, port))
    return near, ok(exports.accept_one(server)), port
  end

  after_each(function() image:unmap() end)
  support.guard(before_each, after_each)

  it("are waited for by poll and select alone: epoll is refused, and reported", function()
    grant "sockets"
    local near, far = connected()
    local SENDFILE, EVENTFD2, TIMERFD, SIGNALFD4, CREATE, CREATE1 = 40, 290, 283, 289, 213, 291
    for _, call in ipairs { CREATE, CREATE1, EVENTFD2, TIMERFD, SIGNALFD4, SENDFILE } do
      assert.equal(EPERM, number(exports.raw(call, 1, 0, 0, 0, 0, 0)))
    end
    -- nor is one of the client's there to use
    local WAIT, CONTROL, PWAIT, PWAIT2 = 232, 233, 281, 441
    for _, call in ipairs { WAIT, CONTROL, PWAIT, PWAIT2 } do
      assert.equal(EPERM, number(exports.raw(call, near, 1, far, 0, 0, 0)))
    end
    assert.matches("^epoll_create %- 1\nepoll_create1 %- 1\neventfd2 %- 1\n", refused())
    assert.matches("\nsendfile %- 1\n", refused())
    ok(exports.send_text(near, "x"))
    assert.equal("1 0 0 1", exports.polled(near, far, -1))
  end)

  it("are out of reach without the grant", function()
    grant { "output" }
    assert.equal(EPERM, number(exports.make(INET, STREAM)))
    assert.equal(EPERM, number(exports.make_pair(STREAM)))
    assert.equal(EPERM, number(exports.send_text(1, "x")))
    assert.equal("EPERM", exports.polled(-1, -1, 0))
    assert.equal("socket - 1\nsocketpair - 1\nsendto - 1\npoll - 1", refused())
  end)

  describe("with the grant", function()
    before_each(function() grant "sockets" end)

    it("serve a program outside", function()
      local server, port = listening()
      local client = io.popen(("exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d; echo hello >&3; " ..
        "cat <&3'"):format(port))
      local connection = ok(exports.accept_one(server))
      assert.equal("hello\n", exports.read_text(connection))
      assert.equal(7, number(exports.write_text(connection, "welcome")))
      assert.equal(0, number(exports.close_it(connection)))
      assert.equal("welcome", client:read("*a"))
      client:close()
      assert.equal("", refused())
    end)

    it("connect, and tell their names", function()
      local near, far, port = connected()
      assert.equal(port, number(exports.end_of_peer(near)))
      assert.equal(5, number(exports.send_text(near, "there")))
      assert.equal("there", exports.receive_text(far, 0))
      assert.equal(4, number(exports.write_pieces(far, "ba", "ck")))
      assert.equal("back", exports.receive_text(near, 0x2)) -- MSG_PEEK
      assert.equal("back", exports.receive_text(near, 0))
      assert.equal(0, number(exports.shut(near)))
      assert.equal("", exports.receive_text(far, 0))
      local server
      server, port = listening()
      near = make(INET, STREAM)
      local own = ok(exports.bind_port(near, 0))
      ok(exports.connect_port(near, port))
      assert.equal(own, number(exports.peer_port(server)))
    end)

    it("exchange datagrams, whole and in pieces", function()
      local one, two = make(INET, DGRAM), make(INET, DGRAM)
      local from, to = ok(exports.bind_port(one, 0)), ok(exports.bind_port(two, 0))
      assert.equal(4, number(exports.send_to(one, to, "text")))
      assert.equal(from .. " text", exports.receive_from(two))
      assert.equal(2010, number(exports.send_pieces(one, to, "abc", "de")))
      for _ = 1, 3 do assert.equal("5 ab|cde " .. from, exports.receive_pieces(two)) end
      ok(exports.send_pieces(one, to, "abc", "de"))
      assert.equal("3 abcde 5|abcde 5|abcde 5 " .. from, exports.receive_many(two))
      ok(exports.send_pieces(one, to, "abc", "de"))
      exports.receive_pieces(two)
      assert.equal("2 abcde 5|abcde 5| 0 " .. from, exports.receive_many(two)) -- waits for one only
      assert.equal(EPERM, number(exports.raw(299, two, 0, 1, 0, 4096, 0))) -- a time limit
      ok(exports.connect_port(one, to))
      assert.equal(2010, number(exports.send_pieces(one, 0, "abc", "de")))
      assert.equal("EAGAIN", exports.receive_text(one, 0x40)) -- MSG_DONTWAIT
    end)

    it("have the options that stand for themselves", function()
      local near = connected()
      assert.equal(0, number(exports.set_option(near, 6, 1, 1))) -- TCP_NODELAY
      assert.equal(1, number(exports.option_of(near, 6, 1)))
      assert.equal(STREAM, number(exports.option_of(near, 1, 3))) -- SO_TYPE
      for _, option in ipairs { { 1, 26 }, { 1, 50 }, { 1, 77 }, { 6, 35 }, { 6, 31 }, { 0, 64 },
          { 99, 1 } } do -- filters, a descriptor of the peer, memory by address
        assert.equal(ENOPROTOOPT, number(exports.set_option(near, option[1], option[2], 1)))
        assert.equal(ENOPROTOOPT, number(exports.option_of(near, option[1], option[2])))
      end
    end)

    it("are of the Internet and of Unix", function()
      for _, kind in ipairs { { 16, 3 }, { 17, 3 }, { 40, 1 }, { 38, 5 } } do -- netlink, packet, ...
        assert.equal(-97, number(exports.make(kind[1], kind[2]))) -- EAFNOSUPPORT
      end
      assert.equal(-94, number(exports.make(INET, 3))) -- SOCK_RAW: ESOCKTNOSUPPORT
      assert.equal("socket - 5", refused())
      assert.equal(-94, number(exports.make(UNIX, 5))) -- SOCK_SEQPACKET
      make(10, STREAM)
      local near = make(INET, STREAM + 0x80800) -- SOCK_NONBLOCK, SOCK_CLOEXEC
      assert.equal(0, number(exports.control(near, 4, 0x2800))) -- F_SETFL: O_ASYNC, O_NONBLOCK
      assert.equal(0x802, number(exports.control(near, 3, 0))) -- F_GETFL
    end)

    it("tell when they are ready", function()
      local near, far = connected()
      assert.equal("0 0 0 0", exports.polled(near, far, 0))
      assert.equal("0 0 0 0", exports.polled(near, far, 5))
      assert.equal(0, number(exports.selected(far, 100)))
      assert.equal(0, number(exports.polled_precisely(far, 1000)))
      ok(exports.send_text(near, "x"))
      assert.equal("1 0 0 " .. POLLIN, exports.polled(near, far, -1))
      assert.equal(11, number(exports.selected(far, -1)))
      assert.equal(1, number(exports.polled_precisely(far, -1)))
      assert.equal("2 " .. POLLNVAL .. " 0 " .. POLLIN, exports.polled(0, far, -1))
      assert.equal(EBADF, number(exports.selected(0, -1)))
      assert.equal(EINVAL, number(exports.polled_precisely(far, 1000000000)))
    end)

    it("do not end the client when their other end is gone", function()
      local near = ok(exports.make_pair(STREAM))
      ok(exports.close_it(exports.other()))
      assert.equal(EPIPE, number(exports.send_text(near, "x")))
      assert.equal(EPIPE, number(exports.write_text(near, "x")))
      assert.equal(EPIPE, number(exports.write_pieces(near, "x", "y")))
      assert.equal(EPIPE, number(exports.send_pieces(near, 0, "x", "y")))
      near = connected()
      ok(exports.shut(near))
      assert.equal(EPIPE, number(exports.send_text(near, "x")))
      assert.equal(EPIPE, number(exports.write_text(near, "x")))
      assert.equal(EPIPE, number(exports.write_pieces(near, "x", "y")))
    end)

    it("are closed by a fault, a reset and the end of the image, and on exec", function()
      local before = descriptors()
      local near, far = connected()
      assert.equal(before + 3, descriptors())
      assert.equal(1, number(exports.control(near, 1, 0))) -- F_GETFD
      local open = { near, far, number(exports.make_pair(STREAM)), number(exports.other()) }
      for _, descriptor in ipairs(open) do
        assert.equal("0",
          shell.output(("ls /proc/self/fd | grep -c '^%d$' || :"):format(descriptor)))
      end
      assert.equal("fault", support.error_of(exports.crash).kind)
      assert.equal(before, descriptors())
      assert.equal(EBADF, number(exports.send_text(near, "x")))
      make(INET, STREAM)
      image:reset()
      assert.equal(before, descriptors())
      ok(exports.make_pair(DGRAM))
      image:unmap()
      assert.equal(before, descriptors())
    end)

    it("are only so many", function()
      local before, made = descriptors(), 1
      make(INET, STREAM)
      for _ = 1, 200 do
        local result = number(exports.make_pair(DGRAM))
        if result < 0 then
          assert.equal(EMFILE, result)
          break
        end
        made = made + 2
      end
      assert.equal(127, made) -- and neither of the last pair is open
      assert.equal(before + 127, descriptors())
      make(INET, DGRAM)
      assert.equal(EMFILE, number(exports.make(INET, DGRAM)))
      assert.equal(before + 128, descriptors())
    end)

    it("are none of the client's", function()
      local file = io.open(folder "file", "w")
      for descriptor = 0, 30 do
        assert.equal(EBADF, number(exports.bind_port(descriptor, 0)))
        assert.equal(EBADF, number(exports.listen_on(descriptor)))
        assert.equal(EBADF, number(exports.accept_one(descriptor)))
        assert.equal(EBADF, number(exports.connect_port(descriptor, 1)))
        assert.equal(EBADF, number(exports.end_of_peer(descriptor)))
        assert.equal(EBADF, number(exports.send_text(descriptor, "x")))
        assert.equal(EBADF, number(exports.write_text(descriptor, "x")))
        assert.equal(EBADF, number(exports.send_pieces(descriptor, 0, "x", "y")))
        assert.equal("EBADF", exports.receive_text(descriptor, 0))
        assert.equal("EBADF", exports.receive_pieces(descriptor))
        assert.equal("EBADF", exports.receive_many(descriptor))
        assert.equal(EBADF, number(exports.option_of(descriptor, 1, 3)))
        assert.equal(EBADF, number(exports.set_option(descriptor, 1, 2, 1)))
        assert.equal(EBADF, number(exports.shut(descriptor)))
        assert.equal(EBADF, number(exports.close_it(descriptor)))
      end
      file:close()
    end)

    it("reach no memory that is not the image's", function()
      local near, far = connected()
      ok(exports.send_text(far, "secret"))
      local foreign = { support.matchmaker "rw-", support.matchmaker "r--", 4096, -8 }
      for _, low in ipairs(foreign) do
        for _, call in ipairs { 46, 47 } do -- sendmsg, recvmsg
          assert.equal(EFAULT, number(exports.raw(call, near, low, 0x40, 0, 0, 0)))
          assert.equal(EFAULT, number(exports.deep(call, near, low, 64, 0, 0)))
          assert.equal(EFAULT, number(exports.deep(call, near, 0, 0, low, 0)))
          assert.equal(EFAULT, number(exports.deep(call, near, 0, 0, 0, low)))
        end
        assert.equal(EFAULT, number(exports.raw(42, near, low, 16, 0, 0, 0))) -- connect
        assert.equal(EFAULT, number(exports.raw(49, near, low, 16, 0, 0, 0))) -- bind
        assert.equal(EFAULT, number(exports.raw(44, near, low, 16, 0, 0, 0))) -- sendto
        assert.equal(EFAULT, number(exports.raw(45, near, low, 16, 0x40, 0, 0))) -- recvfrom
        assert.equal(EFAULT, number(exports.raw(45, near, 0, 0, 0x40, low, low)))
        assert.equal(EFAULT, number(exports.raw(51, near, low, low, 0, 0, 0))) -- getsockname
        assert.equal(EFAULT, number(exports.raw(53, UNIX, STREAM, 0, low, 0, 0))) -- socketpair
        assert.equal(EFAULT, number(exports.raw(54, near, 1, 2, low, 4, 0))) -- setsockopt
        assert.equal(EFAULT, number(exports.raw(55, near, 1, 3, low, low, 0))) -- getsockopt
        assert.equal(EFAULT, number(exports.raw(307, near, low, 1, 0, 0, 0))) -- sendmmsg
        assert.equal(EFAULT, number(exports.raw(299, near, low, 1, 0x40, 0, 0))) -- recvmmsg
        assert.equal(EFAULT, number(exports.raw(7, low, 1, 0, 0, 0, 0))) -- poll
        assert.equal(EFAULT, number(exports.raw(271, 0, 0, low, 0, 8, 0))) -- ppoll
        assert.equal(EFAULT, number(exports.raw(23, 64, low, 0, 0, 0, 0))) -- select
        assert.equal(EFAULT, number(exports.raw(23, 0, 0, 0, 0, low, 0)))
      end
      assert.equal(EINVAL, number(exports.raw(7, 0, 100000, 0, 0, 0, 0)))
      assert.equal(EINVAL, number(exports.raw(42, near, 0, 4096, 0, 0, 0)))
      assert.equal("secret", exports.receive_text(near, 0))
    end)

    describe("by what a program has in its memory,", function()
      local low, buffer

      -- A number as so many bytes, the lowest first.
      local function bytes(value, count)
        local list = {}
        for i = 1, count do
          list[i] = string.char(value % 256)
          value = math.floor(value / 256)
        end
        return table.concat(list)
      end
      local function get(offset) -- an int
        local value = 0
        for i = 3, 0, -1 do value = value * 256 + buffer[offset + i] end
        return value
      end
      local function set(offset, value) buffer:set(offset, bytes(value, 4)) end
      local function raw(call, ...)
        local words = { ... }
        for i = 1, 6 do words[i] = words[i] or 0 end
        return number(exports.raw(call, words[1], words[2], words[3], words[4], words[5], words[6]))
      end
      -- A struct msghdr at an offset of the buffer.
      local function message(at, name, name_bytes, list, count, control, control_bytes)
        buffer:set(at, bytes(name, 8) .. bytes(name_bytes, 4) .. bytes(0, 4) .. bytes(list, 8) ..
          bytes(count, 8) .. bytes(control or 0, 8) .. bytes(control_bytes or 0, 8))
      end
      before_each(function()
        buffer = image:buffer(65536) -- and nothing of the image's behind it
        low = number(exports.address_of(buffer))
      end)

      it("take a descriptor by its lower half", function()
        assert.equal(0, raw(48, make(INET, STREAM) + 2 ^ 32, 1) + 107) -- shutdown: ENOTCONN
      end)

      it("give as much of an address as there is room for", function()
        local near = connected()
        buffer:fill(255)
        set(0, 4)
        assert.equal(0, raw(51, near, low + 64, low)) -- getsockname
        assert.equal(16, get(0))
        assert.equal(INET + 65536 * get(66) % 65536, get(64) % 65536)
        assert.equal(2 ^ 32 - 1, get(68))
        assert.equal(EFAULT, raw(51, near, 0, low))
        set(0, 2 ^ 32 - 1)
        assert.equal(EINVAL, raw(51, near, low + 64, low))
        assert.equal(EINVAL, raw(45, near, low, 0, 0x40, low + 64, low)) -- recvfrom
        assert.equal(EINVAL, raw(54, near, 1, 2, low, -1)) -- setsockopt
        assert.equal(EINVAL, raw(55, near, 1, 3, low, low)) -- getsockopt
        set(0, 8)
        assert.equal(EFAULT, raw(55, near, 1, 3, support.matchmaker "rw-", low))
        assert.equal(0, raw(55, near, 1, 3, low + 64, low))
        assert.equal(4, get(0))
        assert.equal(EFAULT, raw(54, near, 1, 2, support.matchmaker "r--", 4))
      end)

      it("take no address that is longer than there are", function()
        buffer:set(0, bytes(UNIX, 2) .. ("n"):rep(126))
        assert.equal(EINVAL, raw(49, make(UNIX, STREAM), low, 128)) -- bind
        assert.equal(EINVAL, raw(49, make(UNIX, STREAM), low, 129))
        message(256, low, 129, 0, 0)
        assert.equal(EINVAL, raw(46, make(UNIX, DGRAM), low + 256)) -- sendmsg
        set(256 + 8, 2 ^ 32 - 1)
        assert.equal(EINVAL, raw(46, make(UNIX, DGRAM), low + 256))
        assert.equal(EINVAL, raw(47, make(UNIX, DGRAM), low + 256, 0x40)) -- recvmsg
      end)

      it("send lists that fit, and nothing that is no list", function()
        local near = ok(exports.make_pair(DGRAM))
        message(0, 0, 2 ^ 32 - 1, low + 1024, 512) -- no name, whatever its length says
        assert.equal(0, raw(46, near, low))
        message(0, 0, 0, low + 1024, 513)
        assert.equal(-90, raw(46, near, low)) -- EMSGSIZE
        buffer:set(1024 + 511 * 16, bytes(support.matchmaker "r--", 8) .. bytes(8, 8))
        message(0, 0, 0, low + 1024, 512)
        assert.equal(EFAULT, raw(46, near, low))
      end)

      it("receive where a program may write, as the guard had it closed", function()
        local near = ok(exports.make_pair(DGRAM))
        ok(exports.send_text(exports.other(), "letter"))
        message(0, 0, 0, low + 1024, 1)
        buffer:set(1024, bytes(low + 32768, 8) .. bytes(64, 8))
        assert.equal(EFAULT, raw(47, near, number(exports.constant()), 0x40)) -- recvmsg
        assert.equal(6, raw(47, near, low))
        assert.equal("letter", buffer:get(32768, 6))
      end)

      it("tell how many messages went before the one that did not", function()
        local near = ok(exports.make_pair(DGRAM))
        buffer:set(1024, bytes(low + 2048, 8) .. bytes(3, 8))
        message(0, 0, 0, low + 1024, 1)
        message(64, 0, 0, support.matchmaker "r--", 1)
        assert.equal(1, raw(307, near, low, 2)) -- sendmmsg
        assert.equal(3, get(56))
        assert.equal(EFAULT, raw(307, near, low + 64, 1))
        message(0, 0, 0, low + 1024, 1)
        assert.equal(1, raw(299, number(exports.other()), low, 2)) -- recvmmsg
      end)

      it("poll and select as many as may be", function()
        buffer:fill(255)
        assert.equal(0, raw(7, low, 1024, 0)) -- none of them a descriptor
        assert.equal(EINVAL, raw(7, low, 1025, 0))
        buffer:fill(0)
        assert.equal(0, raw(23, 1024, low, low, low, low + 1024)) -- select
        assert.equal(EINVAL, raw(23, 1025, 0, 0, 0, low))
        assert.equal(0, raw(23, 0, 0, 0, 0, number(exports.constant()))) -- which is not given back
      end)

      it("are told what is left of the time", function()
        local near = ok(exports.make_pair(DGRAM))
        ok(exports.send_text(exports.other(), "x"))
        buffer:set(math.floor(near / 8), string.char(2 ^ (near % 8)))
        set(1024, 1000)
        assert.equal(1, raw(23, near + 1, low, 0, 0, low + 1024))
        assert.is_true(get(1024) < 1000 and get(1024) > 0)
        assert.is_true(get(1032) < 1000000)
      end)
    end)

    it("wait no longer than a call may, or until Ctrl-C", function()
      image:unmap()
      grant("sockets", { timeout = 0.05 })
      local before = descriptors()
      local waiting = {
        function(near) exports.receive_text(near, 0) end,
        function(near) exports.read_text(near) end,
        function(near) exports.receive_pieces(near) end,
        function(near) exports.receive_many(near) end,
        function(near) exports.receive_from(near) end,
        function(near) exports.polled(near, near, -1) end,
        function(near) exports.polled_precisely(near, -1) end,
        function(near) exports.selected(near, -1) end,
        function() exports.accept_one((listening())) end,
        function(near) while number(exports.send_text(near, ("x"):rep(100000))) > 0 do end end,
      }
      for i, wait in ipairs(waiting) do
        assert.equal("deadline", support.error_of(wait, (connected())).kind, i)
        assert.equal(before, descriptors())
      end
      for signal, name in pairs { [1] = "HUP", [15] = "TERM" } do
        assert.equal(signal, support.run([[
          local mm = require "matchmaker"
          local path, name = ...
          local image = mm.assert(mm.map(path, { grant = "sockets" }))
          local near = tonumber(image.exports.make_pair(1))
          os.execute("(sleep 0.3; kill -" .. name .. " $PPID) >/dev/null 2>&1 &")
          image.exports.receive_text(near, 0)
        ]], support.image "sockets", name).signal)
      end
      local result = support.run([[
        local mm = require "matchmaker"
        mm.init { interrupt = "error" }
        local image = mm.assert(mm.map(..., { grant = "sockets" }))
        local near = tonumber(image.exports.make_pair(1))
        os.execute "(sleep 0.3; kill -INT $PPID) >/dev/null 2>&1 &"
        local _, err = pcall(image.exports.receive_text, near, 0)
        print(err.kind)
      ]], support.image "sockets")
      assert.equal("interrupted\n", result.stdout)
    end)

    it("carry no descriptors, in or out", function()
      local near, before = ok(exports.make_pair(STREAM)), descriptors()
      for _, passed in ipairs { 0, near } do
        assert.equal(EPERM, number(exports.pass_descriptor(near, passed)))
        assert.equal(EPERM, number(exports.pass_descriptor(exports.other(), passed)))
      end
      assert.equal(before, descriptors())
      assert.equal("sendmsg - 4", refused())
      local server, name = make(UNIX, STREAM), "@matchmaker " .. folder()
      ok(exports.bind_name(server, name))
      ok(exports.listen_on(server))
      local one = make(UNIX, STREAM)
      ok(exports.connect_name(one, name))
      assert.equal(EPERM, number(exports.pass_descriptor(exports.accept_one(server), near)))
    end)

    it("of Unix without a folder's grant have no name, or one that is in no folder", function()
      local server, near = make(UNIX, STREAM), make(UNIX, STREAM)
      local name = "@matchmaker " .. folder()
      assert.equal(EACCES, number(exports.bind_name(server, folder "socket")))
      assert.equal(EACCES, number(exports.connect_name(server, folder "socket")))
      assert.equal(0, number(exports.bind_name(server, name)))
      assert.equal(0, number(exports.listen_on(server)))
      assert.equal(0, number(exports.connect_name(near, name)))
      local far = ok(exports.accept_one(server))
      ok(exports.send_text(far, "hello"))
      assert.equal("hello", exports.read_text(near))
      assert.equal(("bind %s 1\nconnect %s 1"):format(folder "socket", folder "socket"), refused())
    end)
  end)

  it("find a name in the hosts' file where /etc may be read", function()
    grant { "sockets", read = "/etc" }
    assert.equal("127.0.0.1", exports.resolve("localhost"))
    assert.equal("127.0.0.1", exports.resolve("127.0.0.1"))
  end)

  describe("of Unix that lie in a folder", function()
    before_each(function()
      os.execute(("cd %s && mkdir inside outside && ln -s ../outside inside/way"):format(folder()))
    end)

    it("are made and found where the image may write", function()
      grant { "sockets", write = folder "inside" }
      local server, near = make(UNIX, STREAM), make(UNIX, STREAM)
      assert.equal(0, number(exports.bind_name(server, folder "inside/socket")))
      assert.equal(0, number(exports.listen_on(server)))
      assert.equal(0, number(exports.connect_name(near, folder "inside/socket")))
      local far = ok(exports.accept_one(server))
      ok(exports.send_text(near, "by name"))
      assert.equal("by name", exports.read_text(far))
      local box, sender = make(UNIX, DGRAM), make(UNIX, DGRAM)
      assert.equal(0, number(exports.bind_name(box, folder "inside/box")))
      assert.equal(6, number(exports.send_to_name(sender, folder "inside/box", "letter")))
      assert.equal("letter", exports.receive_text(box, 0))
      assert.equal("", refused())
      local before = descriptors()
      ok(exports.send_to_name(sender, folder "inside/box", "letter"))
      assert.equal(before, descriptors())
      image:unmap()
      grant { "sockets", write = "/tmp" }
      sender, before = make(UNIX, DGRAM), descriptors()
      local long = "/tmp/" .. ("n"):rep(100) -- it would not fit as it goes to the kernel
      assert.equal(-36, number(exports.bind_name(sender, long))) -- ENAMETOOLONG
      assert.equal(before, descriptors())
    end)

    it("are not made or found anywhere else", function()
      grant { "sockets", write = folder "inside" }
      local server = make(UNIX, DGRAM)
      for _, name in ipairs { "outside/socket", "inside/way/socket", "inside/../outside/socket" } do
        assert.equal(EACCES, number(exports.bind_name(server, folder(name))), name)
      end
      assert.equal("", shell.output("ls " .. folder "outside"))
      image:unmap()
      grant "everything"
      server = make(UNIX, DGRAM)
      assert.equal(0, number(exports.bind_name(server, folder "outside/socket")))
      image:unmap()
      grant { "sockets", write = folder "inside" }
      os.execute(("ln -s ../outside/socket %s"):format(folder "inside/socket"))
      assert.equal(EACCES, number(exports.connect_name(make(UNIX, DGRAM), folder "inside/socket")))
      image:unmap()
      grant { "sockets", read = folder() }
      assert.equal(EACCES, number(exports.connect_name(make(UNIX, DGRAM), folder "outside/socket")))
    end)

    it("bring no descriptors from outside", function()
      if shell.run("command -v python3").status ~= 0 then return end
      grant { "sockets", write = folder "inside" }
      local server = make(UNIX, STREAM)
      ok(exports.bind_name(server, folder "inside/socket"))
      ok(exports.listen_on(server))
      local sender = io.popen(([[python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("%s")
socket.send_fds(s, [b"x"], [0, 1])
']]):format(folder "inside/socket"))
      local far = ok(exports.accept_one(server))
      local before = descriptors()
      assert.equal("0 cut", exports.receive_control(far))
      assert.equal(before, descriptors())
      sender:close()
    end)
  end)
end)
