local shell = require "spec.shell"
local support = require "spec.support"

-- docs/guarantees.md says for each known way in which level stops it, and names the test. Here: that
-- the tests are there, and that the cells of an attack are what the attack proves.

local LEVELS = { "none", "pages", "keys", "strict", "lockdown" }

local function rows()
  local list, inside = {}, false
  for line in shell.read("docs/guarantees.md"):gmatch("[^\n]+") do
    if line:find("^## ") then inside = line == "## Known ways in" end
    local cells = {}
    for cell in line:gmatch("|%s*([^|]-)%s*%f[|]") do cells[#cells + 1] = cell end
    if inside and #cells == 8 and tonumber(cells[1]) then list[#list + 1] = cells end
  end
  return list
end

local function attack_of(cells) return cells[8]:match("^attack `(.*)`$") end

describe("the table of known ways in", function()
  it("has a row for each of the 33, in their order, and a test or the word that there is none",
    function()
      local last, seen = 0, 0
      for _, cells in ipairs(rows()) do
        local number = tonumber(cells[1])
        assert.is_true(number == last or number == last + 1, "row " .. cells[1])
        last, seen = number, seen + 1
        for i = 3, 8 do assert.is_true(#cells[i] > 0, cells[2]) end
      end
      assert.equal(33, last)
      assert.is_true(seen > 33)
    end)

  it("names tests that exist", function()
    for _, cells in ipairs(rows()) do
      for name, file in cells[8]:gmatch("`([^`]+)` in (%S+%.%a+)") do
        local text = shell.read("spec/" .. file:gsub(",$", ""))
        assert.is_truthy(text:find(name, 1, true), name .. " in " .. file)
      end
      assert.is_truthy(attack_of(cells) or cells[8]:find("` in ", 1, true) or cells[8] == "none",
        cells[8])
    end
  end)

  it("says of each attack what happens when it is tried", function()
    local folder = os.tmpname()
    os.remove(folder)
    local told, names = {}, {}
    local command = "mkdir -m 777 %s && %s/unit/attack_test %s; rm -rf %s"
    local text = shell.output(command:format(folder, support.build, folder, folder))
    for name, level, outcome in text:gmatch("\n?ok attack ([^\n]-), (%l+): ([%l ]+)") do
      told[name .. ", " .. level], names[name] = outcome, true
    end
    for _, cells in ipairs(rows()) do
      local name = attack_of(cells)
      if name and name:find("root") and not names[name] then name = nil end -- only root tries it
      if name then
        assert.is_true(names[name], name)
        names[name] = nil
        for i, level in ipairs(LEVELS) do
          local outcome = told[name .. ", " .. level]
          if outcome then assert.equal(outcome, cells[i + 2], name .. ", " .. level) end
        end
      end
    end
    assert.is_nil((next(names)))
  end)
end)
