-- What becomes of the system calls of image code. Numbers: asm/unistd_64.h, asm-generic/errno-base.h.
local support = require "spec.support"
local mm = require "matchmaker"

local EPERM, EAGAIN, ENOMEM, EFAULT, EINVAL, ENOSYS = -1, -11, -12, -14, -22, -38
local CLIENT = 0x10000 -- an address outside of the arena where nothing is

local function number(value) return tonumber(value) end

describe("mediation", function()
  local exports, image
  before_each(function()
    image = mm.assert(mm.map(support.image "syscall"))
    exports = image.exports
  end)
  after_each(function() image:unmap() end)
  support.guard(before_each, after_each)

  local function raw(call, ...)
    local words = { ... }
    for i = 1, 6 do words[i] = words[i] or 0 end
    return number(exports.raw(call, words[1], words[2], words[3], words[4], words[5], words[6]))
  end

  it("lets clocks, chance and questions pass", function()
    assert.is_true(math.abs(exports.now() - os.time()) < 100)
    assert.is_true(number(exports.chance()) >= 0)
    local file = io.open("/proc/self/stat")
    assert.equal(file:read("*n"), number(exports.process()))
    file:close()
    assert.equal(0, number(exports.nap(1)))
    for _, call in ipairs { 24, 102, 104, 107, 108, 110, 186 } do -- sched_yield, getuid .. gettid
      assert.is_true(raw(call) >= 0)
    end
  end)

  it("refuses files, sockets, programs and pipes", function()
    local path = os.tmpname()
    assert.equal(EPERM, number(exports.open_file(path)))
    assert.equal(EPERM, number(exports.create_file(path .. ".new")))
    assert.is_nil(io.open(path .. ".new"))
    assert.equal(EPERM, number(exports.open_socket()))
    assert.equal(EPERM, number(exports.execute("/bin/true")))
    assert.equal(EPERM, number(exports.read_input()))
    for _, call in ipairs { 0, 3, 22, 32, 41, 101, 165, 257, 319, 425 } do
      assert.equal(EPERM, raw(call)) -- read close pipe dup socket ptrace mount openat memfd io_uring
    end
    os.remove(path)
  end)

  it("refuses, by name, what has the kernel use memory later, or another's", function()
    for _, call in ipairs { 206, 209, 278, 310, 311, 323, 425 } do
      assert.equal(EPERM, raw(call))
    end
    assert.equal("io_setup - 1\nio_submit - 1\nvmsplice - 1\nprocess_vm_readv - 1\n" ..
      "process_vm_writev - 1\nuserfaultfd - 1\nio_uring_setup - 1", support.refused(image))
  end)

  it("lists the first 39 different ones that were refused, each with how often", function()
    for _ = 1, 2 do
      for call = 100001, 100050 do assert.equal(EPERM, raw(call)) end
    end
    local list = image:info().refused
    assert.equal(39, #list)
    for i, refusal in ipairs(list) do
      assert.same({ call = "syscall_" .. 100000 + i, count = 2 }, refusal)
    end
  end)

  it("refuses numbers that no kernel has, and those of x32", function()
    assert.equal(EPERM, raw(100000))
    assert.equal(EPERM, raw(-1))
    assert.equal(EPERM, raw(0x40000000 + 39)) -- getpid of x32
  end)

  it("does not let the 32-bit way in through", function()
    -- getpid there is 20, and exit 1: neither may have happened.
    local ok, result = pcall(exports.raw_32, 20)
    if ok then
      assert.equal(EPERM, number(result))
    else
      assert.equal("SIGSEGV", result.signal)
    end
    ok, result = pcall(exports.raw_32, 1)
    assert.is_true(not ok and result.kind == "fault" or ok and number(result) == EPERM)
  end)

  it("refuses processes and threads", function()
    assert.equal(EAGAIN, number(exports.new_process()))
    assert.equal(-EAGAIN, number(exports.new_thread()))
    assert.equal(EAGAIN, number(exports.clone_thread()))
    assert.equal(ENOSYS, raw(435)) -- clone3: the C library then tries clone
  end)

  it("refuses signals to others", function()
    assert.equal(EPERM, number(exports.signal_process(1, 0)))
    assert.equal(EPERM, number(exports.signal_process(-1, 15)))
    assert.equal(EINVAL, number(exports.signal_process(0, 1000)))
    assert.equal(EINVAL, number(exports.signal_process(0, 65)))
    assert.equal(EINVAL, number(exports.signal_process(0, -1)))
    assert.equal("fault", support.error_of(exports.signal_process, 0, 64).kind)
    assert.equal(0, number(exports.signal_process(0, 0)))
  end)

  it("answers what is set up about signals, and does not do it", function()
    local function signals()
      local file = io.open("/proc/self/status")
      local text = file:read("*a")
      file:close()
      return text:match("SigBlk:.-SigCgt:%s*%x+")
    end
    local before = signals()
    assert.equal(0, number(exports.handle_signal(10)))
    assert.equal(0, number(exports.handle_signal(11)))
    assert.equal(0, number(exports.block_signals()))
    assert.equal(0, number(exports.signal_stack()))
    assert.equal(before, signals())
    local foreign, own = support.matchmaker "rw-", exports.data()
    assert.equal(EFAULT, raw(13, 10, 0, foreign, 8)) -- rt_sigaction
    assert.equal(EFAULT, raw(14, 0, 0, foreign, 8)) -- rt_sigprocmask
    assert.equal(EINVAL, raw(14, 0, 0, own, 4))
    assert.equal(EFAULT, raw(131, 0, foreign)) -- sigaltstack
    assert.equal(0, raw(131, 0, own))
    assert.equal(2, exports.peek(own + 8)) -- SS_DISABLE
    assert.equal(0, raw(13, 10, 0, own, 8))
    assert.equal(0, exports.peek(own))
  end)

  it("keeps alarms, names and the trap itself out of reach", function()
    assert.equal(EPERM, number(exports.set_alarm(1)))
    assert.equal(EPERM, number(exports.set_name()))
    assert.equal(EPERM, number(exports.stop_dispatch()))
    for _, address in ipairs { CLIENT, image:info().base + 0x1000000 } do
      assert.equal(EPERM, raw(158, 0x1002, address)) -- arch_prctl(ARCH_SET_FS)
      assert.equal(EPERM, raw(158, 0x1001, address)) -- ARCH_SET_GS
    end
    assert.equal(EFAULT, raw(158, 0x1003, support.matchmaker "rw-")) -- ARCH_GET_FS
    assert.equal(0, raw(158, 0x1003, exports.data()))
    assert.equal(0, raw(302, 0, 7)) -- prlimit64 asks,
    assert.equal(EPERM, raw(302, 0, 7, CLIENT)) -- but does not set
    assert.equal(EPERM, raw(302, 1, 7))
    assert.equal(EPERM, raw(317)) -- seccomp
    assert.equal(EPERM, number(exports.open_socket())) -- and it still is on
  end)

  it("wakes nobody and does not wait for ever", function()
    assert.equal(0, number(exports.wake()))
    assert.equal(EAGAIN, number(exports.wait_changed()))
    local word, sevens = number(exports.data()), 0x07070707
    for i = 0, 15 do exports.poke(word + 4096 + i, 0) end
    assert.equal(-110, raw(202, word, 0, sevens, word + 4096)) -- ETIMEDOUT: at once
    assert.equal(EFAULT, raw(202, word, 0, sevens, support.matchmaker "r--"))
    assert.equal(EFAULT, raw(202, support.matchmaker "r--", 0, 0, word + 4096))
    assert.equal(EFAULT, raw(202, word + 1, 0, sevens, word + 4096))
    for _, command in ipairs { 2, 3, 4, 5, 6, 11, 12, 13 } do -- FUTEX_FD, _REQUEUE, ... _LOCK_PI
      assert.equal(ENOSYS, raw(202, word, command, 0, 0, word))
    end
    local err = support.error_of(exports.wait_forever)
    assert.equal("fault", err.kind)
    assert.equal("SIGABRT", err.signal)
  end)

  it("ends the call where the program would end", function()
    local err = support.error_of(exports.end_thread, 5)
    assert.equal("exit", err.kind)
    assert.equal(5, err.exit_status)
    assert.match("end_thread: exit(5)", err.message, 1, true)
    assert.equal(EPERM, number(exports.open_socket()))
    assert.is_nil(support.error_of(exports.end_thread, 5).refused) -- in that call
    assert.equal("fault", support.error_of(exports.return_from_signal).kind)
    assert.equal("SIGTERM", support.error_of(exports.signal_process, 0, 15).signal)
  end)

  it("tells which calls it refused when the call then fails", function()
    local gate = support.map "gate"
    local err = support.error_of(gate.exports.ask_then_crash, 3)
    table.sort(err.refused)
    assert.equal("openat socket syscall_100000", table.concat(err.refused, " "))
    assert.is_nil(support.error_of(gate.exports.ask_then_crash, 0).refused) -- of that call alone
    err = support.error_of(gate.exports.ask_then_crash, 1)
    assert.equal("socket", table.concat(err.refused, " "))
  end)

  describe("of output", function()
    it("refuses it without the grant", function()
      assert.equal(EPERM, number(exports.write_to(1, "x")))
      assert.equal(EPERM, number(exports.write_to(2, "x")))
      assert.equal(EPERM, number(exports.print("x")))
    end)

    it("lets it through with the grant, and to nowhere else", function()
      local path = support.image "syscall"
      local result = support.run([[
        local mm = require "matchmaker"
        local image = mm.assert(mm.map(..., { grant = "output" }))
        local e = image.exports
        local results = { e.write_to(1, "one "), e.write_to(2, "error "), e.write_to(3, "no"),
          e.write_to(-1, "no"), e.print("two") }
        for i = 1, 5 do results[i] = tonumber(results[i]) end
        assert(table.concat(results, ",") == "4,6,-9,-9,0", table.concat(results, ","))
      ]], path)
      assert.equal(0, result.status, result.stderr)
      assert.equal("one two", result.stdout)
      assert.equal("error ", result.stderr)
    end)

    it("refuses a stranger's memory even with the grant", function()
      local result = support.run([[
        local mm = require "matchmaker"
        local e = mm.assert(mm.map(..., { grant = "output" })).exports
        local address
        for line in io.lines("/proc/self/maps") do
          if line:find("%[stack%]") then address = tonumber(line:match("-(%x+)"), 16) - 64 end
        end
        assert(tonumber(e.write_from(address, 16)) == -14)
        assert(tonumber(e.write_from(0x200000001000, 16)) == -14)
        assert(tonumber(e.now_into(address - address % 8)) == -14)
      ]], support.image "syscall")
      assert.equal(0, result.status, result.stderr)
      assert.equal("", result.stdout)
    end)
  end)

  describe("of pointers", function()
    it("takes those that the guard has closed", function()
      assert.equal(0, number(exports.now_into(exports.data())))
    end)

    it("refuses those into the client, the Matchmaker and other images", function()
      local other = support.map "math"
      for _, address in ipairs { CLIENT, support.matchmaker "r--", support.matchmaker "rw-",
          other:info().base + 0x1000000, 1 } do
        assert.equal(EFAULT, number(exports.now_into(address)))
        assert.equal(EFAULT, raw(318, address, 16)) -- getrandom
        assert.equal(EFAULT, raw(63, address)) -- uname
        assert.equal(EFAULT, raw(99, address)) -- sysinfo
        assert.equal(EFAULT, raw(35, address)) -- nanosleep
      end
      assert.equal(101, other.exports.counter_next())
    end)

    it("refuses a range whose end wraps or leaves the memory there is", function()
      local base = image:info().base
      assert.equal(EFAULT, raw(318, -8, 16))
      assert.equal(EFAULT, raw(318, base + 0x1000000 - 8, 0x800000000))
    end)
  end)

  describe("of memory", function()
    it("confines mmap, munmap and mprotect to the image", function()
      local other = support.map "math"
      for _, address in ipairs { CLIENT, support.matchmaker "r--", support.matchmaker "rw-",
          other:info().base + 0x1000000, 0x700000000000 } do
        assert.equal(EPERM, number(exports.map_at(address)))
        assert.equal(EINVAL, number(exports.unmap_at(address)))
        assert.equal(ENOMEM, number(exports.protect_at(address)))
        assert.equal(EINVAL, raw(28, address, 4096, 4)) -- madvise
        assert.equal(EINVAL, raw(25, address, 4096, 8192, 1)) -- mremap
      end
      assert.equal(101, other.exports.counter_next())
    end)

    it("keeps remap_file_pages, shmat, pkey_mprotect and userfaultfd away", function()
      for _, call in ipairs { 216, 30, 329, 330, 323, 310, 440, 462 } do
        assert.equal(EPERM, raw(call))
      end
    end)

    it("maps nothing executable without the grant", function()
      assert.equal(EPERM, number(exports.map_executable()))
      assert.equal(-13, number(exports.make_executable()))
      image:unmap()
      image = mm.assert(mm.map(support.image "syscall", { grant = "jit" }))
      assert.equal(0, number(image.exports.map_executable()))
      assert.equal(0, number(image.exports.make_executable()))
    end)

    it("counts what an image takes against its limit", function()
      local memory = mm.assert(mm.map(support.image "memory", { memory = 64 * 2 ^ 20 }))
      local got = number(memory.exports.exhaust(2 ^ 20))
      assert.is_true(got > 50 * 2 ^ 20 and got <= 64 * 2 ^ 20)
      assert.equal(got, number(memory.exports.exhaust(2 ^ 20))) -- it was given back
      assert.equal(1, memory.exports.allocate(2 ^ 20, 7))
      assert.equal(-1, memory.exports.grow_brk(65 * 2 ^ 20))
      memory:unmap()
    end)

    it("grows, moves and discards as a program expects", function()
      local e = support.map("memory").exports
      for _, bytes in ipairs { 10, 100000, 3 * 2 ^ 20 } do assert.equal(1, e.allocate(bytes, 3)) end
      assert.equal(1, e.grow_brk(2 ^ 20))
      assert.equal(1, e.shrink_brk(2 ^ 19))
      assert.equal(1, e.grow_brk(2 ^ 18))
      assert.equal(1, e.grow_remap(2 ^ 16, 2 ^ 20))
      assert.equal(1, e.grow_remap_moving(2 ^ 16, 2 ^ 20))
      assert.equal(ENOMEM, e.remap_onto_snapshot())
      assert.equal(1, e.grow_remap_snapshot())
      assert.equal(0, number(e.discard()))
      assert.equal(0, number(e.discard_const()))
      assert.equal(0, number(e.unmap_and_map()))
      assert.equal(0, number(e.map_over()))
      assert.equal(1, e.protect())
      assert.equal(1, e.make_writable())
      local block = e.keep(100000, 9)
      assert.equal(1, e.resize(block, 3 * 2 ^ 20, 9))
      assert.equal(1, e.check(block, 9))
      assert.equal(1, e.release(block))
    end)
  end)

  it("lets everything through when everything is granted", function()
    image:unmap()
    image = mm.assert(mm.map(support.image "syscall", { grant = "everything" }))
    local descriptor = number(image.exports.open_file("/dev/null"))
    assert.is_true(descriptor > 2)
    exports = image.exports
    assert.equal(0, raw(3, descriptor)) -- close
    assert.equal(EFAULT, raw(318, CLIENT, 16)) -- but no stranger's memory
    local own = exports.data()
    assert.equal(0, raw(118, own, own + 8, own + 16)) -- getresuid, into memory that is closed
    assert.are_not.equal(7, exports.peek(own + 3))
  end)
end)
