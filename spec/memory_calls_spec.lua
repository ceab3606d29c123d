-- The memory calls of an image one by one: places, sizes and flags that they take, and what they
-- refuse. Numbers: asm/unistd_64.h, asm-generic/errno-base.h, asm-generic/mman.h, linux/mman.h.
local support = require "spec.support"
local mm = require "matchmaker"

local EPERM, EACCES, ENOMEM, EFAULT, EEXIST, EINVAL = -1, -13, -12, -14, -17, -22
local MMAP, MPROTECT, MUNMAP, BRK, MREMAP, MADVISE = 9, 10, 11, 12, 25, 28
local READ, WRITE, EXECUTE = 1, 2, 4
local PRIVATE, FIXED, NOREPLACE, LOW_2G = 0x22, 0x32, 0x100022, 0x62 -- all of them MAP_ANONYMOUS
local MAY_MOVE, MOVE_TO, DONTNEED = 1, 3, 4
local SLOT, STACK_LOW, MMAP_LOW, MMAP_END, AREA = 2 ^ 36, 0x800000, 0x400000000, 0xf00000000,
  0xf84000000 -- csrc/image/arena.h
local PAGE, LIMIT = 4096, 64 * 2 ^ 20

local function number(value) return tonumber(value) end

describe("a memory call", function()
  local image, exports, base, facts

  local function map(options)
    if image then image:unmap() end
    image = mm.assert(mm.map(support.image "syscall", options))
    exports, base = image.exports, image:info().base
  end
  local function raw(call, ...)
    local words = { ... }
    for i = 1, 6 do words[i] = words[i] or 0 end
    return number(exports.raw(call, words[1], words[2], words[3], words[4], words[5], words[6]))
  end
  local function mmap(low, bytes, flags, protection)
    return raw(MMAP, low, bytes, protection or READ + WRITE, flags or PRIVATE, -1, 0)
  end
  local function is_lost(address)
    local err = support.error_of(exports.peek, address)
    return err.signal == "SIGSEGV" and number(err.address) == address
  end

  local function is_read_only(address)
    local err = support.error_of(exports.poke, address, 3)
    return err.signal == "SIGSEGV" and err.access == "writing" and number(err.address) == address
  end
  local function permissions(address)
    for line in io.lines("/proc/self/maps") do
      local low, high, found = line:match("^(%x+)%-(%x+) (...)")
      if tonumber(low, 16) <= address and address < tonumber(high, 16) then return found end
    end
  end
  local function bytes_in_slot()
    local sum = 0
    for line in io.lines("/proc/self/maps") do
      local low, high = line:match("^(%x+)%-(%x+)")
      low, high = tonumber(low, 16), tonumber(high, 16)
      if low < base + SLOT and high > base then
        sum = sum + math.min(high, base + SLOT) - math.max(low, base)
      end
    end
    return sum
  end
  local function segment(kind)
    for _, each in ipairs(facts.segments) do
      if each.kind == kind and each.file_bytes > 0 then return each.low end
    end
  end

  before_each(function()
    facts = mm.inspect(support.image "syscall")
    map { memory = LIMIT }
  end)
  after_each(function()
    image:unmap()
    image = nil
  end)
  support.guard(before_each, after_each)

  it("keeps to the slot, above the guard below its stack", function()
    for _, low in ipairs { base, base + STACK_LOW - PAGE, base + SLOT - PAGE, base - PAGE,
        -PAGE } do
      local bytes = low == base + SLOT - PAGE and 2 * PAGE or PAGE
      assert.equal(EPERM, mmap(low, bytes, FIXED))
      assert.equal(EPERM, mmap(low, bytes, NOREPLACE))
      assert.equal(ENOMEM, raw(MPROTECT, low, bytes, READ))
      assert.equal(EINVAL, raw(MUNMAP, low, bytes))
      assert.equal(EINVAL, raw(MADVISE, low, bytes, DONTNEED))
      assert.equal(EINVAL, raw(MREMAP, low, bytes, PAGE, MAY_MOVE))
      assert.equal(EINVAL, raw(MREMAP, exports.data(), PAGE, bytes, MOVE_TO, low))
    end
  end)

  it("takes no size whose end would wrap", function()
    local low = mmap(0, PAGE)
    assert.equal(ENOMEM, mmap(low, -2 * PAGE, FIXED))
    assert.equal(ENOMEM, mmap(0, -2 * PAGE))
    assert.equal(ENOMEM, raw(MPROTECT, low, -2 * PAGE, READ))
    assert.equal(EINVAL, raw(MUNMAP, low, -2 * PAGE))
    assert.equal(EINVAL, raw(MADVISE, low, -2 * PAGE, DONTNEED))
    assert.equal(EINVAL, raw(MREMAP, low, -2 * PAGE, PAGE, MAY_MOVE))
    assert.equal(ENOMEM, raw(MREMAP, low, PAGE, -2 * PAGE, MAY_MOVE))
    assert.equal(EINVAL, mmap(0, 0))
    assert.equal(EINVAL, raw(MUNMAP, low, 0))
    assert.equal(0, exports.peek(low))
  end)

  it("leaves alone what the Matchmaker writes to for the client", function()
    local mailbox = facts.mailbox
    image:buffer(PAGE) -- the first, at the area's beginning
    for _, low in ipairs { mailbox.low, mailbox.low - PAGE, mailbox.high - PAGE, base + AREA,
        base + AREA - PAGE } do
      local bytes = 2 * PAGE
      assert.equal(EPERM, mmap(low, bytes, FIXED))
      assert.equal(ENOMEM, raw(MPROTECT, low, bytes, READ))
      assert.equal(EINVAL, raw(MUNMAP, low, bytes))
      assert.equal(EINVAL, raw(MADVISE, low, bytes, DONTNEED))
      assert.equal(EINVAL, raw(MREMAP, low, bytes, PAGE, MAY_MOVE))
      assert.equal(EINVAL, raw(MREMAP, exports.data(), PAGE, bytes, MOVE_TO, low))
    end
    assert.equal(0, raw(MPROTECT, mailbox.low - PAGE, PAGE, READ + WRITE)) -- the stack's end
    assert.equal(0, raw(MPROTECT, mailbox.high, PAGE, READ)) -- the program's beginning
    assert.are_not.equal(base + AREA + 2 ^ 20, mmap(base + AREA + 2 ^ 20, PAGE)) -- by a hint
  end)

  it("maps where it is told to, and near a hint", function()
    local low = base + MMAP_LOW + 2 ^ 30
    assert.equal(low, mmap(low, PAGE)) -- a hint
    assert.are_not.equal(low, mmap(low, PAGE))
    assert.equal(low + PAGE, mmap(low + PAGE + 1, PAGE))
    assert.equal(EEXIST, mmap(low, PAGE, NOREPLACE))
    assert.equal(low + 2 * PAGE, mmap(low + 2 * PAGE, PAGE, NOREPLACE))
    assert.equal(EINVAL, mmap(low + 1, PAGE, FIXED))
    assert.equal(ENOMEM, mmap(0, PAGE, LOW_2G))
    for _, hint in ipairs { 0x10000, 0x700000000000, base - PAGE } do
      local got = mmap(hint, PAGE)
      assert.is_true(got >= base + MMAP_LOW and got < base + MMAP_END)
    end
  end)

  it("counts what is mapped, once, up to the limit and no further", function()
    local low = mmap(0, LIMIT)
    assert.is_true(low > 0)
    assert.equal(ENOMEM, mmap(0, PAGE))
    assert.equal(ENOMEM, raw(MREMAP, low, LIMIT, LIMIT + PAGE, MAY_MOVE))
    local top = raw(BRK, 0)
    assert.equal(top, raw(BRK, top + 2 * PAGE))
    assert.equal(low, mmap(low, LIMIT, FIXED)) -- it replaces itself
    assert.equal(low + PAGE, mmap(low + PAGE, PAGE, FIXED))
    assert.equal(ENOMEM, mmap(0, PAGE))
    assert.equal(0, raw(MUNMAP, low, PAGE))
    local other = mmap(0, PAGE)
    assert.is_true(other > 0)
    assert.equal(ENOMEM, mmap(0, PAGE))
    assert.equal(low + 2 ^ 20, raw(MREMAP, low + 2 ^ 20, 2 ^ 20, PAGE)) -- shrinks
    assert.equal(ENOMEM, mmap(0, 2 ^ 20))
    assert.is_true(mmap(0, 2 ^ 20 - PAGE) > 0)
    image:reset()
    assert.is_true(mmap(0, LIMIT) > 0)
  end)

  it("makes nothing executable, and no code writable, without the grant", function()
    local text = segment "text"
    assert.equal(0, raw(MPROTECT, text, PAGE, READ + EXECUTE))
    assert.equal(EACCES, raw(MPROTECT, text, PAGE, READ + WRITE + EXECUTE))
    assert.equal(EACCES, raw(MPROTECT, exports.data(), PAGE, READ + EXECUTE))
    assert.equal(EPERM, mmap(0, PAGE, PRIVATE, READ + EXECUTE))
    assert.equal(EPERM, mmap(exports.data(), PAGE, FIXED, READ + EXECUTE))
    map { grant = "everything" }
    assert.equal(0, raw(MPROTECT, text, PAGE, READ + WRITE + EXECUTE))
    assert.is_true(mmap(0, PAGE, PRIVATE, READ + EXECUTE) > 0)
  end)

  it("takes memory of the snapshot away, and gives zeros in its place", function()
    local low = number(exports.data())
    assert.equal(0, raw(MUNMAP, low, PAGE))
    assert.equal(ENOMEM, raw(MPROTECT, low, PAGE, READ))
    assert.equal(ENOMEM, raw(MADVISE, low, PAGE, DONTNEED))
    assert.equal(EFAULT, raw(MREMAP, low, PAGE, 2 * PAGE, MAY_MOVE))
    assert.equal(low, mmap(low, PAGE, NOREPLACE))
    assert.equal(EEXIST, mmap(low, PAGE, NOREPLACE))
    assert.equal(0, exports.peek(low))
    exports.poke(low, 3)
    assert.equal(0, raw(MADVISE, low, PAGE, DONTNEED))
    assert.equal(0, exports.peek(low))
    assert.equal(7, exports.peek(low + PAGE))
    assert.equal(0, raw(MUNMAP, low, PAGE))
    assert.is_true(is_lost(low)) -- which resets the image
    assert.equal(7, exports.peek(low))
    assert.equal(0, raw(MPROTECT, low, PAGE, 0))
    image:reset()
    assert.equal(7, exports.peek(low))
  end)

  it("makes memory of the snapshot zero, and what it was told to be", function()
    local low = number(exports.data())
    assert.equal(EINVAL, mmap(low + 1, PAGE, FIXED))
    assert.equal(low, mmap(low, PAGE, FIXED, READ))
    assert.equal(0, exports.peek(low))
    assert.is_true(is_read_only(low)) -- which resets the image
    assert.equal(7, exports.peek(low))
    exports.poke(low, 3)
    assert.equal(3, exports.peek(low))
  end)

  it("does not change what nobody wrote", function()
    local low = segment "constants"
    assert.equal(0x7f, exports.peek(low)) -- an ELF file's beginning
    assert.equal(0, raw(MADVISE, low, PAGE, DONTNEED))
    assert.equal(0x7f, exports.peek(low))
  end)

  it("is undone by a reset, whichever it was", function()
    local low = number(exports.data())
    assert.equal(0, raw(MUNMAP, low, PAGE))
    image:reset()
    assert.equal(7, exports.peek(low))
    assert.equal(0, raw(MPROTECT, low, PAGE, READ))
    assert.equal(0, raw(MADVISE, low, PAGE, DONTNEED))
    image:reset()
    assert.equal(7, exports.peek(low))
    exports.poke(low, 3)
    assert.is_true(raw(MREMAP, low, PAGE, 2 * PAGE, MAY_MOVE) > 0)
    image:reset()
    assert.equal(7, exports.peek(low))
    assert.equal(SLOT, bytes_in_slot())
  end)

  it("leaves nothing of what the guard had open", function()
    local low, anonymous = number(exports.data()), mmap(0, PAGE)
    exports.poke(low, 3)
    exports.poke(anonymous, 3)
    assert.equal(0, raw(MUNMAP, anonymous, PAGE))
    assert.is_true(is_read_only(anonymous))
    exports.poke(low, 3)
    assert.equal(0, raw(MUNMAP, low, PAGE))
    assert.is_true(is_read_only(low))
    local area, buffer = base + AREA, image:buffer(2 ^ 18) -- the client's is no other
    assert.equal("r--", permissions(area))
    exports.poke(area, 3)
    assert.equal(3, buffer[0])
    buffer:free()
    assert.equal("---", permissions(area))
    assert.is_true(is_read_only(area))
  end)

  it("is forgotten by a reset when it is the only one", function()
    local low, top = mmap(0, PAGE), raw(BRK, 0)
    exports.poke(low, 3)
    image:reset()
    assert.is_true(is_lost(low))
    assert.equal(top + PAGE, raw(BRK, top + PAGE))
    image:reset()
    assert.is_true(is_lost(top + PAGE - 1))
  end)

  it("changes nothing when there is no room to remember it", function()
    local refused = 0
    for more = 0, 1 do -- so that the list is full, or has one place left
      map { guard = "open" }
      local low, data = mmap(base + MMAP_LOW + 2 ^ 32, 3 * PAGE), number(exports.data())
      exports.poke(low + PAGE, 3)
      if more == 1 then mmap(low + 4 * PAGE, PAGE) end
      assert.equal(ENOMEM, number(exports.crowd(mmap(0, 32768 * PAGE), 32768)))
      assert.equal(ENOMEM, raw(MUNMAP, low + PAGE, PAGE))
      assert.equal(ENOMEM, raw(MPROTECT, low + PAGE, PAGE, READ))
      assert.equal(ENOMEM, mmap(low + PAGE, PAGE, FIXED, READ))
      assert.equal(3, exports.peek(low + PAGE))
      exports.poke(low + PAGE, 4)
      assert.equal(ENOMEM, raw(MUNMAP, data, PAGE))
      assert.equal(ENOMEM, mmap(data, PAGE, FIXED))
      assert.equal(7, exports.peek(data))
      local taken, err = pcall(image.buffer, image, 2 ^ 18)
      if not taken then
        assert.equal("limit", err.kind)
        assert.equal("---", permissions(base + AREA))
        refused = refused + 1
      end
      mm.assert(image:reset()) -- which takes the buffer back, too
      assert.equal(low, mmap(low, 3 * PAGE))
    end
    assert.equal(1, refused)
  end)

  it("gives memory back, and the reset does", function()
    local low = mmap(0, 2 * PAGE)
    exports.poke(low, 3)
    assert.equal(0, raw(MUNMAP, low + PAGE, PAGE))
    assert.equal(3, exports.peek(low))
    assert.equal(low + PAGE, mmap(low + PAGE, PAGE))
    assert.equal(0, exports.peek(low + PAGE))
    image:reset()
    assert.is_true(is_lost(low))
    assert.equal(low, mmap(low, PAGE))
    assert.equal(0, exports.peek(low))
  end)

  it("moves what it is told to, where it may be", function()
    local low = mmap(base + MMAP_LOW + 2 ^ 30, 2 * PAGE)
    local to = low + 2 ^ 20
    exports.poke(low, 3)
    exports.poke(low + PAGE, 4)
    assert.equal(EINVAL, raw(MREMAP, low, PAGE, PAGE, 2, to)) -- MREMAP_FIXED alone
    assert.equal(EINVAL, raw(MREMAP, low, PAGE, PAGE, MOVE_TO, to + 1))
    assert.equal(EINVAL, raw(MREMAP, low, 2 * PAGE, 2 * PAGE, MOVE_TO, low + PAGE))
    assert.equal(ENOMEM, raw(MREMAP, low, PAGE, PAGE, MOVE_TO, exports.data()))
    assert.equal(EFAULT, raw(MREMAP, low, 3 * PAGE, PAGE, MAY_MOVE))
    assert.equal(ENOMEM, raw(MREMAP, low, PAGE, 2 * PAGE, 0)) -- something is behind it
    assert.equal(EINVAL, raw(MREMAP, low + 1, PAGE, 2 * PAGE, MAY_MOVE))
    assert.equal(EINVAL, raw(MREMAP, low, 0, PAGE, MAY_MOVE))
    assert.equal(0, raw(MPROTECT, low + PAGE, PAGE, READ))
    assert.equal(EFAULT, raw(MREMAP, low, 2 * PAGE, 3 * PAGE, MAY_MOVE)) -- two mappings
    assert.equal(0, raw(MPROTECT, low + PAGE, PAGE, READ + WRITE))
    assert.equal(to, raw(MREMAP, low, 2 * PAGE, PAGE, MOVE_TO, to))
    assert.equal(SLOT, bytes_in_slot())
    assert.equal(3, exports.peek(to))
    assert.is_true(is_lost(low + PAGE))
    low = mmap(base + MMAP_END - PAGE, PAGE)
    local moved = raw(MREMAP, low, PAGE, 2 * PAGE, MAY_MOVE)
    assert.is_true(moved >= base + MMAP_LOW and moved + 2 * PAGE <= base + MMAP_END)
  end)

  it("moves a copy of what is the snapshot's, with its protection", function()
    local low = number(exports.data())
    assert.equal(0, raw(MPROTECT, low, PAGE, 0))
    local moved = raw(MREMAP, low, PAGE, 2 * PAGE, MAY_MOVE)
    assert.is_true(moved > 0)
    assert.equal(0, raw(MPROTECT, moved, PAGE, READ))
    assert.equal(7, exports.peek(moved))
    assert.equal(low, mmap(low, PAGE, NOREPLACE)) -- nothing is left there
    image:reset()
    assert.equal(0, raw(MPROTECT, low, PAGE, READ))
    moved = raw(MREMAP, low, PAGE, 2 * PAGE, MAY_MOVE)
    assert.equal(7, exports.peek(moved))
    assert.is_true(is_read_only(moved))
  end)

  it("moves the heap's end within its bounds", function()
    local top, low, high = raw(BRK, 0), facts.heap.low, base + 0x3f0000000
    assert.equal(top, raw(BRK, low - PAGE))
    assert.equal(top, raw(BRK, high + PAGE))
    map { memory = 2 ^ 35 }
    assert.equal(top, raw(BRK, high + PAGE))
    local behind = top + PAGE - top % PAGE
    assert.equal(behind, mmap(behind, PAGE, FIXED))
    exports.poke(behind, 3)
    assert.equal(top, raw(BRK, top + 2 * PAGE)) -- something is in the way
    assert.equal(3, exports.peek(behind))
    assert.equal(0, raw(MUNMAP, behind, PAGE))
    assert.equal(top + PAGE, raw(BRK, top + PAGE))
    exports.poke(top + PAGE - 1, 3)
    assert.equal(top, raw(BRK, top))
    assert.equal(top + PAGE, raw(BRK, top + PAGE))
    image:reset()
    assert.equal(top, raw(BRK, 0))
  end)
end)
