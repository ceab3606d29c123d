-- Random C types, and what their values are made of. The same seed makes the same, in every Lua.
local random_types = {}

-- Lehmer's generator, with Park and Miller's numbers: exact in a double.
local state

local function random(limit)
  state = state * 16807 % 2147483647
  return math.floor(state / 2147483647 * limit) + 1
end

local function chance(percent) return random(100) <= percent end
local function pick(list) return list[random(#list)] end
random_types.random, random_types.chance, random_types.pick = random, chance, pick

---Begins again: the aggregates made so far are forgotten.
function random_types.start(seed)
  state = seed % 2147483646 + 1
  random_types.aggregates, random_types.serial = {}, 0
end

-- --- values: each is given by its bytes, low ones first ---

local function bits(digits) -- a random number of so many hexadecimal digits
  local text = {}
  for i = 1, digits do text[i] = ("%x"):format(random(16) - 1) end
  return table.concat(text)
end

local integer_values = {
  [1] = { "00", "01", "7f", "80", "ff" },
  [2] = { "0000", "0001", "7fff", "8000", "ffff" },
  [4] = { "00000000", "00000001", "7fffffff", "80000000", "ffffffff" },
  [8] = { "0000000000000000", "7fffffffffffffff", "8000000000000000", "ffffffffffffffff",
    "0020000000000001" },
}
local float_values = { -- zeros, infinities, quiet and signalling NaNs with payloads, denormals, limits
  [4] = { "00000000", "80000000", "7f800000", "ff800000", "7fc12345", "ffc00001", "7f812345",
    "00000001", "807fffff", "7f7fffff", "3f800000" },
  [8] = { "0000000000000000", "8000000000000000", "7ff0000000000000", "fff0000000000000",
    "7ff8123456789abc", "fff8000000000001", "7ff0123456789abc", "0000000000000001",
    "800fffffffffffff", "7fefffffffffffff", "3ff0000000000000" },
  [10] = { "00000000000000000000", "80000000000000000000", "7fff8000000000000000",
    "ffff8000000000000000", "7fffc123456789abcdef", "7fff8123456789abcdef", "00000000000000000001",
    "80007fffffffffffffff", "7ffeffffffffffffffff", "3fff8000000000000000" },
}

local function integer(size)
  return function() return chance(50) and pick(integer_values[size]) or bits(size * 2) end
end
local function float(size)
  return function()
    if chance(60) then return pick(float_values[size]) end
    if size < 10 then return bits(size * 2) end
    return ("%x"):format(0x3000 + random(0x2000)) .. pick { "8", "9", "c", "f" } .. bits(15)
  end
end

-- --- types ---

-- What a scalar is: its C name, how many bytes of it count, and a value.
local function scalar(name, size, value, rest)
  local type = rest or {}
  type.kind, type.name, type.size, type.value = "scalar", name, size, value
  return type
end

local function promoted(name, size, value) return scalar(name, size, value, { promoted = true }) end
local function bool() return pick { "00", "01" } end
local int = promoted("int", 4, integer(4))
local unsigned = promoted("unsigned int", 4, integer(4))
local double = promoted("double", 8, float(8))
local extended = promoted("long double", 10, float(10))
local wide = { promoted("long", 8, integer(8)), promoted("unsigned long long", 8, integer(8)) }
local narrow = {
  scalar("bool", 1, bool), scalar("char", 1, integer(1)), scalar("signed char", 1, integer(1)),
  scalar("uint8_t", 1, integer(1)), scalar("short", 2, integer(2)),
  scalar("uint16_t", 2, integer(2)),
  scalar("enum e", 4, function() return pick { "00000000", "00000005" } end),
}
local single = scalar("float", 4, float(4))
local pointer = { kind = "pointer", name = "void *", promoted = true }
local text = { kind = "text", name = "const char *", promoted = true }
local complexes = {
  { kind = "complex", name = "float _Complex", part = single },
  { kind = "complex", name = "double _Complex", part = double, promoted = true },
  { kind = "complex", name = "long double _Complex", part = extended, promoted = true },
}

local function random_scalar()
  local which = random(20)
  if which <= 4 then return pick(narrow) end
  if which <= 7 then return pick { int, unsigned } end
  if which <= 11 then return pick(wide) end
  if which <= 14 then return single end
  if which <= 17 then return double end
  if which == 18 then return pick(complexes) end
  if which == 19 then return extended end
  return pointer
end

local function declare(type, name)
  if type.kind == "array" then
    return declare(type.element, ("%s[%d]"):format(name, type.length))
  end
  return type.name .. " " .. name
end

local function random_member(depth)
  local which = random(10)
  if which <= 2 and #random_types.aggregates > 0 and depth < 3 then
    local type = pick(random_types.aggregates)
    if type.depth < 3 then return type end
  end
  if which == 3 then
    return { kind = "array", element = random_member(depth + 1), length = random(3) }
  end
  return random_scalar()
end

local bit_fields = {
  { name = "int", width = 32 }, { name = "unsigned int", width = 32 }, { name = "bool", width = 1 },
  { name = "enum e", width = 32 }, { name = "long", width = 64 }, { name = "uint8_t", width = 8 },
  { name = "short", width = 16 },
}

local function depth_of(type)
  if type.kind == "array" then return depth_of(type.element) end
  return type.depth or 0
end

-- One field, and its declaration. A field without a name only takes room.
local function random_field(name, is_packed, is_union)
  if chance(12) then
    local of = pick(bit_fields)
    local width = random(of.width)
    if chance(10) and (random_types.only_layouts or not is_union) then
      -- gcc and clang pass what has such a field differently, unless it is empty and in a struct.
      local is_empty = not random_types.only_layouts or chance(30)
      return nil, ("%s : %d;"):format(of.name, is_empty and 0 or width)
    end
    return { name = name, type = { kind = "bits", width = width, is_signed = of.name == "int"
      or of.name == "long" or of.name == "short", is_bool = of.name == "bool" } },
      ("%s %s : %d;"):format(of.name, name, width)
  end
  local type = random_member(0)
  local attribute = ""
  if chance(4) then attribute = " __attribute__((aligned(" .. pick { 2, 4, 8, 16 } .. ")))" end
  if chance(4) and not is_packed then attribute = " __attribute__((packed))" end
  return { name = name, type = type }, declare(type, name) .. attribute .. ";"
end

local add_fields

-- A struct or union without a name, in place: its fields count as those of what it is in.
local function anonymous_field(depth)
  local type = { kind = chance(50) and "union" or "struct", depth = 1, fields = {} }
  local lines = {}
  add_fields(type, lines, false, depth + 1)
  return { type = type }, ("%s { %s };"):format(type.kind, table.concat(lines, " "))
end

function add_fields(type, lines, is_packed, depth)
  repeat
    for _ = 1, pick { 1, 1, 2, 2, 2, 3, 3, 4, 6 } do
      random_types.serial = random_types.serial + 1
      local field, line
      if chance(8) and depth < 3 then
        field, line = anonymous_field(depth)
      else
        field, line = random_field("m" .. random_types.serial, is_packed, type.kind == "union")
      end
      lines[#lines + 1] = line
      if field then
        type.fields[#type.fields + 1] = field
        type.depth = math.max(type.depth, 1 + depth_of(field.type))
      end
    end
  until #type.fields > 0
end

-- A struct with a flexible array can be in no other type.
local function flexible_field()
  local name, element = "m" .. random_types.serial + 1, random_scalar()
  random_types.serial = random_types.serial + 1
  return { name = name, type = { kind = "flexible" } }, ("%s %s[];"):format(element.name, name)
end

local function holds_float(type)
  if type.kind == "array" then return holds_float(type.element) end
  for _, field in ipairs(type.fields or {}) do
    if holds_float(field.type) then return true end
  end
  return type == single
end

-- clang 14 takes the first eight bytes of `union { struct { float a; long b; } s; double d; }` for a
-- float alone: not even its own functions get all of d.
local function is_lossy(type)
  if type.kind == "array" then return is_lossy(type.element) end
  if type.kind == "union" and holds_float(type) then return true end
  for _, field in ipairs(type.fields or {}) do
    if is_lossy(field.type) then return true end
  end
  return false
end

local function random_aggregate(word, is_packed)
  local type, lines = { kind = word, depth = 1, fields = {} }, {}
  add_fields(type, lines, is_packed, 0)
  if random_types.for_clang and is_lossy(type) then return random_aggregate(word, is_packed) end
  return type, lines
end

---A new struct or union, and its declaration.
function random_types.aggregate(number)
  local word, is_packed = chance(20) and "union" or "struct", chance(10)
  local type, lines = random_aggregate(word, is_packed)
  type.name = ("%s t%d"):format(word, number)
  local attribute = is_packed and " __attribute__((packed))" or ""
  if chance(4) then attribute = attribute .. " __attribute__((aligned(16)))" end
  if random_types.only_layouts and word == "struct" and chance(5) then
    type.fields[#type.fields + 1], lines[#lines + 1] = flexible_field()
  else
    table.insert(random_types.aggregates, type)
  end
  return type, ("%s { %s }%s;"):format(type.name, table.concat(lines, " "), attribute)
end

-- --- what a value is made of ---

local function inside(path, field) return field.name and path .. "." .. field.name or path end

local function add_parts(list, type, path)
  if type.kind == "array" then
    for i = 0, type.length - 1 do add_parts(list, type.element, ("%s[%d]"):format(path, i)) end
  elseif type.kind == "struct" then
    for _, field in ipairs(type.fields) do add_parts(list, field.type, inside(path, field)) end
  elseif type.kind == "union" then -- one member is set, and looked at
    local field = pick(type.fields)
    add_parts(list, field.type, inside(path, field))
  elseif type.kind == "complex" then
    for _, half in ipairs { "__real__ ", "__imag__ " } do
      list[#list + 1] = { type = type.part, path = path, half = half }
    end
  else
    list[#list + 1] = { type = type, path = path, half = "" }
  end
end

local function bit_value(type)
  if type.is_bool then return tostring(random(2) - 1) end
  -- In two steps, as a shift by 64 has no meaning; a signed field of one bit is 0 or -1.
  local value = ("0x%sull >> %d >> %d"):format(bits(16), 32, 32 - math.min(type.width, 32))
  if type.width > 32 then value = ("0x%sull >> %d"):format(bits(16), 64 - type.width) end
  if not type.is_signed then return value end
  return ("(long)((%s) << %d) >> %d"):format(value, 64 - type.width, 64 - type.width)
end

---The value of a part, as C text: an expression, or the digits of its bytes.
local function value_of(part)
  local type = part.type
  if type.kind == "pointer" then return chance(20) and "0" or ("anchor + %d"):format(random(60)) end
  if type.kind == "text" then return ("\"%s\""):format(pick { "", "a", "word", bits(40) }) end
  if type.kind == "bits" then return bit_value(type) end
  return type.value()
end

---What a value of that type is made of, each part with its value: the lines of C below set and
---compare it. Of a union one member is set, and looked at.
function random_types.parts(type, path)
  local list = {}
  add_parts(list, type, path)
  for _, part in ipairs(list) do part.value = value_of(part) end
  return list
end

random_types.declare, random_types.text, random_types.scalar = declare, text, random_scalar
return random_types
