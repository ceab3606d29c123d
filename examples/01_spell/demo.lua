-- Spell-checks a text through an image of hunspell, and shows what that is good for.
--
--     make demo
--     luajit examples/01_spell/demo.lua [IMAGE [DIRECT]]      from the project's root
--
-- IMAGE is a snapshot of server.c with its dictionary loaded. DIRECT is direct.c, which does the
-- same without an image.

local mm = require "matchmaker"

local BUILD = os.getenv "MM_BUILD" or "build"
local MEMORY_ROLE = "--hold"
local IMAGE = arg[1] ~= MEMORY_ROLE and arg[1] or arg[2] or BUILD .. "/image/spell.mmi"
local DIRECT = arg[1] ~= MEMORY_ROLE and arg[2] or BUILD .. "/example/direct"
local HERE = arg[0]:match "^(.*/)" or "./"
local RUNS, CHILDREN = 7, 4

-- ---- small tools ----

local has_ffi, ffi = pcall(require, "ffi")
local now = os.clock
if has_ffi then
  ffi.cdef [[int mm_demo_clock(int clock, int64_t *time) __asm__("clock_gettime");]]
  local time = ffi.new "int64_t[2]"
  function now() -- os.clock counts the processor's time, and that of no child
    ffi.C.mm_demo_clock(1, time)
    return tonumber(time[0]) + tonumber(time[1]) / 1e9
  end
end

