-- Completion: names of the session, exports of images, fields and methods, commands. Looks at
-- values, and calls nothing.
local help = require "matchmaker.help"

local METHODS = {
  image = { "batch", "bind", "buffer", "call", "callback", "cast", "exports", "info", "new", "open",
            "reset", "string", "unmap" },
  ["function"] = { "doc", "image", "name", "prototype" },
}

local KEYWORDS = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if",
                   "in", "local", "nil", "not", "or", "repeat", "return", "then", "true", "until",
                   "while" }

local function get(value, key) return value[key] end

local function add(names, seen, key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") and not seen[key] then
    seen[key] = true
    names[#names + 1] = key
  end
end

-- The names behind a dot (or a colon, then only what can be called with a self).
local function names_in(value, is_method)
  local names, seen = {}, {}
  for _, key in ipairs(type(value) == "userdata" and METHODS[help.kind_of(value)] or {}) do
    local fine, field = pcall(get, value, key)
    if fine and field ~= nil and (not is_method or type(field) == "function") then
      add(names, seen, key)
    end
  end
  local meta = getmetatable(value)
  if type(value) == "table" then
    for key in pairs(value) do add(names, seen, key) end
  elseif type(meta) == "table" and rawget(meta, "__pairs") then
    pcall(function() for key in rawget(meta, "__pairs")(value) do add(names, seen, key) end end)
  end
  local index = type(meta) == "table" and rawget(meta, "__index")
  if type(index) == "table" then for key in pairs(index) do add(names, seen, key) end end
  return names
end

-- Walks "dict.exports" from the session's names on.
local function follow(environment, path)
  local value = environment
  for name in path:gmatch("[%a_][%w_]*") do
    if value == nil then return nil end
    local fine
    fine, value = pcall(get, value, name)
    if not fine then return nil end
  end
  return value
end

local function matching(names, prefix, start)
  local list = {}
  for _, name in ipairs(names) do
    if name:sub(1, #start) == start then list[#list + 1] = prefix .. name end
  end
  table.sort(list)
  return list
end

---What the word at the end of `text` can become: whole words.
---@param environment table the session's names; globals are behind its metatable
---@param commands string[]
---@param text string the line up to the cursor
---@return string[] candidates
---@return any value of the only candidate, if it has one
return function(environment, commands, text)
  if text:find("^:%a*$") then return matching(commands, ":", text:sub(2)) end
  local word = text:match("[%a_][%w_%.:]*$") or ""
  local path, separator, start = word:match("^(.-)([%.:]?)([%w_]*)$")
  if separator ~= "" then
    local value = follow(environment, path)
    if value == nil then return {} end
    local list = matching(names_in(value, separator == ":"), path .. separator, start)
    return list, #list == 1 and follow(environment, list[1])
  end
  local names = {}
  for _, scope in ipairs { environment, _G, KEYWORDS } do
    for key, name in pairs(scope) do names[#names + 1] = scope == KEYWORDS and name or key end
  end
  local list, seen = {}, {}
  for _, name in ipairs(matching(names, "", start)) do
    if not seen[name] and (start ~= "" or rawget(environment, name) ~= nil) then
      list[#list + 1] = name
    end
    seen[name] = true
  end
  return list, #list == 1 and follow(environment, list[1])
end
