local support = require "spec.support"
local shell = require "spec.shell"
local mm = require "matchmaker"

-- Lua text: words of a dictionary file, and the same words mangled, the same ones every time.
local words_of = [[
local function read_words(path)
  local list = {}
  for line in io.lines(path) do
    local word = line:match("^([^/%s]+)")
    if word and not word:find("^%d+$") then list[#list + 1] = word end
  end
  return list
end

local function spread(list, count)
  local chosen = {}
  for i = 1, count do chosen[i] = list[1 + math.floor((i - 1) * #list / count)] end
  return chosen
end

local function letters_of(word)
  local letters = {}
  for letter in word:gmatch("[%z\1-\127\192-\255][\128-\191]*") do
    letters[#letters + 1] = letter
  end
  return letters
end

-- One letter is dropped, doubled, swapped with the next one, or another one.
local function mangle(word, number)
  local letters = letters_of(word)
  local at, kind = 1 + number * 7 % #letters, number % 4
  if kind == 0 and #letters > 1 then table.remove(letters, at) end
  if kind == 1 then table.insert(letters, at, letters[at]) end
  if kind == 2 then letters[at], letters[#letters] = letters[#letters], letters[at] end
  if kind == 3 then letters[at] = "q" end
  return table.concat(letters)
end
]]

-- Hunspell's suggestions depend on the clock: it stops looking after 100 ms of processor time
-- (TIMELIMIT_SUGGESTION), so what takes nearly as long may differ from run to run.
local SHORT = 6 -- bytes of a word whose suggestions are found long before that

-- What the child does under LuaJIT: asks the image and the library, and compares.
local compare = words_of .. [[
local ffi, mm = require "ffi", require "matchmaker"
ffi.cdef "void *Hunspell_create(const char *aff, const char *dic);"
ffi.cdef "int Hunspell_spell(void *handle, const char *word);"
ffi.cdef "int Hunspell_suggest(void *handle, char ***list, const char *word);"
ffi.cdef "void Hunspell_free_list(void *handle, char ***list, int count);"
local hunspell = ffi.load "libhunspell-1.7.so.0"
local path, count, suggestion_count = arg[1], tonumber(arg[2]), tonumber(arg[3])
local exports = mm.assert(mm.map(path, { guard = "open" })).exports
local dictionary = exports.dictionary()
local handle = hunspell.Hunspell_create(dictionary:gsub("dic$", "aff"), dictionary)
local list = ffi.new "char **[1]"

local function suggest(word)
  local found = {}
  local length = hunspell.Hunspell_suggest(handle, list, word)
  for i = 0, length - 1 do found[i + 1] = ffi.string(list[0][i]) end
  if length > 0 then hunspell.Hunspell_free_list(handle, list, length) end
  return table.concat(found, "\n")
end

local asked, right, suggested, some = 0, 0, 0, 0
for number, word in ipairs(spread(read_words(dictionary), count)) do
  for _, one in ipairs { word, mangle(word, number) } do
    local directly = hunspell.Hunspell_spell(handle, one) ~= 0 and 1 or 0
    if exports.spell(one) ~= directly then error(one) end
    asked, right = asked + 1, right + directly
    if directly == 0 and suggested < suggestion_count and #one <= 9 then
      local start = os.clock()
      local list_of_words = suggest(one)
      if os.clock() - start < 0.04 then
        if exports.suggest(one) ~= list_of_words then error("suggestions for " .. one) end
        suggested, some = suggested + 1, some + (list_of_words ~= "" and 1 or 0)
      end
    end
  end
end
-- Neither all right nor all wrong: the questions were not idle.
assert(right > asked / 3 and right < asked and (some > 0 or suggestion_count == 0))
print(asked, suggested)
]]

describe("a dictionary in an image", function()
  support.guard(before_each, after_each)
  local folder = shell.folders(before_each, after_each)

  it("gives the answers that the library gives by itself, suggestions included", function()
    local image = mm.assert(mm.map(support.image "spell", { guard = "open" }))
    local dictionary = image.exports.dictionary()
    local load_text = loadstring or load
    local read_words, spread, mangle = load_text(words_of .. "return read_words, spread, mangle")()
    local list, lines = spread(read_words(dictionary), 300), {}
    for i = 1, #list, 10 do
      local word = mangle(list[i], i)
      if #word <= SHORT then list[#list + 1] = word end
    end
    for i, word in ipairs(list) do
      lines[i] = ("%d %s"):format(image.exports.spell(word), word)
      if lines[i]:find("^0") and #word <= SHORT then
        local suggestions = image.exports.suggest(word)
        if suggestions ~= "" then lines[i] = lines[i] .. "\t" .. suggestions:gsub("\n", "\t") end
      end
    end
    mm.assert(image:unmap())
    shell.write(folder "words", table.concat(list, "\n") .. "\n")
    local direct = shell.output(("%s/example/direct %s %s check <%s"):format(support.build,
      dictionary:gsub("dic$", "aff"), dictionary, folder "words"))
    local position, suggested = 0, 0
    for line in direct:gmatch("[^\n]+") do
      position = position + 1
      local word = list[position]
      if #word > SHORT then line = line:sub(1, 2 + #word) end
      assert.equal(line, lines[position])
      if line:find("\t", 1, true) then suggested = suggested + 1 end
    end
    assert.equal(#list, position)
    assert.is_true(suggested > 0)
  end)

  if rawget(_G, "jit") then
    it("gives them for 300 words and 300 mangled ones", function()
      assert.equal("600\t5\n", support.output(compare, support.image "spell", "300", "5"))
    end)

    it("gives them for 10,000 words and 10,000 mangled ones, 200 suggestions #slow", function()
      assert.equal("20000\t200\n", support.output(compare, support.image "spell", "10000", "200"))
    end)
  end

  it("forgets at a reset what it was taught", function()
    local image = mm.assert(mm.map(support.image "spell"))
    local spell = image.exports.spell
    assert.equal(0, spell "blorptag")
    assert.equal(0, image.exports.add_word "blorptag")
    assert.equal(1, spell "blorptag")
    mm.assert(image:reset())
    assert.equal(0, spell "blorptag")
    mm.assert(image:unmap())
  end)

  it("teaches one client and not the file", function()
    local code = [[
      local image = require("matchmaker").map(arg[1])
      print(image.exports.spell "blorptag")
    ]]
    local image = mm.assert(mm.map(support.image "spell"))
    image.exports.add_word "blorptag"
    assert.equal("0\n", support.output(code, support.image "spell"))
    assert.equal(1, image.exports.spell "blorptag")
    mm.assert(image:unmap())
  end)

  it("survives a crash of its own and answers as before", function()
    local image = mm.assert(mm.map(support.image "spell"))
    local before = image.exports.suggest "kutyq"
    for _ = 1, 3 do
      assert.equal("SIGSEGV", support.error_of(image.exports.crash).signal)
      assert.equal(before, image.exports.suggest "kutyq")
    end
    mm.assert(image:unmap())
  end)
end)
