local support = require "spec.support"
local shell = require "spec.shell"

describe("the example", function()
  support.guard(before_each, after_each)
  local folder = shell.folders(before_each, after_each)
  local examples = shell.root .. "/examples/"

  -- Servers use LuaJIT's FFI; clients run under the Lua that runs this spec.
  local function run(example, words)
    shell.output(("MM_BUILD=%s MATCHMAKER_LUA=luajit %s snapshot -o %s %s %s"):format(
      shell.launcher:match "^(.*)/", shell.root .. "/bin/matchmaker", folder "x.mmi",
      examples .. example .. "/server.lua", words))
    return shell.output(("LUA_PATH=%s LUA_CPATH=%s %s %s/demo.lua %s"):format(
      shell.quote(package.path), shell.quote(package.cpath), support.lua, examples .. example,
      folder "x.mmi"))
  end

  -- The first character of a text in UTF-8.
  local function first(text) return text:match "^[%z\1-\127\194-\244][\128-\191]*" end

  it("03_sqlite finds in its database what is in the dictionary", function()
    local path = shell.output "ls /usr/share/hunspell/*.dic | head -n 1"
    local count, letters, is_utf8 = 0, {}, true
    local lines = io.lines(path)
    lines()
    for line in lines do
      local text = line:match "^[^/\t]+"
      local letter = text and first(text)
      is_utf8 = is_utf8 and (letter or not text)
      if letter then
        count = count + 1
        letters[letter] = (letters[letter] or 0) + 1
      end
    end
    local output = run("03_sqlite", path)
    assert.match("^SQLite %d", output)
    assert.match("\ndeleted\t0\n", output, 1, true)
    assert.match("\nquery: no such column: nonsense; the image was reset", output, 1, true)
    assert.equal(output:match "\nwords\t(%d+)", output:match "\nreset\t(%d+)")
    if not is_utf8 then return end
    assert.equal(count, tonumber(output:match "\nwords\t(%d+)"))
    local seen = 0
    for letter, number in output:gmatch "\n\t([^\t\n]+)\t(%d+)" do
      seen = seen + 1
      assert.equal(letters[letter], tonumber(number))
    end
    assert.equal(5, seen)
  end)

  it("04_python evaluates in a client without Python", function()
    local library = shell.output "pkg-config --libs-only-l python3-embed":match "-l(python[%d.]+)"
    local output = run("04_python", "lib" .. library .. ".so")
    for _, line in ipairs {
      "2 ** 200\t1606938044258990275541962092341162602522202993782792835301376",
      "decimal.Decimal(1) / 7\tDecimal('0.1428571428571428571428571429')",
      "json.loads('{\"numbers\": [1, 2.5, null]}')['numbers']\t[1, 2.5, None]",
      "re.findall('[a-z]+', 'one 2 three')\t['one', 'three']",
      "1 / 0\tZeroDivisionError: division by zero",
    } do
      assert(output:find(line, 1, true), output)
    end
  end)
end)
