local shell = require "spec.shell"
local support = require "spec.support"

-- docs/guarantees.md says for each known way in which level stops it, and names the test. Here: that
-- the tests are there, and that the cells of an attack are what the attack proves.

local LEVELS = { "none", "pages", "keys", "strict", "lockdown", "keys and lockdown" }
local PROGRAMS = { "attack", "attack_process", "attack_pinned", "attack_pause", "attack_reset",
  "attack_image" }
local COLUMNS, TEST = 9, 9
local OUTCOMES = { stopped = true, contained = true, ["not stopped"] = true,
  ["does not apply"] = true }

local function rows()
  local list, inside = {}, false
  for line in shell.read("docs/guarantees.md"):gmatch("[^\n]+") do
    if line:find("^## ") then inside = line == "## Known ways in" end
    local cells = {}
    for cell in line:gmatch("|%s*([^|]-)%s*%f[|]") do cells[#cells + 1] = cell end
    if inside and #cells == COLUMNS and tonumber(cells[1]) then list[#list + 1] = cells end
  end
  return list
end

local function attack_of(cells) return cells[TEST]:match("^attack `(.*)`$") end

describe("the table of known ways in", function()
  it("has a row for each of the 33, in their order, and a test or the word that there is none",
    function()
      local last, seen = 0, 0
      for _, cells in ipairs(rows()) do
        local number = tonumber(cells[1])
        assert.is_true(number == last or number == last + 1, "row " .. cells[1])
        last, seen = number, seen + 1
        for i = 3, TEST - 1 do assert.is_true(OUTCOMES[cells[i]], cells[2] .. ": " .. cells[i]) end
      end
      assert.equal(33, last)
      assert.is_true(seen > 33)
    end)

  it("names tests that exist", function()
    for _, cells in ipairs(rows()) do
      for name, file in cells[TEST]:gmatch("`([^`]+)` in (%S+%.%a+)") do
        local text = shell.read("spec/" .. file:gsub(",$", ""))
        assert.is_truthy(text:find(name, 1, true), name .. " in " .. file)
      end
      local test = cells[TEST]
      assert.is_truthy(attack_of(cells) or test:find("` in ", 1, true) or test == "none", test)
    end
  end)

  it("says of each attack what happens when it is tried", function()
    local folder = os.tmpname()
    os.remove(folder)
    local told, names, commands = {}, {}, {}
    local command = ("mkdir -m 777 FOLDER && %s/unit/%s_test FOLDER; rm -rf FOLDER")
      :gsub("FOLDER", folder)
    for i, program in ipairs(PROGRAMS) do commands[i] = command:format(support.build, program) end
    commands[#commands + 1] = ("LUA_PATH=%s LUA_CPATH=%s %s spec/unit/attack_yield.lua %s"):format(
      shell.quote(package.path), shell.quote(package.cpath), support.lua, support.build)
    for _, words in ipairs(commands) do
      local text = "\n" .. shell.output(words)
      for name, level, outcome in text:gmatch("\nok attack ([^\n]+), ([%l ]+): ([%l ]+)") do
        told[name .. ", " .. level], names[name] = outcome, true
      end
      for name in text:gmatch("\n# attack ([^\n]+): not here") do names[name] = true end
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
