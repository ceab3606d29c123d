-- What an image's head tells without mapping it.
local support = require "spec.support"
local core = require "matchmaker.core"
local facts = require "matchmaker.facts"
local mm = require "matchmaker"
local shell = require "spec.shell"

local command = ("MM_BUILD=%s MATCHMAKER_LUA=%s bin/matchmaker "):format(support.build, support.lua)

describe("the facts of an image", function()
  support.guard(before_each, after_each)

  it("are those that binutils read", function()
    local all = assert(facts.of(support.image("math")))
    local headers = shell.output("readelf -lW " .. support.image("math"))
    local count = 0
    for low, bytes in headers:gmatch("LOAD +0x%x+ 0x(%x+) 0x%x+ 0x%x+ 0x(%x+)") do
      count = count + 1
      assert.equal(tonumber(low, 16), all.segments[count].low)
      assert.equal(tonumber(bytes, 16), all.segments[count].high - all.segments[count].low)
    end
    assert.equal(count, #all.segments)
    local notes = shell.output(("readelf -n %s/fixture/math"):format(support.build))
    assert.equal(notes:match("Build ID: (%x+)"), all.modules[1].build_id)
    local symbols = shell.output("nm " .. support.image("math"))
    for _, export in ipairs(all.exports) do
      assert.matches(("%016x T %s\n"):format(export.address, export.name), symbols .. "\n", 1, true)
    end
  end)

  it("are the same of the file and of what is mapped", function()
    local image = support.map("math")
    local mapped, file = assert(core.inspect(image)), assert(core.inspect(image:info().path))
    file.path, mapped.path = nil, nil
    assert.same(file, mapped)
    assert.equal(image:info().slot, mapped.slot)
  end)

  it("name what each segment is", function()
    local all, found = assert(facts.of(support.image("math"))), {}
    for _, segment in ipairs(all.segments) do found[segment.owner .. " " .. segment.kind] = true end
    assert.is_true(found["math text"])
    assert.is_true(found["libc.so.6 text"])
    assert.is_true(found["stack data"])
  end)

  it("say what an image needs, and why", function()
    local all = assert(facts.of(support.image("need_output")))
    assert.same({ { kind = "output", detail = "prints greetings" } }, all.needs)
  end)

  it("are refused with an error for what is none", function()
    local all, err = core.inspect("/nowhere.mmi")
    assert.is_nil(all)
    assert.equal("missing", err.kind)
    assert.equal("/nowhere.mmi", err.image)
    assert.equal("argument", support.error_of(core.inspect, 42).kind)
    assert.equal("argument", support.error_of(core.inspect).kind)
    local image = assert(mm.map(support.image("text")))
    assert(image:unmap())
    all, err = core.inspect(image)
    assert.is_nil(all)
    assert.equal("unmapped", err.kind)
  end)
end)

describe("matchmaker inspect", function()
  it("shows everything to people", function()
    local text = shell.output(command .. "inspect " .. support.image("math"))
    for _, part in ipairs { "image +%S+math%.mmi", "slot +%d+ at 0x%x+", "needs +nothing",
                            "\nsegments %(%d+%)", "\nmodules %(%d+%)", "build id %x+",
                            "enum color { RED = 0, GREEN = 5, BLUE = %-1 };",
                            "\n  int add%(int a, int b%)\n      the sum\n" } do
      assert.matches(part, text)
    end
  end)

  it("find every place where bytes open protection keys, in one segment too", function()
    local path = os.tmpname()
    shell.write(path, "\15\1\239x\15\1\239\15\174\40\15\174\48") -- the last is XSAVEOPT
    local list = require "matchmaker.rights" { path = path, segments = {
      { protection = "r-x", low = 0x1000, offset = 0, file_bytes = 13, owner = "code" } } }
    os.remove(path)
    assert.equal(3, #list)
    assert.same({ address = 0x1004, instruction = "WRPKRU", owner = "code" }, list[2])
    assert.same({ address = 0x1007, instruction = "XRSTOR", owner = "code" }, list[3])
  end)

  it("names the bytes that would open protection keys, also inside an instruction", function()
    local text = shell.output(command .. "inspect " .. support.image("rights"))
    local entry = facts.of(support.image("rights")).exports[1].address
    local count, places = text:match("\nbytes that change key rights %((%d+)%)\n(.-)\n\n")
    assert.equal(tonumber(count), select(2, places:gsub("0x%x+ %u+ %S", "")))
    local address = places:match("  0x(%x+) WRPKRU rights\n")
    assert.is_true(tonumber(address, 16) - entry < 16)
    assert.equal(1, select(2, (places .. "\n"):gsub(" rights\n", "")))
    assert.matches("0x%x+ XRSTOR ld%-linux", places)
    assert.matches('"instruction":"WRPKRU","owner":"rights"',
      shell.output(command .. "inspect --json " .. support.image("rights")))
  end)

  it("maps nothing", function()
    local result = shell.run("MM_TRACE=image " .. command .. "inspect " .. support.image("math"))
    assert.equal("", result.stderr)
  end)

  it("gives it as JSON to programs", function()
    local text = shell.output(command .. "inspect --json " .. support.image("need_output"))
    assert.matches('^{"base":%d+,.*"needs":%[{"detail":"prints greetings","kind":"output"}%]', text)
    assert.matches('"cpu_missing":%[%]', text)
    assert.matches('"prototype":"int greet%(const char %*name%)"', text)
    assert.equal("0", shell.output(("%s inspect --json %s | python3 -m json.tool >/dev/null; " ..
      "echo $?"):format(command, support.image("pointer"))))
  end)
end)

describe("matchmaker inspect --svg", function()
  local folder = shell.folders(before_each, after_each)

  local function draw(name, words)
    return shell.output(("%s inspect --svg %s %s"):format(command, words or "",
      support.image(name)))
  end

  it("draws each segment with its kind and size", function()
    local text, all = draw("math"), assert(facts.of(support.image("math")))
    local _, titles = text:gsub("<title>0x%x+%-0x%x+ ", "")
    assert.equal(#all.segments, titles)
    assert.matches(">libc.so.6</text>", text, 1, true)
    assert.matches("74.1 MiB of address space", text, 1, true)
    shell.write(folder("a.svg"), text)
    assert.equal("ok", shell.output(("python3 -c 'import xml.dom.minidom as m; " ..
      "m.parse(\"%s\"); print(\"ok\")'"):format(folder("a.svg"))))
  end)

  it("marks the pages that a call changed, and no others", function()
    local few = tonumber(draw("memory", "--call 'dirty(0)'"):match("bold\">(%d+) page"))
    local many = tonumber(draw("memory", "--call 'dirty 40'"):match("bold\">(%d+) page"))
    assert.equal(40, many - few)
  end)

  it("says what is wrong with a call", function()
    for words, status in pairs { ["--svg --call 'nobody'"] = 1, ["--svg --call '1'"] = 2,
                                 ["--svg --call 'add 1,'"] = 2, ["--call 'add 1, 2'"] = 2,
                                 ["--svg --call 'add \"x\", 2'"] = 1 } do
      local result = shell.run(("%s inspect %s %s"):format(command, words, support.image("math")))
      assert.equal(status, result.status, words)
      assert.matches("^matchmaker: [^\n]+\n$", result.stderr)
    end
  end)
end)
