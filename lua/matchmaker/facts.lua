-- What an image's head says, made ready for people: the core's facts, and what each segment is.
local core = require "matchmaker.core"

local facts = {}

local KINDS = { ["r-x"] = "text", ["r--"] = "constants", ["rw-"] = "data", ["rwx"] = "jit" }

---A file's name without its folders.
function facts.name_of(path) return path:match("[^/]*$") end

local function overlaps(a, b) return a.low < b.high and b.low < a.high end

-- Modules come first: the heap follows the program, and the stack is nobody's.
local function owner_of(all, segment)
  for _, module in ipairs(all.modules) do
    if overlaps(segment, module) then return facts.name_of(module.path or "?") end
  end
  local parts = {}
  for _, name in ipairs { "heap", "stack", "mailbox" } do
    if overlaps(segment, all[name]) then parts[#parts + 1] = name end
  end
  return #parts > 0 and table.concat(parts, ", ") or "mapped"
end

-- "output\tprints greetings\n" as a list of what and why.
local function parse_needs(text)
  local list = {}
  for kind, detail in (text or ""):gmatch("([^\t\n]+)\t?([^\n]*)") do
    list[#list + 1] = { kind = kind, detail = detail ~= "" and detail or nil }
  end
  return list
end

---All facts of an image, of its file or as it is mapped.
---@param source string|mm.image
---@param whole? boolean check the digest of the whole file, too
---@return mm.facts?
---@return mm.error?
function facts.of(source, whole)
  local all, err = core.inspect(source, whole)
  if not all then return nil, err end
  all.needs = parse_needs(all.needs)
  for _, segment in ipairs(all.segments) do
    segment.kind = KINDS[segment.protection] or "nothing"
    segment.owner = owner_of(all, segment)
  end
  return all
end

local UNITS = { "KiB", "MiB", "GiB", "TiB" }

---A size for people: "4 KiB", "23.1 MiB".
---@param bytes integer
---@return string
function facts.size(bytes)
  if bytes < 1024 then return ("%.0f B"):format(bytes) end
  local amount, unit = bytes, 0
  repeat amount, unit = amount / 1024, unit + 1 until amount < 1000 or unit == #UNITS
  return ((("%.1f"):format(amount)):gsub("%.0$", "")) .. " " .. UNITS[unit]
end

---The facts of one export.
function facts.export(all, name)
  for _, export in ipairs(all.exports) do
    if export.name == name then return export end
  end
end

return facts
