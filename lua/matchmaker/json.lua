-- Values as JSON text. An empty table is an empty list: nothing here has empty objects.
local json = {}

local NAMED = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }

local function escape(character)
  return NAMED[character] or ("\\u%04x"):format(character:byte())
end

---The shortest text that reads back as the same number; integral ones as C prints them.
---@param number number
---@return string
function json.number(number)
  if number % 1 == 0 and number >= -2 ^ 53 and number <= 2 ^ 53 then
    return ("%.0f"):format(number)
  end
  if tostring(number):find("^%-?%d+$") then return tostring(number) end -- an integer of Lua 5.3
  for digits = 15, 17 do
    local text = ("%%.%dg"):format(digits):format(number)
    if tonumber(text) == number then return text end
  end
  return tostring(number)
end

local function keys_of(value)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local encode

local function encode_list(value)
  local parts = {}
  for i, item in ipairs(value) do parts[i] = encode(item) end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function encode_object(value)
  local parts = keys_of(value)
  for i, key in ipairs(parts) do parts[i] = encode(key) .. ":" .. encode(value[key]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

---Lists become arrays, other tables objects with their keys in order. What JSON has no word for
---(NaN, infinities) is null; what is neither number nor table is text.
---@param value any
---@return string
function encode(value)
  local kind = type(value)
  if value == nil then return "null" end
  if kind == "boolean" then return tostring(value) end
  if kind == "number" then
    local finite = value == value and value ~= math.huge and value ~= -math.huge
    return finite and json.number(value) or "null"
  end
  if kind == "table" then
    return (#value > 0 or next(value) == nil) and encode_list(value) or encode_object(value)
  end
  local integer = kind == "cdata" and tostring(value):match("^(%-?%d+)U?LL$")
  return integer or '"' .. tostring(value):gsub('[%c"\\\127]', escape) .. '"'
end
json.encode = encode

return json
