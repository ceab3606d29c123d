-- What the pages say is what happens: every command and every file of theirs, in a fresh folder.
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
end)
