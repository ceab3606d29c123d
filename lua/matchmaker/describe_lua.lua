-- An image's exports and types as definitions for the Lua language server (LuaLS): `---@meta`.
local declare = require "matchmaker.declare"
local facts = require "matchmaker.facts"
local one_line = require "matchmaker.plain"

local PLAIN = { void = "nil", bool = "boolean", signed = "integer", unsigned = "integer",
                float = "number", string = "string", complex = "mm.complex" }
local KEYWORDS = {}
for word in ("and break do else elseif end false for function goto if in local nil not or " ..
  "repeat return then true until while"):gmatch("%a+") do KEYWORDS[word] = true end

local function is_named(type)
  return (type.kind == "struct" or type.kind == "union" or type.kind == "enum")
    and (type.name or type.alias)
end

local lua_type

-- The name of a parameter, which C may have none for, or one that Lua keeps for itself.
local function parameter(member, i)
  local name = member.name or "a" .. i
  return KEYWORDS[name] and name .. "_" or name
end

local function callback(all, type)
  local list = {}
  for i, member in ipairs(type.members or {}) do
    list[i] = ("%s: %s"):format(parameter(member, i), lua_type(all, member.type))
  end
  local result = lua_type(all, type.target)
  return ("fun(%s)%s"):format(table.concat(list, ", "), result == "nil" and "" or ": " .. result)
end

-- The type as Lua sees it; named records and enums are classes of the image's own.
function lua_type(all, index)
  local type = all.types[index]
  if PLAIN[type.kind] then return PLAIN[type.kind] end
  if type.kind == "enum" then
    return is_named(type) and all.prefix .. "." .. is_named(type) or "integer"
  end
  if is_named(type) then return all.prefix .. "." .. is_named(type) end
  if type.kind == "function" then return callback(all, type) end
  if type.kind == "array" then return lua_type(all, type.target) .. "[]" end
  if type.kind ~= "pointer" then return "table" end
  local target = all.types[type.target]
  if target.kind == "function" then return callback(all, target) end
  return is_named(target) and lua_type(all, type.target) or "mm.pointer"
end

local function is_callback(all, type)
  return type.kind == "pointer" and all.types[type.target].kind == "function"
end

-- What may stand where a value of the type is wanted: mm.null is light userdata.
local function taken_type(all, index)
  local type, plain = all.types[index], lua_type(all, index)
  if type.kind == "string" then return "string|mm.pointer|lightuserdata" end
  if type.kind == "complex" then return plain .. "|number" end
  if is_callback(all, type) then return "mm.callback|mm.function|lightuserdata|" .. plain end
  return type.kind == "pointer" and plain .. "|lightuserdata" or plain
end

-- A null pointer comes as nil.
local function is_nullable(type) return type.kind == "string" or type.kind == "pointer" end

local function comment(text) return (text:gsub("\n", "\n---")) end

local function put_enum(all, type, put)
  local names = {}
  for i, constant in ipairs(type.members or {}) do names[i] = ('"%s"'):format(constant.name) end
  put("---@alias %s.%s integer|%s", all.prefix, is_named(type), table.concat(names, "|"))
end

-- The fields of a member without a name are its record's own.
local function put_fields(all, type, put)
  for _, field in ipairs(type.members or {}) do
    if field.name then
      local of = all.types[field.type]
      local written = of.kind == "string" and lua_type or taken_type -- strings are mostly read
      put("---@field %s%s %s `%s`", field.name, is_nullable(of) and "?" or "",
        written(all, field.type), declare.spell(all, field.type, field.name))
    else
      put_fields(all, all.types[field.type], put)
    end
  end
end

local function put_record(all, type, put, index)
  put("---@class %s.%s: mm.pointer `%s`", all.prefix, is_named(type),
    declare.spell(all, index, ""))
  put_fields(all, type, put)
end

local function put_types(all, put)
  local seen = {}
  for index, type in ipairs(all.types) do
    local name = is_named(type)
    local later = type.incomplete and type.kind ~= "enum" and all.complete[type.name]
    if name and not seen[name] and not later then
      seen[name] = true
      local write = type.kind == "enum" and put_enum or put_record
      write(all, type, put, index)
      put("")
    end
  end
end

local function put_export(all, export, put)
  local type, names = all.types[export.type], {}
  put("---`%s`", export.prototype)
  if export.doc then put("---\n---%s", comment(export.doc)) end
  for i, member in ipairs(type.members or {}) do
    names[i] = parameter(member, i)
    put("---@param %s %s", names[i], taken_type(all, member.type))
  end
  if type.variadic then
    names[#names + 1] = "..."
    put("---@param ... any")
  end
  local result = lua_type(all, type.target)
  if result ~= "nil" then
    put("---@return %s%s", result, is_nullable(all.types[type.target]) and "?" or "")
  end
  local head = KEYWORDS[export.name] and 'exports["%s"] = function' or "function exports.%s"
  put(head .. "(%s) end\n", export.name, table.concat(names, ", "))
end

-- Which records are defined somewhere, as others are only named.
local function complete_names(all)
  local names = {}
  for _, type in ipairs(all.types) do
    if type.name and not type.incomplete then names[type.name] = true end
  end
  return names
end

-- What the names of an image's classes begin with: a name, and not that of the module's own classes.
local function prefix_of(path)
  local name = facts.name_of(path):gsub("%.[^.]*$", ""):gsub("[^%w_]", "_")
  return (name == "mm" or name:find("^%d")) and "_" .. name or name
end

---@param all mm.facts
---@return string
return function(all)
  local out = {}
  local function put(format, ...)
    out[#out + 1] = select("#", ...) > 0 and format:format(...) or format
  end
  all.prefix = prefix_of(all.path)
  all.complete = complete_names(all)
  put("---@meta %s", all.prefix)
  put("-- What %s exports. Written by `matchmaker describe --lua`; never run.\n",
    one_line(facts.name_of(all.path)))
  put_types(all, put)
  put("---@class %s.exports", all.prefix)
  put("local exports = {}\n")
  for _, export in ipairs(all.exports) do put_export(all, export, put) end
  put("return exports")
  return table.concat(out, "\n") .. "\n"
end
