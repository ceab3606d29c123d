-- help(x): what an image, an export, a pointer, an error or the module is, as text.
local core = require "matchmaker.core"
local declare = require "matchmaker.declare"
local facts = require "matchmaker.facts"
local plain = require "matchmaker.plain"

local help = {}

local function indent(text, by) return by .. text:gsub("\n", "\n" .. by) end

---The kind of what the module made, or the type of anything else.
---@return "image"|"exports"|"function"|"pointer"|"error"|string
function help.kind_of(value)
  local meta = getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "__name") or meta
  return type(name) == "string" and name:match("^matchmaker (.*)") or type(value)
end

-- The records and enums that a type leads to, as indexes, each once.
local function named_below(all, index, found, seen)
  if not index or seen[index] then return end
  seen[index] = true
  local type = all.types[index]
  for _, member in ipairs(type.members or {}) do named_below(all, member.type, found, seen) end
  named_below(all, type.target, found, seen)
  if type.members and (type.name or type.alias) and type.kind ~= "function" then
    found[#found + 1] = index
  end
end

local function put_types(out, all, index)
  local found, seen = {}, {}
  named_below(all, index, found, {})
  for _, each in ipairs(found) do
    local text = declare.definition(all, each)
    if not seen[text] then out[#out + 1] = "  " .. text end
    seen[text] = true
  end
end

local function module_of(all, address)
  for _, module in ipairs(all.modules) do
    if address >= module.low and address < module.high then return facts.name_of(module.path) end
  end
end

-- What stands between a caller and a call.
local function permission(info)
  if not info then return "not to be called: the image is not mapped" end
  if info.dead then return "not to be called: the image is dead after a fault; reset it" end
  return ("may be called; guard `%s`"):format(info.guard)
end

local function of_function(f)
  local image, out = f.image, { f.prototype or tostring(f) }
  if f.doc then out[#out + 1] = indent(f.doc, "  ") end
  local info, all = image:info(), facts.of(image)
  local export = all and facts.export(all, f.name)
  if export then
    put_types(out, all, export.type)
    out[#out + 1] = ("  in %s, module %s, at 0x%x"):format(facts.name_of(info.path),
      module_of(all, export.address) or "?", export.address)
  end
  out[#out + 1] = "  " .. permission(info)
  return table.concat(out, "\n")
end

local function of_image(image)
  local info, all = image:info(), facts.of(image)
  local out = { plain(tostring(image)) }
  if info then
    out[#out + 1] = ("  %s, %s of address space"):format(plain(info.path),
      facts.size(info.mapped_bytes))
    out[#out + 1] = ("  %.0f calls, %.0f faults, generation %.0f%s"):format(info.calls,
      info.faults, info.generation, info.dead and "; dead after a fault, until it is reset" or "")
  end
  if all then
    out[#out + 1] = ("  made %s from %s"):format(os.date("%Y-%m-%d %H:%M", all.created),
      plain(all.server))
    for _, text in ipairs(declare.types(all)) do out[#out + 1] = "  " .. text end
  end
  out[#out + 1] = indent(tostring(image.exports), "  ")
  return table.concat(out, "\n")
end

-- What it points to, and the definitions of the types that its own type names.
local function of_pointer(pointer)
  local text, image = core.type_of(pointer)
  local out = { tostring(pointer) }
  if not text then return out[1] .. "\n  its image is gone" end
  out[2] = ("  a pointer `%s` into %s"):format(text, facts.name_of(image:info() and
    image:info().path or tostring(image)))
  local all = facts.of(image)
  for index, type in ipairs(all and all.types or {}) do
    local name = type.alias or type.name
    if name and type.members and type.kind ~= "function" and
      (" " .. text .. " "):find("[^%w_]" .. name .. "[^%w_]") then
      put_types(out, all, index)
      break
    end
  end
  return table.concat(out, "\n")
end

-- The facts of an error, the message first.
local function of_error(err)
  local out, names = { tostring(err) }, {}
  for name in pairs(err) do
    if name ~= "message" then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = err[name]
    if type(value) == "table" then value = table.concat(value, ", ") end
    if name == "address" or name == "instruction" then value = ("0x%x"):format(value) end
    out[#out + 1] = ("  %-12s %s"):format(name, tostring(value))
  end
  return table.concat(out, "\n")
end

local MODULE = [[
matchmaker %s: maps images of prepared native programs, and calls their exports

  mm.map(path, options)       an image, or nil and an error
  image.exports.NAME(...)     calls; raises an error object when the call fails
  image:call{ NAME, ..., timeout = seconds }
  image:batch(NAME, list)     many calls, one opening of the guard
  image:open(f)               runs f with the guard left open
  image:bind(NAME, prototype) the function, if its prototype is that one
  image:info()                facts
  image:reset(), image:unmap()
  mm.inspect(path)            all facts of an image, without mapping it
  mm.mapped(), mm.clients()   who has what
  mm.null                     a null pointer
  mm.help(x)                  about an image, its exports, one of them, a pointer, an error

print() shows each of these in short. The reference is docs/reference.md.]]

---What `value` is, in some lines of text.
---@param value any
---@return string
function help.text(value)
  local kind = help.kind_of(value)
  if kind == "image" then return of_image(value) end
  if kind == "function" and type(value) == "userdata" then return of_function(value) end
  if kind == "error" then return of_error(value) end
  if kind == "pointer" then return of_pointer(value) end
  if value == nil or type(value) == "table" and rawget(value, "request_map") then
    return MODULE:format(core.version)
  end
  return ("%s\n  %s"):format(tostring(value), type(value) == "userdata" and "a " .. kind or kind)
end

return help
