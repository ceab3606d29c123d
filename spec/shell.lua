-- For specs that run programs: commands, the launcher, and a folder that goes with its test.
local support = require "spec.support"

local shell = {}

local function read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("*a")
  file:close()
  return bytes
end
shell.read = read

function shell.write(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
  return path
end

function shell.quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

---Runs a shell command to its end, at most two minutes.
---@return { status: integer, stdout: string, stderr: string }
function shell.run(command)
  local base = os.tmpname()
  local out, err = base .. ".out", base .. ".err"
  local status = output_of(("timeout 120 sh -c %s >%s 2>%s </dev/null; echo $?"):format(
    shell.quote(command), out, err)):match("(%d+)%s*$")
  local result = { status = tonumber(status), stdout = read(out), stderr = read(err) }
  for _, path in ipairs { base, out, err } do os.remove(path) end
  return result
end

---Runs a command that has to succeed; returns what it wrote, without the last newline.
function shell.output(command)
  local result = shell.run(command)
  if result.status ~= 0 then
    error(("%s ended with status %d: %s"):format(command, result.status, result.stderr), 2)
  end
  return (result.stdout:gsub("\n$", ""))
end

-- What permissions are for does not hold for root, unless it gave its capabilities away.
local unprivileged = output_of("id -u"):match("^0\n")
  and "setpriv --bounding-set=-all --inh-caps=-all " or ""

---The command, for whom file permissions hold.
function shell.unprivileged(command) return unprivileged .. "sh -c " .. shell.quote(command) end

---A command that runs a piece of Lua with this interpreter and these modules.
function shell.lua(code, folder)
  local script = shell.write(folder .. "/script.lua", code)
  return ("env -u LUA_INIT LUA_PATH=%s LUA_CPATH=%s %s %s"):format(shell.quote(package.path),
    shell.quote(package.cpath), support.lua, script)
end

-- Absolute: the commands run in other folders.
local here = os.getenv("PWD") or output_of("pwd"):gsub("\n", "")
local function absolute(path) return path:find("^/") and path or here .. "/" .. path end
shell.root = here
shell.launcher = absolute(support.build) .. "/matchmaker-launch"
function shell.fixture(name) return absolute(support.build) .. "/fixture/" .. name end

---A new folder for each test of a spec file; gone after it. Returns what tells its path.
function shell.folders(before_each, after_each)
  local folder
  before_each(function() folder = output_of("mktemp -d"):gsub("\n", "") end)
  after_each(function() os.execute("rm -rf " .. folder) end)
  return function(name) return name and folder .. "/" .. name or folder end
end

---What the launcher did with these words of a command line.
function shell.launch(words) return shell.run(shell.launcher .. " " .. words) end

---Makes an image, or fails.
function shell.snapshot(path, server, words)
  return shell.output(("%s -o %s %s %s"):format(shell.launcher, path, shell.fixture(server),
    words or ""))
end

return shell
