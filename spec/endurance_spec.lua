local shell = require "spec.shell"
local support = require "spec.support"

-- Lua text: steady(rounds, f) runs f a tenth as often, measures this process, runs it `rounds`
-- times, and fails when something grew: its own memory (in KiB, without the pages of files, which
-- come and go as the kernel likes), descriptors, mappings.
local measure = support.arena .. [[
local mm = require "matchmaker"
local function size()
  local file = io.open "/proc/self/status"
  local text = file:read "*a"
  file:close()
  return tonumber(text:match("RssAnon:%s+(%d+)"))
end

local function descriptors()
  local count = 0
  for _ in require("lfs").dir "/proc/self/fd" do count = count + 1 end
  return count
end

local function mappings()
  local count = 0
  for _ in io.lines "/proc/self/maps" do count = count + 1 end
  return count
end

local function measure()
  collectgarbage() collectgarbage()
  return { size = size(), descriptors = descriptors(), mappings = mappings(), arena = arena() }
end

local function steady(rounds, f)
  for i = 1, rounds / 10 do f(i) end
  local before = measure()
  for i = 1, rounds do
    f(i)
    if i % (rounds / 20) == 0 then collectgarbage() end -- else garbage that waits looks like a leak
  end
  local after = measure()
  local tolerated = { size = 1024, mappings = 8, descriptors = 0, arena = 0 }
  for name, most in pairs(tolerated) do
    if after[name] > before[name] + most then
      error(("%s: %d before, %d after"):format(name, before[name], after[name]))
    end
  end
  print "steady"
end
]]

describe("in the long run", function()
  support.guard(before_each, after_each)

  local function run(code)
    assert.equal("steady\n", support.output(measure .. code, support.image "math",
      support.image "text", support.image "crash"))
  end

  local function calls(count, guard)
    run(([[
      local image = mm.assert(mm.map(arg[1], { guard = %q }))
      local add, i32 = image.exports.add, image.exports.i32
      steady(%.0f, function(i)
        assert(add(i, 1) == i + 1)
        assert(i32(-i) == -i)
      end)
      assert(image:info().calls == %.0f, image:info().calls)
    ]]):format(guard, count / 2, count + count / 10))
  end

  local function batches(count)
    run(([[
      local image = mm.assert(mm.map(arg[1], { guard = "open" }))
      local good, bad = {}, { { 1, 2 }, { 1, "x" } }
      for i = 1, 300 do good[i] = { i, 1 } end
      steady(%.0f, function()
        assert(image:batch("add", good)[300] == 301)
        assert(not pcall(image.batch, image, "add", bad))
      end)
    ]]):format(count))
  end

  local function strings(count)
    run(([[
      local length = mm.assert(mm.map(arg[2], { guard = "open" })).exports.length
      local text = ("x"):rep(1000)
      steady(%.0f, function(i) assert(length(text:sub(1, i %% 1000)) == i %% 1000) end)
    ]]):format(count))
  end

  local function maps(count)
    run(([[
      steady(%.0f, function()
        local image = mm.assert(mm.map(arg[1]))
        assert(image.exports.add(1, 2) == 3)
        mm.assert(image:unmap())
      end)
    ]]):format(count))
  end

  local function collected_maps(count)
    run(([[
      steady(%.0f, function()
        do
          local image = mm.assert(mm.map(arg[1]))
          assert(image.exports.counter_next() == 101)
        end
        collectgarbage() collectgarbage()
      end)
    ]]):format(count))
  end

  local function failures(count)
    run(([[
      local image = mm.assert(mm.map(arg[1]))
      steady(%.0f, function(i)
        local again, err = mm.map(arg[1])
        assert(not again and err.kind == "slot_taken")
        again, err = mm.map "Makefile"
        assert(not again and err.kind == "not_an_image")
        local fine, wrong = pcall(image.exports.add, 1, "x")
        assert(not fine and wrong.kind == "type")
      end)
    ]]):format(count))
  end

  local function crashes(count)
    run(([[
      local image = mm.assert(mm.map(arg[3]))
      local write_null, counter_get = image.exports.write_null, image.exports.counter_get
      steady(%.0f, function()
        local fine, err = pcall(write_null)
        assert(not fine and err.signal == "SIGSEGV" and err.was_reset)
        assert(counter_get() == 100)
      end)
      assert(image:info().faults == %.0f)
    ]]):format(count, count + count / 10))
  end

  local function resets(count)
    run(([[
      local image = mm.assert(mm.map(arg[1]))
      local next_one = image.exports.counter_next
      steady(%.0f, function()
        assert(next_one() == 101)
        mm.assert(image:reset())
      end)
    ]]):format(count))
  end

  local function connections(count)
    run(([[
      mm.finalize()
      steady(%.0f, function()
        mm.assert(mm.init())
        local image = mm.assert(mm.map(arg[1]))
        assert(image.exports.add(1, 2) == 3)
        mm.assert(mm.finalize())
      end)
      assert(arena() == 0)
    ]]):format(count))
  end

  -- Several states in one process, each in a thread: spec/soak.
  local function states(count)
    local folder = shell.output("mktemp -d"):gsub("%s+$", "")
    finally(function() os.execute("rm -rf " .. folder) end)
    shell.output(("cc -O1 -g -D_GNU_SOURCE= -Icsrc -Icsrc/include -Ispec/unit -o %s/states " ..
      "spec/soak/states.c -Wl,--export-dynamic $(pkg-config --cflags --libs %s) -lpthread")
      :format(folder, support.lua))
    local result = shell.run(("env -u LUA_INIT MM_BUILD='%s' LUA_PATH='%s' LUA_CPATH='%s' " ..
      "%s/states %s spec/soak/states.lua %d 1"):format(support.build, package.path, package.cpath,
      folder, folder, count))
    assert(result.status == 0, result.stdout .. result.stderr)
  end

  it("calls leave nothing behind", function() calls(10000, "open") end)
  it("calls under `pages` leave nothing behind", function() calls(1000, "pages") end)
  it("calls with strings leave nothing behind", function() strings(10000) end)
  it("batches leave nothing behind", function() batches(300) end)
  it("maps and unmaps leave nothing behind", function() maps(200) end)
  it("images that are collected leave nothing behind", function() collected_maps(200) end)
  it("maps and calls that fail leave nothing behind", function() failures(500) end)
  it("crashes leave nothing behind", function() crashes(200) end)
  it("resets leave nothing behind", function() resets(500) end)
  it("connections leave nothing behind", function() connections(50) end)
  it("states in several threads, closed with what they map, leave nothing behind", function()
    states(800)
  end)

  if rawget(_G, "jit") then
    it("a million calls leave nothing behind #slow", function() calls(1000000, "open") end)
    it("a million strings leave nothing behind #slow", function() strings(1000000) end)
    it("ten thousand maps and unmaps leave nothing behind #slow", function() maps(10000) end)
    it("ten thousand crashes leave nothing behind #slow", function() crashes(10000) end)
    it("ten thousand resets leave nothing behind #slow", function() resets(10000) end)
  end
  if rawget(_G, "jit") or _VERSION == "Lua 5.4" then
    it("thirty thousand calls of several states leave nothing behind #long", function()
      states(30000)
    end)
  end
  it("ten thousand maps that fail leave nothing behind #slow", function() failures(10000) end)
  it("a thousand connections leave nothing behind #slow", function() connections(1000) end)
end)
