-- `matchmaker doctor`: what this machine offers, and what each lack costs.
local core_found, core = pcall(require, "matchmaker.core")
local json = require "matchmaker.json"
local shell = require "matchmaker.cli.shell"

local read = shell.read

local function address_space()
  return (read("/proc/self/limits") or ""):match("Max address space%s+(%S+)") or "unknown"
end

local function lua_versions()
  local root, list = os.getenv("MATCHMAKER_ROOT") or ".", {}
  local build = os.getenv("MM_BUILD") or root .. "/build"
  for name, number in ("luajit=5.1 lua5.1=5.1 lua5.2=5.2 lua5.3=5.3 lua5.4=5.4")
    :gmatch("(%S+)=(%S+)") do
    for _, folder in ipairs { root .. "/lib/lua/" .. number, build .. "/lua/" .. name } do
      if read(folder .. "/matchmaker/core.so") then list[#list + 1] = name break end
    end
  end
  return list
end

local function is_since(release, major, minor)
  local a, b = release:match("^(%d+)%.(%d+)")
  a, b = tonumber(a) or 0, tonumber(b) or 0
  return a > major or a == major and b >= minor
end

local function has_editor() return core_found and core.terminal.open_editor() end

local function examine()
  local machine = core_found and core.machine() or {}
  local matchmaker, why = shell.connect()
  local release = (read("/proc/sys/kernel/osrelease") or "unknown"):match("%S+")
  local actions = read("/proc/sys/kernel/seccomp/actions_avail") or ""
  local list, lack
  if matchmaker then list, lack = matchmaker.clients() end
  if list then lack = list.lack end
  local limit, luas = address_space(), lua_versions()
  local roomy = limit == "unlimited" or (tonumber(limit) or 0) >= 3 * 2 ^ 36
  local function row(name, fine, found, cost) -- `cost`: what its lack costs
    return { name = name, fine = fine and true or false, found = found, cost = cost }
  end
  return {
    row("kernel", machine.dispatch, release,
      "images cannot be mapped: system calls can be redirected since Linux 5.11"),
    row("Matchmaker", matchmaker, matchmaker and "mapped" or tostring(why),
      "images cannot be mapped"),
    row("address space", roomy, limit,
      "each image reserves 64 GiB of addresses, which `ulimit -v` must allow"),
    row("inclusive dispatch", machine.inclusive, nil,
      "calls set and clear a selector, and the client's own system calls pass it"),
    row("FSGSBASE", machine.fsgsbase, nil,
      "FS is switched by system calls, two for each call of an image"),
    row("protection keys", machine.keys, nil,
      "no guard `keys`: images are guarded by `pages`, with system calls around calls"),
    row("closed client", machine.keys and machine.fsgsbase and is_since(release, 6, 12), nil,
      "image code can write to the client's memory: `keys` keeps it from that since Linux 6.12"),
    row("PAGEMAP_SCAN", machine.pagemap_scan, nil,
      "a reset of a large image under the guards `open` and `keys` gives back all of its memory"),
    row("seccomp", actions:find("errno", 1, true), nil,
      "no `mm.lockdown()`: a client gets around the guards by system calls"),
    row("list of clients", list and not lack, lack and tostring(lack),
      "`matchmaker ps` does not see the clients"),
    row("Lua versions", #luas > 0, table.concat(luas, " "), "no Lua can load the module"),
    row("line editor", has_editor(), nil,
      "`matchmaker repl` reads plain lines: install GNU Readline"),
  }, machine.dispatch and matchmaker and roomy
end

return {
  usage = "doctor [--json]", words = 0, options = { json = true },
  summary = "Says what this machine offers, and what each lack costs.",
  help = [[
  --json   a list of objects

Exit status 1 when images cannot be mapped here.]],
  run = function(_, options)
    local rows, usable = examine()
    if options.json then print(json.encode(rows)) return usable and 0 or shell.FAILED end
    for _, row in ipairs(rows) do
      local line = ("%-18s %-4s %s"):format(row.name, row.fine and "yes" or "no", row.found or "")
      print((line:gsub(" +$", "")))
      if not row.fine then print(("%23swithout: %s"):format("", row.cost)) end
    end
    return usable and shell.DONE or shell.FAILED
  end,
}