local function median(list)
  table.sort(list)
  return list[math.floor(#list / 2) + 1]
end

local function repeated(count, f)
  local list = {}
  for i = 1, count do list[i] = f() end
  return median(list)
end

local function say(format, ...) print(format:format(...)) end

local function heading(text)
  print()
  say("== %s ==", text)
end

-- %-18s counts bytes; a letter may be two.
local function padded(text, width)
  local _, letters = text:gsub("[^\128-\191]", "")
  return text .. (" "):rep(width - letters)
end

local function thousands(number)
  local text = ("%.0f"):format(number)
  return (text:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
end

local function duration(seconds)
  if seconds >= 1e-3 then return ("%.1f ms"):format(seconds * 1e3) end
  if seconds >= 1e-6 then return ("%.1f us"):format(seconds * 1e6) end
  return ("%.0f ns"):format(seconds * 1e9)
end

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function read(path)
  local file = assert(io.open(path, "r"))
  local text = file:read "*a"
  file:close()
  return text
end

local function run(command)
  local pipe = assert(io.popen(command, "r"))
  local output = pipe:read "*a"
  pipe:close()
  return output
end

-- ---- the text ----

-- Everything but letters separates words. Letters beyond ASCII are bytes from 128 on; the
-- typographic signs of U+2000 to U+206F are no letters.
local function words_of(text)
  local words = {}
  text = text:gsub("\226[\128\129][\128-\191]", " ")
  for word in text:gmatch "[%a\128-\255][%a\128-\255'-]*" do
    words[#words + 1] = (word:gsub("['-]+$", ""))
  end
  return words
end

-- For a dictionary whose language we have no text in: words of its own, each 20th with its first
-- letters doubled.
local function text_from(dic)
  local words, count = {}, 0
  for line in io.lines(dic) do
    local word = line:match "^([%a\128-\255]+)"
    if word and #word > 5 then
      count = count + 1
      if count % 97 == 0 then
        words[#words + 1] = #words % 20 == 7 and word:gsub("^(..)", "%1%1") or word
      end
    end
    if #words == 200 then break end
  end
  return table.concat(words, " ")
end

local function text_for(dic)
  local language = dic:match "([^/]*)%.dic$":sub(1, 2)
  local file = io.open(HERE .. "text_" .. language .. ".txt", "r")
  if not file then return text_from(dic), "words of the dictionary" end
  file:close()
  return read(HERE .. "text_" .. language .. ".txt"), "text_" .. language .. ".txt"
end

-- ---- one of several processes that use the dictionary at the same time ----

local function hold()
  local dict = assert(mm.request_map(IMAGE))
  dict.exports.spell "word"
  print("ready " .. read "/proc/self/stat":match "^%d+")
  io.stdout:flush()
  io.read "*a"
  mm.finalize()
end

local function kib_of(process)
  return tonumber(read("/proc/" .. process .. "/smaps_rollup"):match "\nPss:%s+(%d+)")
end

-- Starts `command` several times, waits until all are ready, and adds up what memory they take.
-- Pss counts a page that several processes share once, in shares.
local function memory_of(command, count)
  local children, kib = {}, 0
  for i = 1, count do
    local output = os.tmpname()
    children[i] = {
      output = output,
      pipe = assert(io.popen(("exec %s >%s"):format(command, output), "w")),
    }
  end
  local deadline = os.time() + 60
  for _, child in ipairs(children) do
    repeat
      child.process = read(child.output):match "ready (%d+)\n"
      if not child.process then os.execute "sleep 0.02" end
    until child.process or os.time() > deadline
  end
  for _, child in ipairs(children) do
    kib = kib + assert(kib_of(assert(child.process, "a child did not get ready")))
  end
  for _, child in ipairs(children) do
    child.pipe:close()
    os.remove(child.output)
  end
  return kib / 1024
end

-- ---- the demonstration ----

local function introduce(dict, dic)
  local info = dict:info()
  local file = assert(io.open(dic, "r"))
  local count = tonumber((file:read "*l" or ""):match "%d+") or 0
  file:close()
  heading "An image"
  say("hunspell was started once, read its dictionary (%s, %s word stems),", dic:match "[^/]*$",
    thousands(count))
  say("and was snapshot, ready for use, into %s (%.1f MiB).", IMAGE, info.file_bytes / 2 ^ 20)
  print "This program maps that file and calls the functions inside as if they were its own."
end

local function compare_start(direct)
  local load_s = repeated(5, function() return tonumber(run(direct .. " time")) / 1e3 end)
  local map_s = repeated(RUNS, function()
    local start = now()
    local image = assert(mm.request_map(IMAGE))
    local taken = now() - start
    assert(image:unmap())
    return taken
  end)
  local answer_s = repeated(RUNS, function()
    local start = now()
    local image = assert(mm.request_map(IMAGE))
    image.exports.spell "word"
    local taken = now() - start
    assert(image:unmap())
    return taken
  end)
  heading "Until it can be used"
  say("  reading the dictionary in the process    %10s", duration(load_s))
  say("  mapping the image                        %10s    %s times faster", duration(map_s),
    thousands(load_s / map_s))
  say("  mapping it, and having the first answer  %10s    %s times faster", duration(answer_s),
    thousands(load_s / answer_s))
end

local function compare_memory(direct)
  local interpreter, lowest = arg[-1], -1
  while arg[lowest] do interpreter, lowest = arg[lowest], lowest - 1 end
  local client = ("%s %s %s %s"):format(interpreter, quote(arg[0]), MEMORY_ROLE, quote(IMAGE))
  local without = memory_of(direct .. " memory", CHILDREN)
  local with = memory_of(client, CHILDREN)
  heading(("Memory of %d processes that use it at the same time"):format(CHILDREN))
  say("  each with a dictionary of its own        %7.1f MiB", without)
  say("  each with the image mapped               %7.1f MiB, Lua included", with)
end

-- The median of many short batches, for as long as one likes to wait.
local function cost(call)
  local list, deadline = {}, now() + 0.7
  repeat
    local start = now()
    for _ = 1, 10 do call() end
    list[#list + 1] = (now() - start) / 10
  until now() > deadline
  return median(list)
end

local function cost_of_calls(guard, words)
  local dict, i = assert(mm.request_map(IMAGE, { guard = guard })), 0
  local spell, add = dict.exports.spell, dict.exports.add
  local add_s = cost(function() add(1, 2) end)
  local spell_s = cost(function()
    i = i % #words + 1
    spell(words[i])
  end)
  assert(dict:unmap())
  return duration(add_s), duration(spell_s)
end

local function measure_calls(words)
  heading "A call (medians)"
  print "                                            add(1, 2)   spell(word)"
  say("  image closed between calls (the default) %10s    %10s", cost_of_calls("pages", words))
  say("  image left open, for those who trust it  %10s    %10s", cost_of_calls("open", words))
end

local function check_text(dict, words, name)
  local seen, wrong = {}, 0
  heading(("Mistakes in %s, %d words"):format(name, #words))
  for _, word in ipairs(words) do
    if not seen[word] and dict.exports.spell(word) == 0 then
      seen[word], wrong = true, wrong + 1
      local list = {}
      for suggestion in (dict.exports.suggest(word) or ""):gmatch "[^\n]+" do
        if #list < 4 then list[#list + 1] = suggestion end
      end
      say("  %s %s", padded(word, 18),
        #list > 0 and "-> " .. table.concat(list, ", ") or "(no suggestion)")
    end
  end
  say("  %d of them.", wrong)
  return wrong
end

local function survive_crash(dict, words)
  heading "A crash inside the image, on purpose"
  local before = dict.exports.spell(words[1])
  local fine, err = pcall(dict.exports.crash)
  assert(not fine, "crash() came back")
  say("  error: %s", tostring(err))
  local after = dict.exports.spell(words[1])
  assert(before == after, "another answer after the crash")
  say("  This process goes on: spell(\"%s\") is %d, as before.", words[1], after)
  local still, wrong_type = pcall(dict.exports.spell, 42)
  assert(not still, "spell(42) came back")
  heading "A call with a wrong argument"
  say("  error: %s", tostring(wrong_type))
end

local function main()
  local dict = assert(mm.request_map(IMAGE))
  local dic = dict.exports.dictionary()
  local direct = ("%s %s %s"):format(quote(DIRECT), quote((dic:gsub("%.dic$", ".aff"))), quote(dic))
  local text, name = text_for(dic)
  local words = words_of(text)
  introduce(dict, dic)
  assert(dict:unmap())
  compare_start(direct)
  compare_memory(direct)
  measure_calls(words)
  dict = assert(mm.request_map(IMAGE))
  check_text(dict, words, name)
  survive_crash(dict, words)
  mm.finalize()
end

if arg[1] == MEMORY_ROLE then hold() else main() end
