-- What the commands of the shell share: exit statuses, complaints, and the way to an image.
local plain = require "matchmaker.plain"

local shell = { DONE = 0, FAILED = 1, MISUSED = 2 }

---One line on standard error, and beneath it the C text that was wrong.
---@param status integer
---@param message any
---@return integer status
function shell.complain(status, message)
  io.stderr:write("matchmaker: ", plain(tostring(message):gsub("%s*\n%s*", " ")), "\n")
  local excerpt = type(message) == "table" and message.excerpt
  if excerpt then io.stderr:write("  ", (excerpt:gsub("\n", "\n  ")), "\n") end
  return status
end

---A file's bytes, or nil.
function shell.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

---The module connects when it is required, which a machine may not be able to do.
function shell.connect()
  local fine, matchmaker = pcall(require, "matchmaker")
  if fine then return matchmaker end
  return nil, matchmaker
end

-- Names, and folders by what may be done beneath them, as request_map takes them.
local function granted(words)
  local grant = { read = {}, write = {} }
  for _, word in ipairs(words or {}) do
    local access, folder = word:match("^(%a+)=(.*)$")
    table.insert(grant[access] or grant, grant[access] and folder or word)
  end
  return grant
end

---Map options out of the options of a command line.
function shell.map_options(options)
  local timeout = options.timeout and tonumber(options.timeout)
  if options.timeout and not timeout then
    return nil, ("--timeout wants seconds, not `%s`"):format(options.timeout)
  end
  return { grant = granted(options.grant), timeout = timeout, guard = options.guard }
end

---Connects and maps, with what `--grant`, `--timeout` and `--guard` say.
---@return mm.image? image
---@return any message why not
---@return integer? status
function shell.map(path, options)
  local matchmaker, why = shell.connect()
  if not matchmaker then return nil, why, shell.FAILED end
  local settings, misused = shell.map_options(options)
  if not settings then return nil, misused, shell.MISUSED end
  local fine, image, err = pcall(matchmaker.request_map, path, settings)
  if not fine then return nil, image, shell.MISUSED end
  return image, err, shell.FAILED
end

return shell
