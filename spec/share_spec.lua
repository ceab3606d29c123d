local support = require "spec.support"
local shell = require "spec.shell"

-- A client that maps the spelling image, checks a word, says so and lives until its input ends.
local client = [[
local mm = require "matchmaker"
local image = mm.assert(mm.map(arg[1], { guard = arg[2] }))
local words = 0
for word in ("a kutya az asztal alatt ült és csontot rágott"):gmatch("%S+") do
  words = words + image.exports.spell(word)
end
print(("%.0f"):format(image:info().base), words)
io.stdout:flush()
io.read("*a")
]]

-- Sizes in KiB of a process's mappings of the image's file: resident, and its share of them.
local function sizes(pid, base)
  local resident, share, inside = 0, 0, false
  for line in io.lines(("/proc/%d/smaps"):format(pid)) do
    local low = line:match("^(%x+)%-%x+ ")
    if low then
      low = tonumber(low, 16)
      inside = low >= base and low < base + 2 ^ 36 and line:find("spell.mmi", 1, true) ~= nil
    elseif inside then
      resident = resident + (tonumber(line:match("^Rss:%s+(%d+)")) or 0)
      share = share + (tonumber(line:match("^Pss:%s+(%d+)")) or 0)
    end
  end
  return resident, share
end

describe("four clients of one image", function()
  support.guard(before_each, after_each)
  local folder = shell.folders(before_each, after_each)

  local function start(count, guard)
    local clients, program = {}, shell.lua(client, folder())
    for i = 1, count do
      local name = folder("client" .. i)
      -- The shell becomes the client, so that its number is the client's.
      local command = ("echo $$ >%s.pid; exec %s %s %s >%s.out"):format(name,
        program, support.image "spell", guard, name)
      clients[i] = { pipe = assert(io.popen(command, "w")), name = name }
    end
    for _, one in ipairs(clients) do
      shell.output(("i=0; until [ -s %s.out ] || [ $i = 600 ]; do sleep 0.1; i=$((i+1)); done; " ..
        "[ -s %s.out ]"):format(one.name, one.name))
      one.pid = tonumber(shell.read(one.name .. ".pid"))
      one.base, one.words = shell.read(one.name .. ".out"):match("(%S+)%s+(%d+)")
    end
    return clients
  end

  for _, guard in ipairs { "open", "pages" } do
    it(("share its clean pages under the guard `%s`"):format(guard), function()
      local clients = start(4, guard)
      local resident, share = 0, 0
      for _, one in ipairs(clients) do
        local r, s = sizes(one.pid, tonumber(one.base))
        resident, share = resident + r, share + s
      end
      local first = sizes(clients[1].pid, tonumber(clients[1].base))
      for _, one in ipairs(clients) do one.pipe:close() end
      assert.is_true(first > 500, ("%d KiB are resident in one client"):format(first))
      -- A page of four clients counts a quarter in each. Without sharing, the shares would be all
      -- that is resident.
      assert.is_true(share < 0.3 * resident,
        ("%d KiB are resident in four clients, which take %d KiB"):format(resident, share))
    end)
  end

  it("answer alike", function()
    local clients = start(4, "open")
    for _, one in ipairs(clients) do
      one.pipe:close()
      assert.equal(clients[1].words, one.words)
    end
    assert.is_true(tonumber(clients[1].words) > 0)
  end)
end)
