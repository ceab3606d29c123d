-- Random C signatures, as the source of a server and of the program that tests it.
--
--     luajit spec/abi/calls.lua SEED COUNT FOLDER [clang]
--
-- writes FOLDER/functions.h and FOLDER/tests.h; `clang`: one that clang 14 compiles right.
--
-- Each function knows what it has to be called with: it compares every argument, part by part and
-- bit by bit, notes in `wrong` which differ, and returns a value that its caller knows. With it comes
-- one that calls such a function back. server.c and client.c make of them a server, and a program
-- that calls directly, through stubs and through the client's C interface, and is called back.
package.path = "spec/abi/?.lua;" .. package.path
local types = require "random_types"
local random, chance, pick, declare, text = types.random, types.chance, types.pick, types.declare,
  types.text
local seed, count, folder = tonumber(arg[1]), tonumber(arg[2]), arg[3]
types.for_clang = arg[4] == "clang"
types.start(seed)

local functions, tests = {}, {}
local function put(format, ...) functions[#functions + 1] = format:format(...) end
local function put_test(format, ...) tests[#tests + 1] = format:format(...) end

-- The lines that set and that compare a part; `v` is a struct of all values, `anchor` the image's.
local function fill_line(part)
  local type = part.type
  if type.kind == "pointer" then return ("v->%s = %s;"):format(part.path, part.value) end
  if type.kind == "text" then return ("v->%s = %s;"):format(part.path, part.value) end
  if type.kind == "bits" then return ("v->%s = %s;"):format(part.path, part.value) end
  return ("put(&%sv->%s, \"%s\");"):format(part.half, part.path, part.value)
end

local function differs(part, root)
  local type, path = part.type, part.path
  if type.kind == "text" then return ("strcmp(%s%s, v.%s) != 0"):format(root, path, path) end
  if type.kind == "pointer" or type.kind == "bits" then
    return ("%s%s != v.%s"):format(root, path, path)
  end
  return ("memcmp(&%s%s%s, &%sv.%s, %d) != 0"):format(part.half, root, path, part.half, path,
    type.size)
end

-- --- functions ---

local function random_type(is_result)
  local which = random(100)
  if which <= 45 then return pick(types.aggregates) end
  if which <= 49 then return text end
  if which <= 53 and is_result then return { kind = "void", name = "void" } end
  return types.scalar()
end

local function random_variable()
  local type
  repeat
    type = random_type(false)
  until type.kind == "struct" or type.kind == "union" or type.promoted
  return type
end

local function each_part(parts, f)
  local lines = {}
  for i, part in ipairs(parts) do lines[i] = f(part) end
  return table.concat(lines, "\n  ")
end

-- FUNCTION(number, result type, name, fixed parameters): who includes it makes of it what he needs.
local function put_function(number)
  local result, parameters, fixed, all = random_type(true), {}, {}, {}
  local total = pick { 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 32 }
  local variable = total > 1 and chance(15) and random(total - 1) or total + 1 -- the first one
  for i = 1, total do
    local type = i > variable and random_variable() or random_type(false)
    local parameter = { type = type, name = "a" .. i }
    parameter.parts = types.parts(type, parameter.name)
    parameters[i] = parameter
    local declared = declare(type, parameter.name)
    if i <= variable then fixed[#fixed + 1] = declared end
    all[i] = declared
  end
  local is_variadic = variable < total
  local is_void = result.kind == "void"
  local result_parts = is_void and {} or types.parts(result, "r")

  -- The values.
  put("struct v%d {", number)
  for _, parameter in ipairs(parameters) do
    put("  %s;", declare(parameter.type, parameter.name))
  end
  put("  %s;", is_void and "int r" or declare(result, "r"))
  put("};")
  put("static void fill%d(struct v%d *v) {\n  memset(v, 0, sizeof *v);", number, number)
  for _, parameter in ipairs(parameters) do put("  %s", each_part(parameter.parts, fill_line)) end
  put("  %s\n}", each_part(result_parts, fill_line))

  -- The function.
  local list = #fixed == 0 and "void" or table.concat(fixed, ", ")
  if is_variadic then list = list .. ", ..." end
  put("FUNCTION(%s, f%d, (%s)) {", result.name, number, list)
  put("  struct v%d v;\n  fill%d(&v);\n  wrong = 0;", number, number)
  if is_variadic then put("  va_list list;\n  va_start(list, a%d);", variable) end
  for i, parameter in ipairs(parameters) do
    if i > variable then
      put("  %s = va_arg(list, %s);", declare(parameter.type, parameter.name), parameter.type.name)
    end
    put("  %s", each_part(parameter.parts, function(part)
      return ("if (%s) wrong |= 1ul << %d;"):format(differs(part, ""), i)
    end))
  end
  if is_variadic then put("  va_end(list);") end
  put(is_void and "}" or "  return v.r;\n}")

  local names, pointers = {}, {}
  for i, parameter in ipairs(parameters) do
    names[i], pointers[i] = "v." .. parameter.name, "&v." .. parameter.name
  end
  local arguments = table.concat(names, ", ")
  local compare = each_part(result_parts, function(part)
    return ("if (%s) differs |= 1;"):format(differs(part, "got."))
  end)

  -- The other way: a function that calls what it is given, and says whether the result differs.
  if not is_variadic then
    put("FUNCTION(int, back_f%d, (%s (*call)(%s))) {", number, result.name, list)
    put("  struct v%d v, got;\n  int differs = 0;\n  fill%d(&v);", number, number)
    put("  %scall(%s);\n  %s", is_void and "" or "got.r = ", arguments, compare)
    put("  return differs;\n}")
    put_test("static void called_f%d(void *result, void **arguments, void *user) {", number)
    put_test("  struct v%d v, got;\n  fill%d(&v);\n  wrong = 0;", number, number)
    for i, parameter in ipairs(parameters) do
      put_test("  memcpy(&got.a%d, arguments[%d], sizeof got.a%d);", i, i - 1, i)
      put_test("  %s", each_part(parameter.parts, function(part)
        return ("if (%s) wrong |= 1ul << %d;"):format(differs(part, "got."), i)
      end))
    end
    put_test(is_void and "}" or "  memcpy(result, &v.r, sizeof v.r);\n}")
  end

  -- The test.
  put_test("static void test_f%d(void) {\n  struct v%d v;", number, number)
  put_test("  struct { %s; char behind[64]; } got;", is_void and "int r" or declare(result, "r"))
  put_test("  void *arguments[] = { %s };", #pointers == 0 and "0" or table.concat(pointers, ", "))
  -- A plain C pointer does not say how many arguments a variadic call has.
  for _, way in ipairs(is_variadic and { "direct", "call" } or { "direct", "stub", "call" }) do
    local call = ("f%d(%s)"):format(number, arguments)
    if way == "stub" then
      call = ("((%s (*)(%s))stub_of(\"f%d\"))(%s)"):format(result.name, list, number, arguments)
    end
    put_test("  BEGIN_%s(f%d);\n  fill%d(&v);", way:upper(), number, number)
    put_test("  memset(&got, 0x5a, sizeof got);")
    if way == "call" then
      put_test("  request(\"f%d\", \"%s f(%s)\", &got.r, arguments);", number, result.name,
        #all == 0 and "void" or table.concat(all, ", "))
    else
      put_test("  %s%s;", is_void and "" or "got.r = ", call)
    end
    put_test("  differs = 0;\n  %s", compare)
    put_test("  END_%s(f%d, got.behind);", way:upper(), number)
  end
  if not is_variadic then
    put_test("  BEGIN_DIRECT(f%d);\n  differs = back_f%d(f%d);", number, number, number)
    put_test("  END_DIRECT(f%d, NULL);", number)
    put_test("  call_back(\"back_f%d\", \"%s (%s)\", called_f%d);", number, result.name, list,
      number)
  end
  put_test("}")
end

put("/* Seed %d, %d functions. */", seed, count)
put("MM_TYPE(enum e { E0, E5 = 5 };)")
for i = 1, math.max(20, math.floor(count / 4)) do
  local _, text_of_type = types.aggregate(i)
  put("MM_TYPE(%s)", text_of_type)
end
for i = 1, count do put_function(i) end
put_test("#define EACH(DO) %s", (function()
  local list = {}
  for i = 1, count do list[i] = ("DO(f%d)"):format(i) end
  return table.concat(list, " ")
end)())

for name, lines in pairs { functions = functions, tests = tests } do
  local file = assert(io.open(("%s/%s.h"):format(folder, name), "w"))
  file:write(table.concat(lines, "\n"), "\n")
  file:close()
end
