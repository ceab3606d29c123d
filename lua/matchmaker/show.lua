-- Values as a session shows them: what is worth seeing of a result, in few lines.
local help = require "matchmaker.help"
local json = require "matchmaker.json"

local show = {}

local DEPTH, ITEMS, DUMP_BYTES, WIDTH = 4, 50, 256, 72

---Bytes as `hexdump -C` shows them; of many only the first.
---@param bytes string
---@return string
function show.dump(bytes)
  local out, count = {}, math.min(#bytes, DUMP_BYTES)
  for at = 1, count, 16 do
    local line = bytes:sub(at, math.min(at + 15, count))
    local hex = line:gsub(".", function(c) return ("%02x "):format(c:byte()) end)
    out[#out + 1] = ("%08x  %-48s |%s|"):format(at - 1, hex, (line:gsub("[^\32-\126]", ".")))
  end
  if #bytes > count then out[#out + 1] = ("... %d bytes in all"):format(#bytes) end
  return table.concat(out, "\n")
end

-- Text that is mostly text; accented letters are bytes beyond ASCII.
local function is_binary(text)
  local _, odd = text:gsub("[%z\1-\8\11\12\14-\31\127]", "")
  return odd > 0 and odd * 8 >= #text
end

local ESCAPES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return ESCAPES[c] or ("\\%03d"):format(c:byte())
  end):gsub("\194[\128-\159]", function(c1) -- control characters beyond ASCII
    return "\\194\\" .. c1:byte(2)
  end) .. '"'
end

local function is_name(key) return type(key) == "string" and key:find("^[%a_][%w_]*$") end

-- Numbers before names, each in order; other keys last.
local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  local ranks = { number = 1, string = 2 }
  local function rank(key) return ranks[type(key)] or 3 end
  table.sort(keys, function(a, b)
    if rank(a) ~= rank(b) then return rank(a) < rank(b) end
    if rank(a) == 3 then return tostring(a) < tostring(b) end
    return a < b
  end)
  return keys
end

local text_of

local function items_of(value, depth, seen)
  local items = {}
  for i, item in ipairs(value) do
    if i > ITEMS then break end
    items[i] = text_of(item, depth - 1, seen)
  end
  for _, key in ipairs(sorted_keys(value)) do
    local listed = type(key) == "number" and key >= 1 and key <= #items and key % 1 == 0
    if #items >= ITEMS then items[#items + 1] = "..." break end
    if not listed then
      local name = is_name(key) and key or "[" .. text_of(key, 0, seen) .. "]"
      items[#items + 1] = name .. " = " .. text_of(value[key], depth - 1, seen)
    end
  end
  return items
end

local function table_text(value, depth, seen)
  if seen[value] or depth <= 0 then return next(value) == nil and "{}" or "{ ... }" end
  seen[value] = true
  local items, length = items_of(value, depth, seen), 4
  seen[value] = nil
  if #items == 0 then return "{}" end
  for _, item in ipairs(items) do length = length + #item + 2 end
  if length <= WIDTH then return "{ " .. table.concat(items, ", ") .. " }" end
  for i, item in ipairs(items) do items[i] = "  " .. item:gsub("\n", "\n  ") end
  return "{\n" .. table.concat(items, ",\n") .. "\n}"
end

function text_of(value, depth, seen)
  if type(value) == "string" then return quote(value) end
  if type(value) == "number" then return json.number(value) end
  local meta = getmetatable(value)
  if type(value) == "table" and not (type(meta) == "table" and rawget(meta, "__tostring")
    or type(meta) == "string") then
    return table_text(value, depth, seen)
  end
  return tostring(value)
end

-- A buffer that does not fit a line.
local function buffer_text(buffer)
  local count = #buffer
  local bytes = buffer:get(0, math.min(count, DUMP_BYTES))
  local rest = count > #bytes and ("\n... %d bytes in all"):format(count) or ""
  return ("buffer of %d bytes\n%s%s"):format(count, show.dump(bytes), rest)
end

local function function_text(f)
  return f.doc and ("%s\n    %s"):format(f.prototype, (f.doc:gsub("\n", "\n    "))) or tostring(f)
end

---One value, as the session's answer.
---@param value any
---@return string
function show.value(value)
  if type(value) == "string" and is_binary(value) then return show.dump(value) end
  local kind = type(value) == "userdata" and help.kind_of(value)
  if kind == "function" then return function_text(value) end
  if kind == "pointer" and tostring(value):find("^buffer of ") and #value > 16 then
    return buffer_text(value)
  end
  return text_of(value, DEPTH, {})
end

---An error, its facts and where it came from.
---@param err any
---@param traceback? string
---@return string
function show.error(err, traceback)
  local out = { "error: " .. (type(err) == "string" and err or text_of(err, DEPTH, {})) }
  if help.kind_of(err) == "error" then
    if err.excerpt then out[#out + 1] = "  " .. err.excerpt:gsub("\n", "\n  ") end
    local frames = err.backtrace
    if type(frames) == "table" then
      for _, frame in ipairs(frames) do out[#out + 1] = "  in " .. tostring(frame) end
    end
    if err.refused then
      out[#out + 1] = "  system calls refused: " .. table.concat(err.refused, ", ")
    end
  end
  if traceback and traceback ~= "" then out[#out + 1] = traceback end
  return table.concat(out, "\n")
end

return show
