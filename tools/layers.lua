-- Reads every #include under csrc/ and names, one a line, those that breach the layers which
-- csrc/README.md draws. Usage: luajit tools/layers.lua [FOLDER [FILE...]]; the files are those of
-- other folders that are linked into the core as well. Exit status 1 after a breach.
local root = arg[1] or "csrc"

local rank = { base = 1, signature = 2, image = 3, core = 4, launch = 5, server = 5, client = 5,
               binding = 6 }

local function set(words)
  local members = {}
  for word in words:gmatch("%S+") do members[word] = true end
  return members
end

local public = set "matchmaker.h matchmaker/server.h"

-- The libraries that only some folders may know.
local reserved = {
  ["ffi.h"] = set "client",
  ["libelf.h"] = set "image launch client",
  ["gelf.h"] = set "image launch client",
  ["yaml.h"] = set "client",
  ["dwarf.h"] = set "launch",
  ["elfutils/libdw.h"] = set "launch",
  ["elfutils/libdwfl.h"] = set "launch",
  ["lua.h"] = set "binding server",
  ["lauxlib.h"] = set "binding server",
  ["lualib.h"] = set "binding",
  ["luajit.h"] = set "binding",
}

-- What code without libc may take from the system: types, constants, and those few functions of
-- string.h that base/bytes.c defines.
local freestanding = set [[
  cpuid.h elf.h errno.h fcntl.h limits.h netinet/in.h netinet/tcp.h poll.h signal.h stdarg.h
  stdbool.h stddef.h stdint.h string.h sys/mman.h sys/prctl.h sys/select.h sys/socket.h sys/stat.h
  sys/statfs.h sys/syscall.h sys/uio.h sys/un.h time.h ucontext.h ]]

local includes, paths = {}, {} -- path -> { { header, line, is_own } }; paths in order

local function read(path)
  local list, number = {}, 0
  for line in io.lines(root .. "/" .. path) do
    number = number + 1
    local open, header = line:match('^%s*#%s*include%s*([<"])([^>"]+)')
    if header then
      list[#list + 1] = { header = header, line = number,
                          own = open == '"' or public[header] or false }
    end
  end
  includes[path] = list
  paths[#paths + 1] = path
end

local function file_of(header) return public[header] and "include/" .. header or header end

-- Everything that ends up in the core.
local without_libc = {}
local function mark(path)
  if without_libc[path] or not includes[path] then return end
  without_libc[path] = true
  for _, include in ipairs(includes[path]) do
    if include.own then mark(file_of(include.header)) end
  end
end

local breaches = 0
local function breach(path, line, format, ...)
  breaches = breaches + 1
  print(("%s/%s:%d: %s"):format(root, path, line, format:format(...)))
end

local function check_own(path, from, include)
  local header = include.header
  local to = header:match("^([^/]+)/")
  if public[header] then return end
  if from == "include" then
    breach(path, include.line, "a public header must stand by itself, without %s", header)
  elseif not rank[to] then
    breach(path, include.line, "%s is in no layer: its path must start in csrc", header)
  elseif to ~= from and rank[to] >= rank[from] then
    breach(path, include.line, "%s must not include %s: %s is not to its left", from, header, to)
  end
end

local function check_system(path, from, include)
  local header = include.header
  if reserved[header] and not reserved[header][from] then
    breach(path, include.line, "%s is not for %s", header, from)
  elseif without_libc[path] and not freestanding[header] and not header:find("^linux/")
    and not header:find("^asm/") then
    breach(path, include.line, "%s is not for code that runs without libc", header)
  end
end

local list = assert(io.popen(("cd '%s' && find . -name '*.[chS]' | sort"):format(root)))
for path in list:lines() do read((path:gsub("^%./", ""))) end
list:close()

for path in pairs(includes) do
  if path:find("^core/") and not path:find("^core/host/") then mark(path) end
end
for i = 2, #arg do mark(arg[i]:sub(#root + 2)) end

for _, path in ipairs(paths) do
  local from = path:match("^[^/]+")
  if not rank[from] and from ~= "include" then
    breach(path, 1, "%s is in no layer", from)
  else
    for _, include in ipairs(includes[path]) do
      (include.own and check_own or check_system)(path, from, include)
    end
  end
end

if #paths == 0 then
  print(root .. ": no sources")
  breaches = 1
end
os.exit(breaches == 0 and 0 or 1)
