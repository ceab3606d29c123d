-- Calls from LuaJIT that go to an export's stub through its FFI, and compile into traces. Arguments
-- are checked here; whatever is not plainly right goes the way of all other calls, which says what is
-- wrong. So does a call after one whose end nobody has told yet. Nothing unwinds through a trace: a
-- call that ends in a fault gives zero, and is told after.
local core = require "matchmaker.core"
local ffi = require "ffi"

-- What an argument has to be, for the C type that the FFI converts it to.
local checks = {
  bool = "type(A) == 'boolean'",
  double = "type(A) == 'number'",
  float = "type(A) == 'number' and A > -3.4028234663852886e38 and A < 3.4028234663852886e38",
  int32_t = "type(A) == 'number' and tobit(A) == A",
}
for name, range in pairs {
  int8_t = { "-128", "127" }, uint8_t = { "0", "255" },
  int16_t = { "-32768", "32767" }, uint16_t = { "0", "65535" },
} do
  checks[name] = ("type(A) == 'number' and tobit(A) == A and A >= %s and A <= %s"):format(range[1],
    range[2])
end
for name, range in pairs {
  uint32_t = { "0", "4294967295" },
  int64_t = { "-9007199254740992", "9007199254740992" },
  uint64_t = { "0", "9007199254740992" },
} do
  checks[name] = ("type(A) == 'number' and A >= %s and A <= %s and floor(A) == A"):format(range[1],
    range[2])
end

-- How a result is returned: 64-bit integers as numbers where a number holds them.
local results = {
  void = "return",
  int64_t = "if R >= -9007199254740992LL and R <= 9007199254740992LL then return tonumber(R) end "
    .. "return R",
  uint64_t = "if R <= 9007199254740992ULL then return tonumber(R) end return R",
}

local template = [[
local stub, callable, status, again, checked = ...
local type, select, tonumber = type, select, tonumber
local floor, tobit = math.floor, bit.tobit
return function(self, ...)
  @unpack
  if callable[0] == 1 and status() == 0 and select("#", ...) == @count @checks then
    @call
    if status() == 0 then @result end
    return again(self, ...)
  end
  return checked(self, ...)
end
]]

---@param types string[] the C types of the result and of the arguments
local function source_for(types)
  local names, conditions = {}, {}
  for i = 2, #types do
    names[i - 1] = "a" .. i - 1
    conditions[i - 1] = "and " .. checks[types[i]]:gsub("A", names[i - 1])
  end
  local list, is_void = table.concat(names, ", "), types[1] == "void"
  local parts = {
    unpack = #names > 0 and ("local %s = ..."):format(list) or "",
    count = #names,
    checks = table.concat(conditions, " "),
    call = ("%sstub(%s)"):format(is_void and "" or "local R = ", list),
    result = results[types[1]] or "return R",
  }
  return (template:gsub("@(%a+)", parts))
end

local makers = {} -- by the list of types: what takes a stub and gives a function for it

local function maker_for(list)
  local maker = makers[list]
  if maker then return maker end
  local types = {}
  for name in list:gmatch "%S+" do types[#types + 1] = name end
  local code = assert(loadstring(source_for(types), "=matchmaker.direct"))
  local pointer = ffi.typeof(("%s (*)(%s)"):format(types[1], table.concat(types, ", ", 2)))
  maker = function(stub, ...) return code(ffi.cast(pointer, stub), ...) end
  makers[list] = maker
  return maker
end

local known = setmetatable({}, { __mode = "k" }) -- functions by the exports they call
local describe, again, invoke, status

local function make(export)
  local stub, callable, list = describe(export)
  local call = maker_for(list)(stub, ffi.cast("const uint32_t *", callable), status, again, invoke)
  known[export] = call
  return call
end

describe, again, invoke, status = core.use_direct(function(export, ...)
  return (known[export] or make(export))(export, ...)
end)
status = ffi.cast("int32_t (*)(void)", status)
