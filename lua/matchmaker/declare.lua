-- C declarations out of an image's facts: each type and prototype as a compiler takes it.
local declare = {}

local WORDS = { struct = "struct ", union = "union ", enum = "enum " }

-- Names that <stddef.h>, <stdint.h>, <stdbool.h> and <sys/types.h> give.
local STANDARD = { size_t = true, ssize_t = true, ptrdiff_t = true, wchar_t = true, bool = true,
                   intptr_t = true, uintptr_t = true, intmax_t = true, uintmax_t = true,
                   max_align_t = true }
for _, bits in ipairs { 8, 16, 32, 64 } do
  for _, form in ipairs { "int%d_t", "uint%d_t", "int_least%d_t", "uint_least%d_t",
                          "int_fast%d_t", "uint_fast%d_t" } do
    STANDARD[form:format(bits)] = true
  end
end

local function is_record(type) return type.kind == "struct" or type.kind == "union" end

local spell, body

local function parameters(all, type)
  local list = {}
  for i, member in ipairs(type.members or {}) do
    list[i] = spell(all, member.type, member.name or "")
  end
  if type.variadic then list[#list + 1] = "..." end
  return "(" .. (#list > 0 and table.concat(list, ", ") or "void") .. ")"
end

-- The base type, before all declarators; one without any name is written out.
local function base_text(all, type, is_const)
  local prefix = is_const and "const " or ""
  if WORDS[type.kind] and not type.name then return prefix .. body(all, type) end
  return prefix .. (WORDS[type.kind] or "") .. (type.name or type.kind)
end

local function joined(base, declarator)
  return declarator == "" and base or base .. " " .. declarator
end

---The declaration of `declarator` with that type. `as_itself`: not by the typedef name it has.
function spell(all, index, declarator, is_const, as_itself)
  local type = all.types[index]
  if type.alias and not as_itself then
    local const = is_const and not type.const_name
    return joined((const and "const " or "") .. type.alias, declarator)
  end
  if type.kind == "string" then
    return joined("const char", (is_const and "*const " or "*") .. declarator)
  end
  if type.kind == "pointer" then
    local target = all.types[type.target]
    local star = "*" .. (is_const and "const " or "") .. declarator
    local wraps = not target.alias and (target.kind == "array" or target.kind == "function")
    return spell(all, type.target, wraps and "(" .. star .. ")" or star, type.const)
  end
  if type.kind == "array" then
    local length = type.length > 0 and ("%.0f"):format(type.length) or ""
    return spell(all, type.target, declarator .. "[" .. length .. "]", is_const)
  end
  if type.kind == "function" then
    return spell(all, type.target, declarator .. parameters(all, type))
  end
  return joined(base_text(all, type, is_const), declarator)
end
declare.spell = spell

local function constants(type)
  local list = {}
  for i, constant in ipairs(type.members or {}) do
    list[i] = ("%s = %s"):format(constant.name, tostring(constant.value))
  end
  return table.concat(list, ", ")
end

-- So many bits without a name, up to the bit number `to`.
local function put_filling(list, bits, to)
  local at = to - (bits or 0)
  while at < to do
    local width = math.min(8 - at % 8, to - at)
    list[#list + 1] = ("unsigned char : %.0f;"):format(width)
    at = at + width
  end
end

-- What the layout needs to be said: " __attribute__((packed, aligned(4)))".
local function attributes(of)
  local list = { of.packed and "packed" or nil }
  if of.aligned then list[#list + 1] = ("aligned(%.0f)"):format(of.aligned) end
  return #list > 0 and " __attribute__((" .. table.concat(list, ", ") .. "))" or ""
end

local function fields(all, type)
  local list = {}
  for _, member in ipairs(type.members or {}) do
    put_filling(list, member.filling, member.value * 8 + (member.shift or 0))
    local name = member.name or ""
    if member.width then name = ("%s : %.0f"):format(name, member.width) end
    list[#list + 1] = spell(all, member.type, name) .. attributes(member) .. ";"
  end
  put_filling(list, type.filling, type.size * 8)
  return table.concat(list, " ")
end

---"struct point { double x; double y; }"
function body(all, type)
  local head = type.kind .. attributes(type) .. " " .. (type.name and type.name .. " " or "")
  return head .. "{ " .. (type.kind == "enum" and constants(type) or fields(all, type)) .. " }"
end

---How a type that has a name came by it, as one line of C.
---@param all mm.facts
---@param index integer
---@return string
function declare.definition(all, index)
  local type = all.types[index]
  if type.alias and not (WORDS[type.kind] and type.name) then
    return "typedef " .. spell(all, index, type.alias, type.const_name, true) .. ";"
  end
  return body(all, type) .. ";"
end

-- In the registry's order what a type holds comes before it; what it points to is named already.
local function definitions(all, use)
  local seen = {}
  local function once(key, text)
    if seen[key] then return end
    seen[key] = true
    use(text .. ";")
  end
  for index, type in ipairs(all.types) do
    if type.alias and not STANDARD[type.alias] and not (is_record(type) and type.name) then
      once(type.alias, "typedef " .. spell(all, index, type.alias, type.const_name, true))
    elseif WORDS[type.kind] and type.name and not type.incomplete then
      once(type.kind .. " " .. type.name, body(all, type))
    end
  end
end

---The definitions of all types that have a name, each as one line of C.
---@param all mm.facts
---@return string[]
function declare.types(all)
  local list = {}
  definitions(all, function(text) list[#list + 1] = text end)
  return list
end

---The names of records and their typedefs, which pointers may use before the definitions.
---@param all mm.facts
---@return string[]
function declare.forwards(all)
  local list, seen = {}, {}
  local function once(text)
    if not seen[text] then list[#list + 1] = text end
    seen[text] = true
  end
  for index, type in ipairs(all.types) do
    if is_record(type) and type.name then
      once(WORDS[type.kind] .. type.name .. ";")
      if type.alias then
        once("typedef " .. spell(all, index, type.alias, type.const_name, true) .. ";")
      end
    end
  end
  return list
end

return declare
