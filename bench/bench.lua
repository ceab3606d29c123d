-- What a call, a map and a reset cost, against what else one could do. All contestants take turns,
-- and medians are quoted, so that a busy machine disturbs all of them alike. Compare ratios between
-- machines, not times.
--
--     bench.lua [BUILD]     run from the project's root; BUILD is where things were built (build)

local mm = require "matchmaker"
local measure = require "bench.measure"
local plot = require "bench.plot"

local BUILD = arg and arg[1] or "build"
local FOLDER = BUILD .. "/bench/"
local ROUNDS = tonumber(os.getenv "MM_BENCH_ROUNDS") or 11
local SIZES_MIB = { 10, 200, 1024 }
local WORD = "asztal"
local BATCH = 1000

local has_ffi, ffi = pcall(require, "ffi")
package.cpath = FOLDER .. "?.so;" .. package.cpath
local protect = require "protect"
local unpack = table.unpack or unpack

-- With a slash, so that the dynamic linker takes it for a path.
local function path_of(name) return (FOLDER:find "^/" and "" or "./") .. FOLDER .. name end

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function run(command)
  local pipe = assert(io.popen(command, "r"))
  local output = pipe:read "*a"
  pipe:close()
  return output
end

local function run_number(command)
  return assert(tonumber(run(command)), "not a number from: " .. command)
end

-- ---- images that only this needs ----

local function make_big(mebibytes)
  local path = ("%sbig_%d.mmi"):format(FOLDER, mebibytes)
  local free_kib = tonumber(run("df -Pk " .. quote(FOLDER)):match "\n%S+%s+%d+%s+%d+%s+(%d+)")
  if free_kib and free_kib < mebibytes * 1024 * 1.2 then
    print(("(no room for an image of %d MiB: left out)"):format(mebibytes))
    return nil
  end
  run(("%s/matchmaker-launch -o %s %s/fixture/big %d"):format(BUILD, quote(path), BUILD,
    mebibytes))
  return path
end

-- ---- calls ----

-- Maps anew for every sample: what a guard learned is learned again, and two guards never share an
-- image.
local function in_image(path, options, export, arguments, ...)
  local rest = { ... }
  return function()
    local image = assert(mm.request_map(path, options))
    local ns = measure.call(image.exports[export], arguments, rest[1], rest[2])
    assert(image:unmap())
    return ns
  end
end

local function in_batch(path, guard, export, ...)
  local list = {}
  for i = 1, BATCH do list[i] = { ... } end
  return function()
    local image = assert(mm.request_map(path, { guard = guard }))
    local ns = measure.call(function() return image:batch(export, list) end, "")
    assert(image:unmap())
    return ns / BATCH
  end
end

local function in_open(path, export, arguments, ...)
  local rest = { ... }
  return function()
    local image, ns = assert(mm.request_map(path)), nil
    image:open(function()
      ns = measure.call(image.exports[export], arguments, rest[1], rest[2])
    end)
    assert(image:unmap())
    return ns
  end
end

local function has(image, method)
  local found, value = pcall(function() return image[method] end)
  return found and type(value) == "function"
end

-- What the same mprotect(2) costs without us: the calls that the guard makes, over the same pages, in
-- an image that was called before and has them in memory.
local function by_mprotect(path, export, ...)
  local words = {}
  for i, argument in ipairs { ... } do words[i] = quote(tostring(argument)) end
  local text = run(("MM_TRACE=guard %s bench/one_call.lua %s %s %s 2>&1 >/dev/null"):format(arg[-1],
    quote(path), export, table.concat(words, " ")))
  local lines = assert(text:match "once more\n(.*)done\n", text)
  local arguments = { ... }
  return ("bare mprotect, %d calls"):format(protect.remember(lines)), function()
    local image = assert(mm.request_map(path, { guard = "pages" }))
    for _ = 1, 200 do image.exports[export](unpack(arguments)) end
    protect.remember(lines)
    local ns = measure.call(protect.replay, "")
    assert(image:unmap())
    return ns
  end
end

local function by_daemon(socket, what, calls, processor)
  local command = ("%sdaemon ask %s %s %d %s %s"):format(FOLDER, socket, what, calls, processor,
    WORD)
  return function() return run_number(command) end
end

