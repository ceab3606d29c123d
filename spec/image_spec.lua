local support = require "spec.support"
local shell = require "spec.shell"
local mm = require "matchmaker"

-- Runs a tool on a fixture's image: it has to succeed, without a word of complaint.
local outputs = {}
local function tool(command, name)
  local line = ("%s %s"):format(command, support.image(name))
  if not outputs[line] then
    local result = shell.run(line)
    assert.equal(0, result.status, line)
    assert.equal("", result.stderr, line)
    outputs[line] = result.stdout
  end
  return outputs[line]
end

-- Like assert.matches, which would show all of a long text.
local function holds(text, pattern)
  assert.is_true(text:find(pattern) ~= nil, "nothing there matches " .. pattern)
end

local function count(text, pattern)
  return select(2, text:gsub(pattern, ""))
end

local names = { "math", "static_pie", "cxx", "spell" }

describe("an image file", function()
  support.guard(before_each, after_each)

  -- What readelf -l says of the segments, as numbers.
  local function segments(name)
    local list = {}
    for offset, address, file, memory, flags, align in tool("readelf -lW", name):gmatch(
        "LOAD%s+0x(%x+) 0x(%x+) 0x%x+ 0x(%x+) 0x(%x+) ([RWE ]+) 0x(%x+)") do
      list[#list + 1] = {
        offset = tonumber(offset, 16), address = tonumber(address, 16), file = tonumber(file, 16),
        memory = tonumber(memory, 16), flags = flags, align = tonumber(align, 16),
      }
    end
    return list
  end

  it("is an ELF-64 executable for readelf, without a warning", function()
    for _, name in ipairs(names) do
      holds(tool("readelf -lnsW", name), "Elf file type is EXEC")
      holds(tool("readelf -hW", name), "ELF64")
      tool("readelf -aW", name)
    end
  end)

  it("has its segments in one slot, in order, page-aligned in the file", function()
    for _, name in ipairs(names) do
      local image = support.map(name)
      local info = image:info()
      local low = info.base
      local list = segments(name)
      assert.equal(info.segments, #list)
      for _, segment in ipairs(list) do
        assert.equal(0, segment.offset % 4096)
        assert.equal(0, segment.address % 4096)
        assert.equal(4096, segment.align)
        assert.is_true(segment.address >= low)
        assert.is_true(segment.file <= segment.memory)
        assert.is_nil(segment.flags:find("W.*E"))
        low = segment.address + segment.memory
      end
      assert.is_true(low <= info.base + 2 ^ 36)
      mm.assert(image:unmap())
    end
  end)

  it("has few segments", function()
    for name, most in pairs { math = 24, static_pie = 16, cxx = 48, spell = 64 } do
      local found = #segments(name)
      assert.is_true(found > 2 and found <= most, ("%s has %d"):format(name, found))
    end
  end)

  it("keeps its facts in notes whose owner is Matchmaker", function()
    for _, name in ipairs(names) do
      local text = tool("readelf -nW", name)
      local notes = count(text, "\n  Matchmaker%s+0x%x+")
      assert.is_true(notes >= 3, name)
      assert.equal(notes, count(text, "\n  %S+%s+0x%x+"))
    end
    assert.equal(4, count(tool("readelf -nW", "need_output"), "\n  Matchmaker%s+0x%x+"))
  end)

  it("has for nm the exports, the static functions, and what the libraries define", function()
    holds(tool("nm", "math"), "%x+ T add\n")
    holds(tool("nm", "math"), "%x+ [bBdD] counter\n")
    holds(tool("nm", "math"), "%x+ [tWi] malloc\n")
    holds(tool("nm", "sparse"), "%x+ t helper\n")
    holds(tool("nm", "spell"), "%x+ [tW] Hunspell_spell\n")
    holds(tool("nm -C", "cxx"), "%x+ t [^\n]*throw_from%(int%)")
    holds(tool("nm", "static_pie"), "%x+ [tWi] malloc\n")
  end)

  it("has its exports where the registry has them, and no other global function", function()
    local image = support.map "math"
    local globals = {}
    for name in tool("nm", "math"):gmatch("%x+ T (%S+)\n") do globals[#globals + 1] = name end
    local exports = {}
    for name in pairs(image.exports) do exports[#exports + 1] = name end
    table.sort(globals)
    table.sort(exports)
    assert.same(exports, globals)
  end)

  it("is disassembled by objdump, function by function", function()
    local text = tool("objdump -d --no-show-raw-insn", "math")
    holds(text, "\n%x+ <add>:\n[^\n]*lea")
    holds(text, "\n%x+ <main>:\n")
    holds(text, "\n%x+ <[^>]*malloc[^>]*>:\n")
    assert.is_nil(text:find("out of range", 1, true))
  end)

  if shell.run("command -v gdb").status == 0 then
    it("is opened by gdb, which names and disassembles its functions", function()
      local text = tool("env -u LD_PRELOAD gdb -nx -batch -ex 'info symbol add' " ..
        "-ex 'disassemble add' -ex 'info symbol malloc' -ex 'x/2i main'", "math")
      assert.matches("^add in section %S+\n", text)
      assert.matches("Dump of assembler code for function add:\n.*<%+0>:.*ret", text)
      assert.matches("\n%S*malloc%S* in section %S+libc", text)
      assert.matches("<main>:", text)
    end)
  end

  describe("of memory that is mostly zero", function()
    local path = support.image "sparse"

    it("takes little room on the disk", function()
      local blocks, bytes = shell.output("stat -c '%b %s' " .. path):match("(%d+) (%d+)")
      local room = tonumber(shell.output("stat -c %B " .. path)) * tonumber(blocks)
      assert.is_true(room < 6 * 2 ^ 20, ("%d bytes on the disk"):format(room))
      assert.is_true(tonumber(bytes) < 530 * 2 ^ 20)
    end)

    it("has every byte of it when it is mapped", function()
      local image = support.map "sparse"
      local at, mebibyte = image.exports.at, 2 ^ 20
      for i = 0, 7 do
        assert.equal(i + 1, at(i * 64 * mebibyte))
        assert.equal(0, at(i * 64 * mebibyte + 1))
        assert.equal(0, at(i * 64 * mebibyte + 33 * mebibyte))
      end
      assert.equal(7, at(256 * mebibyte + 12345))
      assert.equal(0, at(256 * mebibyte + 1234567))
      assert.equal(0, at(512 * mebibyte - 1))
      assert.equal(-1, at(512 * mebibyte))
      assert.is_true(image:info().mapped_bytes > 512 * mebibyte)
    end)

    it("has few segments all the same", function()
      assert.is_true(#segments "sparse" <= 40)
    end)
  end)

  it("says the same of itself each time it is made, but for what differs", function()
    local folder = shell.output "mktemp -d"
    local first, second = folder .. "/x.mmi", folder .. "/y.mmi"
    for _, path in ipairs { first, second } do
      shell.output(("%s --slot 77 -o %s %s"):format(shell.launcher, path, shell.fixture "math"))
    end
    local function facts(path)
      return shell.output(("nm %s && readelf -lW %s"):format(path, path))
    end
    local one, two = facts(first), facts(second)
    os.execute("rm -rf " .. folder)
    assert.equal(one, two)
  end)
end)
