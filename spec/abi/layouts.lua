-- Random C types, as the source of a program that compares their layouts with the compiler's.
--
--     luajit spec/abi/layouts.lua SEED COUNT FOLDER     writes FOLDER/layouts.h
--
-- layouts.c says what is compared.
package.path = "spec/abi/?.lua;" .. package.path
local types = require "random_types"
local seed, count, folder = tonumber(arg[1]), tonumber(arg[2]), arg[3]
types.start(seed)
types.only_layouts = true

local lines = {}
local function put(format, ...) lines[#lines + 1] = format:format(...) end

local function put_fields(name, type)
  for _, field in ipairs(type.fields) do
    if not field.name then
      put_fields(name, field.type)
    elseif field.type.kind == "bits" then
      put("  BITS(%s, %s);", name, field.name)
    elseif field.type.kind == "flexible" then
      put("  OFFSET(%s, %s, 0);", name, field.name)
    else
      put("  OFFSET(%s, %s, sizeof((%s *)0)->%s);", name, field.name, name, field.name)
    end
  end
end

local checks = {}
put("MM_TYPE(enum e { E0, E5 = 5 };)")
for i = 1, count do
  local type, text = types.aggregate(i)
  put("TYPE(%d, %s)", i, text)
  checks[i] = type
end
put("static void check_all(void) {")
for i, type in ipairs(checks) do
  put("  DECLARE(%d, %s);", i, type.name)
  put_fields(type.name, type)
end
put("}")

local file = assert(io.open(folder .. "/layouts.h", "w"))
file:write(table.concat(lines, "\n"), "\n")
file:close()