local function add_calls(spell_image, math_image, socket, able)
  local rows = {}
  local function row(name, ours, f) rows[#rows + 1] = { name = name, ours = ours, measure = f } end
  local c_function = require "add".add
  if has_ffi then
    ffi.cdef "int bench_add(int a, int b);"
    local library = ffi.load(path_of "add.so")
    row("LuaJIT FFI, library in the process", false, function()
      return measure.call(library.bench_add, "i % 1000, 1")
    end)
  end
  row("Lua C function, library in the process", false, function()
    return measure.call(c_function, "i % 1000, 1")
  end)
  row("image, guard open", true, in_image(spell_image, { guard = "open" }, "add", "i % 1000, 1"))
  if able.open then
    row("image, guard pages, left open", true, in_open(spell_image, "add", "i % 1000, 1"))
  end
  for _, guard in ipairs(able.batch and { "open", "pages" } or {}) do
    row(("image, guard %s, batch of %d"):format(guard, BATCH), true,
      in_batch(spell_image, guard, "add", 1, 2))
  end
  local name, floor = by_mprotect(spell_image, "add", 1, 2)
  row(name, false, floor)
  row("image, guard pages", true, in_image(spell_image, nil, "add", "i % 1000, 1"))
  row("small image, guard pages", true, in_image(math_image, nil, "add", "i % 1000, 1"))
  row("daemon, both on one CPU", false, by_daemon(socket, "add", 5000, "0"))
  row("daemon, left to the scheduler", false, by_daemon(socket, "add", 5000, "free"))
  return { title = "One call: add(a, b)", rows = rows }
end

local function spell_calls(spell_image, aff, dic, socket, able)
  local rows = {}
  local function row(name, ours, f) rows[#rows + 1] = { name = name, ours = ours, measure = f } end
  local module = require "spell"
  module.load(aff, dic)
  if has_ffi then
    ffi.cdef "int bench_spell(const char *word);"
    local library = ffi.load(path_of "spell.so")
    row("LuaJIT FFI, library in the process", false, function()
      return measure.call(library.bench_spell, "a", WORD)
    end)
  end
  row("Lua C function, library in the process", false, function()
    return measure.call(module.spell, "a", WORD)
  end)
  row("image, guard open", true, in_image(spell_image, { guard = "open" }, "spell", "a", WORD))
  if able.open then
    row("image, guard pages, left open", true, in_open(spell_image, "spell", "a", WORD))
  end
  for _, guard in ipairs(able.batch and { "open", "pages" } or {}) do
    row(("image, guard %s, batch of %d"):format(guard, BATCH), true,
      in_batch(spell_image, guard, "spell", WORD))
  end
  local name, floor = by_mprotect(spell_image, "spell", WORD)
  row(name, false, floor)
  row("image, guard pages", true, in_image(spell_image, nil, "spell", "a", WORD))
  row("daemon, both on one CPU", false, by_daemon(socket, "spell", 5000, "0"))
  row("daemon, left to the scheduler", false, by_daemon(socket, "spell", 5000, "free"))
  return { title = "One call: spell(word)", rows = rows }
end

-- ---- other calls ----

local QUERY = "select flags from word where text = '" .. WORD .. "'"

-- A point query in an image that a Lua script made: SQL is compiled, run, and made into a string by
-- LuaJIT, in the image.
local function query_calls(dic)
  local path = FOLDER .. "words.mmi"
  run(("%s/matchmaker-launch -o %s luajit examples/03_sqlite/server.lua %s 2>&1"):format(BUILD,
    quote(path), quote(dic)))
  local name, floor = by_mprotect(path, "query", QUERY)
  return {
    title = "One call: a point query of SQLite",
    rows = {
      { name = "image, guard open", ours = true,
        measure = in_image(path, { guard = "open" }, "query", "a", QUERY) },
      { name = "image, guard pages, left open", ours = true,
        measure = in_open(path, "query", "a", QUERY) },
      { name = name, measure = floor },
      { name = "image, guard pages", ours = true,
        measure = in_image(path, nil, "query", "a", QUERY) },
    },
  }
end

local function by_other_lua(what)
  local command = ("LUA_CPATH='%s/lua/lua5.1/?.so' lua5.1 bench/other_lua.lua %s %s"):format(BUILD,
    BUILD, what)
  return function() return run_number(command) end
end

-- Under the guard `open`: what the ways in cost, not the guard. cffi-lua, which gives PUC Lua an
-- FFI by libffi, has no package here.
local function ways(math_image, callback_image)
  local function in_open_image(call)
    return function()
      local image = assert(mm.request_map(math_image, { guard = "open" }))
      local ns = measure.call(call, "a, i % 1000, 1", image)
      assert(image:unmap())
      return ns
    end
  end
  local rows = {
    { name = has_ffi and "LuaJIT, straight through its FFI" or "by libffi", ours = true,
      measure = in_image(math_image, { guard = "open" }, "add", "i % 1000, 1") },
    { name = "by name, through libffi", ours = true,
      measure = in_open_image(function(image, x, y)
        return mm.request_call(image, "add", x, y)
      end) },
    { name = "and the image calls back into Lua", ours = true,
      measure = function()
        local image = assert(mm.request_map(callback_image, { guard = "open" }))
        local back = image:callback("int (int)", function(x) return x end)
        local ns = measure.call(image.exports.apply, "a, i % 1000", back)
        assert(image:unmap())
        return ns
      end },
  }
  if run "command -v lua5.1" ~= "" then
    rows[#rows + 1] = { name = "Lua 5.1: a Lua C function", measure = by_other_lua "function" }
    rows[#rows + 1] = { name = "Lua 5.1: image, through libffi", ours = true,
      measure = by_other_lua "image" }
  end
  return { title = "One call: add(a, b), guard open, by the way it is made", rows = rows }
end

-- ---- maps ----

local function floor_of(path)
  local segments, map_ns, unmap_ns = run(("%smmap_floor %s 200"):format(FOLDER, quote(path)))
    :match "(%d+) (%d+) (%d+)"
  return tonumber(map_ns), tonumber(unmap_ns), tonumber(segments)
end

local function map_ns(path)
  local start = measure.now()
  local image = assert(mm.request_map(path))
  local ns = measure.now() - start
  assert(image:unmap())
  return ns
end

-- The median of many in a row, as the floor is measured, too.
local function maps_ns(path)
  local times = {}
  for i = 1, 200 do times[i] = map_ns(path) end
  table.sort(times)
  return times[100]
end

local function maps(images)
  local rows = {}
  for _, image in ipairs(images) do
    local _, _, segments = floor_of(image.path)
    rows[#rows + 1] = {
      name = ("%s: bare mmap of its %d segments"):format(image.name, segments),
      base = #rows + 1,
      measure = function() return (floor_of(image.path)) end,
    }
    rows[#rows + 1] = {
      name = image.name .. ": request_map",
      ours = true,
      base = #rows,
      measure = function() return maps_ns(image.path) end,
    }
  end
  return { title = "Mapping an image, by its size in memory", rows = rows }
end

local function starts(spell_image, aff, dic)
  local direct = ("%s/example/direct %s %s time"):format(BUILD, quote(aff), quote(dic))
  return {
    title = "Until the dictionary can be used",
    rows = {
      {
        name = "hunspell loads its dictionary",
        measure = function() return run_number(direct) * 1e6 end,
      },
      {
        name = "image: request_map",
        ours = true,
        measure = function() return map_ns(spell_image) end,
      },
      {
        name = "image: request_map, and the first answer",
        ours = true,
        measure = function()
          local start = measure.now()
          local image = assert(mm.request_map(spell_image))
          image.exports.spell(WORD)
          local ns = measure.now() - start
          assert(image:unmap())
          return ns
        end,
      },
    },
  }
end

-- All of its memory resident, as after long use: where a page is read, the kernel maps the 16 that
-- lie around it.
local function resident(image)
  image:open(function()
    for page = 0, image.exports.pages() - 1, 16 do image.exports.sum_page(page) end
  end)
end

local function sizes(images)
  local rows = {}
  for i = 2, #images do
    rows[#rows + 1] = {
      name = ("%s resident"):format(images[i].name),
      ours = true,
      measure = function()
        local image = assert(mm.request_map(images[i].path))
        resident(image)
        local ns = measure.call(image.exports.add, "i % 1000, 1")
        assert(image:unmap())
        return ns
      end,
    }
  end
  return { title = "One call: add(a, b), guard pages, by the image's size", rows = rows }
end

-- The second of two: the first time that the TLB is emptied after so many pages came in, a hypervisor
-- may have milliseconds of work with them, whoever asks for it.
local function reset_row(image, guard, pages)
  return {
    name = ("%s, guard %s: %d page%s changed"):format(image.name, guard, pages,
      pages == 1 and "" or "s"),
    ours = true,
    measure = function()
      local mapped = assert(mm.request_map(image.path, { guard = guard }))
      resident(mapped)
      mapped.exports.touch(pages)
      assert(mapped:reset())
      mapped.exports.touch(pages)
      local start = measure.now()
      assert(mapped:reset())
      local ns = measure.now() - start
      assert(mapped:unmap())
      return ns
    end,
  }
end

local function resets(images)
  local rows, large = {}, images[#images]
  for _, pages in ipairs { 1, 10, 100, 1000 } do
    rows[#rows + 1] = reset_row(large, "pages", pages)
  end
  for i = 2, #images do rows[#rows + 1] = reset_row(images[i], "open", 10) end
  return { title = "Reset of an image, all resident", rows = rows }
end

-- ---- output ----

local function print_section(section)
  print()
  print(section.title)
  for _, row in ipairs(section.rows) do
    local base = section.rows[row.base or 1].ns
    local ratio = row.ns / base
    row.ratio = ratio
    print(("  %-48s %10s   %-9s %10s"):format(row.name, measure.text(row.ns),
      row.ns == base and "1" or (ratio < 10 and "x %.2g" or "x %.0f"):format(ratio),
      measure.text(row.least)))
  end
end

local function json(value)
  if type(value) == "number" then return ("%.6g"):format(value) end
  if type(value) == "string" then
    return '"' .. value:gsub('[%c"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
  end
  local out = {}
  if #value > 0 then
    for i, item in ipairs(value) do out[i] = json(item) end
    return "[" .. table.concat(out, ",") .. "]"
  end
  local names = {}
  for name, item in pairs(value) do
    if type(item) ~= "function" and type(item) ~= "boolean" then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do out[i] = json(name) .. ":" .. json(value[name]) end
  return "{" .. table.concat(out, ",\n") .. "}"
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function machine()
  local processor = "unknown"
  for line in io.lines "/proc/cpuinfo" do
    processor = line:match "^model name%s*:%s*(.*)" or processor
  end
  return {
    processor = processor,
    kernel = (run "uname -r"):gsub("\n", ""),
    lua = jit and jit.version or _VERSION,
  }
end

-- ---- all of it ----

local spell_image, math_image = BUILD .. "/image/spell.mmi", BUILD .. "/image/math.mmi"
local probe = assert(mm.request_map(spell_image))
local dic = probe.exports.dictionary()
local aff = dic:gsub("%.dic$", ".aff")
local able = { batch = has(probe, "batch"), open = has(probe, "open") }
assert(probe:unmap())

local images = { { name = "hunspell", path = spell_image } }
for _, size in ipairs(SIZES_MIB) do
  local path = make_big(size)
  if path then
    images[#images + 1] = { name = size .. " MiB", path = path, temporary = size > 1000 }
  end
end

local socket = os.tmpname()
local daemon = assert(io.popen(("exec %sdaemon serve %s %s %s"):format(FOLDER, socket, quote(aff),
  quote(dic)), "w"))

local sections = {
  starts(spell_image, aff, dic),
  maps(images),
  add_calls(spell_image, math_image, socket, able),
  spell_calls(spell_image, aff, dic, socket, able),
  query_calls(dic),
  ways(math_image, BUILD .. "/image/callback.mmi"),
  images[2] and sizes(images) or nil,
  images[2] and resets(images) or nil,
}
local facts = machine()
print(("%s, Linux %s, %s; medians of up to %d rounds in turn, "
  .. "their ratios, and the least"):format(facts.processor, facts.kernel,
  facts.lua, ROUNDS))
for _, section in ipairs(sections) do
  measure.rounds(section.rows, ROUNDS)
  print_section(section)
end
daemon:close()
os.remove(socket)
for _, image in ipairs(images) do
  if image.temporary then os.remove(image.path) end
end

write(FOLDER .. "bench.json",
  json { machine = facts, rounds = ROUNDS, sections = sections } .. "\n")
write(FOLDER .. "bench.svg", plot("What it costs (medians; the shorter the better)", sections))
print(("\nwritten: %sbench.json, %sbench.svg"):format(FOLDER, FOLDER))
mm.finalize()
