-- Runs the tests and counts them: the unit programs, the fuzzers on their kept seeds, the spec files
-- once under each Lua, and the linters.
-- Usage: luajit tools/check.lua [--slow|--long] [--lint] LUA...   ($MM_BUILD: the build folder)
-- The last line is `N passed, N failed`; exit status 1 when something failed. A part that dies,
-- runs out of time or finds no test at all has failed.
local build = os.getenv("MM_BUILD") or "build"
local options, luas = {}, {}
for _, word in ipairs(arg) do
  if word:find("^%-%-") then options[word] = true else luas[#luas + 1] = word end
end

if options["--long"] then options["--slow"] = true end
local SECONDS = options["--long"] and 3600 or options["--slow"] and 1200 or 300 -- that a part may take
local LINT_SECONDS = 1800
local excluded = options["--long"] and "" or options["--slow"] and "--exclude-tags=long"
  or "--exclude-tags=slow,long"
local total = { passed = 0, failed = 0 }

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local processors = output_of("nproc"):match("%d+")
local scratch = output_of("mktemp -d"):gsub("%s+$", "")
local log, events = scratch .. "/log", scratch .. "/events"

local function read(path)
  local file = io.open(path)
  local text = file and file:read("*a") or ""
  if file then file:close() end
  return text
end

-- Runs a command with a limit; returns its exit status (128 + N after signal N) and what it said.
local function run(command, seconds)
  local status = output_of(("timeout -k 10 %d %s >%s 2>&1 </dev/null; echo $?")
    :format(seconds or SECONDS, command, log))
  return tonumber(status:match("(%d+)%s*$")), read(log)
end

local function how_it_ended(status)
  if status == 124 or status == 137 then return "ran out of time" end
  if status > 128 then return ("died of signal %d"):format(status - 128) end
  return ("ended with status %d"):format(status)
end

local function last_lines(text, count)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
  return { unpack(lines, math.max(1, #lines - count + 1)) }
end

-- One part of the suite while it runs.
local function part(name)
  return { name = name, passed = 0, pending = 0, failures = {}, started = os.time() }
end

local function add_failure(self, name, lines)
  self.failures[#self.failures + 1] = { name = name, lines = lines or {} }
end

local function report(self)
  local failed = #self.failures
  if self.passed + failed == 0 then add_failure(self, "found no tests") failed = 1 end
  io.write(("%-22s %4d passed"):format(self.name, self.passed))
  if self.pending > 0 then io.write((", %d pending"):format(self.pending)) end
  if failed > 0 then io.write((", %d FAILED"):format(failed)) end
  io.write(("  (%d s)\n"):format(os.time() - self.started))
  for _, failure in ipairs(self.failures) do
    print("  FAILED " .. failure.name)
    for _, line in ipairs(failure.lines) do print("    " .. line) end
  end
  io.flush()
  total.passed, total.failed = total.passed + self.passed, total.failed + failed
end

-- What a program of tests prints: `# why` lines, then `ok NAME` or `not ok NAME`.
local function read_unit(self, text)
  local comments = {}
  for line in text:gmatch("[^\n]+") do
    if line:find("^ok ") then
      self.passed, comments = self.passed + 1, {}
    elseif line:find("^not ok ") then
      add_failure(self, line:match("^not ok (.*)"), comments)
      comments = {}
    elseif line:find("^#") then
      comments[#comments + 1] = line
    end
  end
end

local function run_program(name, command)
  local unit = part(name)
  local status, text = run(command)
  read_unit(unit, text)
  if status > 1 or status ~= 0 and #unit.failures == 0 then
    add_failure(unit, "the program " .. how_it_ended(status), last_lines(text, 10))
  end
  report(unit)
end

local function run_unit(name)
  local folder = scratch .. "/unit"
  os.execute("rm -rf " .. folder .. " && mkdir " .. folder)
  run_program("unit " .. name, ("env %s %s/unit/%s %s")
    :format((options["--long"] and "MM_SOAK_CALLS=30000 " or "")
      .. (options["--slow"] and "MM_INJECT=all" or ""), build, name, folder))
end

local function run_seeds(name)
  run_program("seeds " .. name,
    ("env MM_BUILD=%s %s/fuzz/%s spec/fuzz/seed/%s"):format(quote(build), build, name, name))
end

-- What does not cross the gate: valgrind knows no Syscall User Dispatch.
local function run_valgrind(name, program)
  run_program("valgrind " .. name, ("env MM_BUILD=%s valgrind -q --leak-check=full " ..
    "--error-exitcode=3 %s/%s"):format(quote(build), build, program))
end

-- Unit programs on another kernel, in an emulator whose CPU has what this one may lack.
local function run_guest(kernel, names)
  local guest = part("kernel " .. kernel)
  local _, text = run(("env MM_BUILD=%s LIMIT=900 spec/qemu/run.sh %s %s")
    :format(quote(build), kernel, names))
  read_unit(guest, text)
  for name, digits in text:gmatch("\nunit (%a+).-\nstatus (%d+)") do
    local status = tonumber(digits)
    if status > 1 then add_failure(guest, name .. " " .. how_it_ended(status)) end
  end
  if not text:find("\ndone\n") then
    add_failure(guest, "it did not come to its end", last_lines(text, 10))
  end
  report(guest)
end

-- Adds what tools/busted_events.lua wrote. Returns whether the runner came to its end, what it did
-- last, and the files that it began.
local function read_events(self)
  local ended, doing, begun, failure = false, "the start", {}, nil
  for line in io.lines(events) do
    local word, rest = line:match("^(%S+) ?(.*)")
    if word == "file" then begun[rest] = true end
    if word == "file" or word == "test" then doing = rest end
    if word == "passed" or word == "pending" then self[word] = self[word] + 1 end
    if word == "failed" then
      add_failure(self, rest)
      failure = self.failures[#self.failures]
    end
    if word == "|" and #failure.lines < 30 then failure.lines[#failure.lines + 1] = rest end
    if word == "end" then ended = true end
  end
  return ended, doing, begun
end

-- All files in one process, as a user's busted does it; after a crash, what is left in another one.
local function run_specs(lua, files)
  local specs = part(lua)
  local environment = table.concat({ "env -u LUA_INIT", "MM_BUILD=" .. quote(build),
    "MATCHMAKER_LUA=" .. lua, "LUA_PATH=" .. quote("lua/?.lua;lua/?/init.lua;;"),
    "LUA_CPATH=" .. quote(build .. "/lua/" .. lua .. "/?.so;;") }, " ")
  while #files > 0 do
    os.remove(events)
    io.open(events, "w"):close()
    local status, text = run(("%s busted --lua=%s -o tools/busted_events.lua " ..
      "-Xoutput %s %s %s"):format(environment, lua, events,
      excluded, table.concat(files, " ")))
    local ended, doing, begun = read_events(specs)
    if ended then
      if status ~= 0 and #specs.failures == 0 then
        add_failure(specs, "busted " .. how_it_ended(status), last_lines(text, 10))
      end
      break
    end
    add_failure(specs, ("busted %s at %s"):format(how_it_ended(status), doing),
      last_lines(text, 10))
    local left = {}
    for _, file in ipairs(files) do if not begun[file] then left[#left + 1] = file end end
    if #left == #files then break end
    files = left
  end
  report(specs)
end

local function run_lint(step)
  local lint = part("lint " .. step)
  local status, text = run(("env -u MAKEFLAGS -u MFLAGS make --no-print-directory -s -k " ..
    "-j%s B=%s lint-%s"):format(processors, quote(build), step), LINT_SECONDS)
  if status == 0 then
    lint.passed = 1
  else
    text = text:gsub("%d+ warnings? generated%.\n", "") -- clang-tidy's, of headers of the system
    add_failure(lint, how_it_ended(status), last_lines(text, 40))
  end
  report(lint)
end

local function words(command)
  local list = {}
  for word in output_of(command):gmatch("%S+") do list[#list + 1] = word end
  return list
end

for _, path in ipairs(words("ls spec/unit/*.c 2>/dev/null")) do
  run_unit(path:match("([^/]+)%.c$"))
end
for _, path in ipairs(words("ls -d spec/fuzz/seed/* 2>/dev/null")) do
  run_seeds(path:match("[^/]+$"))
end
if options["--long"] then
  for _, name in ipairs { "head", "registry", "prototype", "entry", "policy" } do
    run_valgrind("seeds " .. name, ("fuzz/%s spec/fuzz/seed/%s"):format(name, name))
  end
  run_valgrind("signature_test", "unit/signature_test")
  run_valgrind("slot_map_test", "unit/slot_map_test")
end
if options["--slow"] then
  for _, kernel in ipairs { "6.1", "6.12" } do
    run_guest(kernel, "guard gate batch fault stray thread storm callback interrupt attack " ..
      "attack_process attack_pinned attack_pause attack_reset attack_image lockdown reset " ..
      "attack_yield request_map crossing deadline red_zone")
  end
end
local files = words("ls spec/*_spec.lua 2>/dev/null")
for _, lua in ipairs(luas) do
  if #files == 0 then report(part(lua)) else run_specs(lua, files) end
end
if #luas == 0 then report(part("no Lua")) end
if options["--lint"] then
  for _, step in ipairs { "layers", "format", "lua", "cppcheck", "tidy" } do run_lint(step) end
end

os.execute("rm -rf " .. quote(scratch))
print(("%d passed, %d failed"):format(total.passed, total.failed))
os.exit(total.failed == 0 and 0 or 1)
