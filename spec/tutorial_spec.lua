-- What the pages say is what happens: every command and every file of theirs, in a fresh folder.
local lfs = require "lfs"
local support = require "spec.support"
local shell = require "spec.shell"
local runner = require "spec.document_runner"

describe("a reader who follows", function()
  support.guard(before_each, after_each)
  local folder = shell.folders(before_each, after_each)

  it("the tutorial sees what it says", function()
    local commands, files = runner.run("docs/tutorial.md", folder())
    assert.is_true(commands >= 20 and files >= 10)
  end)

  it("the front page does, too", function()
    assert.equal(3, (runner.run("README.md", folder())))
  end)

  it("the page for those who come from elsewhere does, too", function()
    assert.equal(3, (runner.run("docs/coming_from.md", folder())))
  end)

  for _, example in ipairs { "05_callbacks", "06_memory", "07_containment", "08_policy" } do
    it("the page of " .. example .. " does, too", function()
      assert(os.execute(("cp examples/%s/* %s"):format(example, folder())))
      assert.equal(3, (runner.run(("examples/%s/README.md"):format(example), folder())))
    end)
  end
end)

describe("the reference", function()
  it("has the tables that the header has", function()
    assert.equal("", shell.run("luajit tools/reference.lua --check").stderr)
  end)
end)

describe("the pages", function()
  local LINK, SOURCE = "%]%(([^)#]+)[^)]*%)", "`(%l[%w_/]*/[%w_]+%.[chS])`"

  -- Of the names that a page has by the pattern, those that are nowhere; and how many names there are.
  local function missing(page, pattern, folder)
    local list, count = {}, 0
    for name in shell.read(page):gmatch(pattern) do
      count = count + 1
      if not name:find "^https?:" and not lfs.attributes(folder .. name) then
        list[#list + 1] = page .. ": " .. name
      end
    end
    return list, count
  end

  it("lead to files that are there", function()
    local pages = shell.output "find README.md docs examples -name '*.md'"
    local found = 0
    for page in pages:gmatch "[^\n]+" do
      local folder = page:match "^(.*/)" or ""
      local lost, links = missing(page, LINK, folder)
      assert.same({}, lost)
      found = found + links
      if folder == "docs/internals/" then
        local gone, sources = missing(page, SOURCE, "csrc/")
        assert.same({}, gone)
        found = found + sources
      end
    end
    assert.is_true(found > 60)
  end)
end)
