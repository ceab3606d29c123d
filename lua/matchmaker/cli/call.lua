-- `matchmaker call`: one call of an export, with arguments in the words of a command line.
local facts = require "matchmaker.facts"
local json = require "matchmaker.json"
local shell = require "matchmaker.cli.shell"
local show = require "matchmaker.show"

local BOOLEANS = { ["true"] = true, ["1"] = true, ["false"] = false, ["0"] = false }

-- An integer that a double does not hold: cdata in LuaJIT, an integer in 5.3 and later, else text.
local function wide(word)
  if rawget(_G, "jit") then
    local suffix = word:sub(1, 1) ~= "-" and tonumber(word) >= 2 ^ 63 and "ULL" or "LL"
    return assert(loadstring("return " .. word .. suffix))()
  end
  local number = tonumber(word)
  return math.type and math.type(number) == "integer" and number or word
end

local function integer(word)
  if #(word:match "^%-?(%d+)$" or "") >= 16 then return wide(word) end
  return tonumber(word) or word
end

local function boolean(word)
  if BOOLEANS[word] == nil then return word end
  return BOOLEANS[word]
end

local function pointer(word)
  return (word == "null" or word == "NULL") and require("matchmaker").null or word
end

-- Records and buffers as Lua writes them: "{ x = 1, y = 2 }". Nothing can be called there.
local function value(word)
  local chunk = (loadstring or load)("return " .. word, "=argument", "t", {})
  if not chunk then return word end
  if setfenv then setfenv(chunk, {}) end
  local fine, result = pcall(chunk)
  return fine and result ~= nil and result or word
end

local CONVERSIONS = {
  bool = boolean, signed = integer, unsigned = integer, enum = integer, pointer = pointer,
  float = function(word) return tonumber(word) or word end,
  struct = value, union = value, array = value,
}

-- One of `...`: an integer where Lua has one, which passes as `long`; a fraction; else text.
local function variable(word)
  local number = tonumber(word)
  local is_integer = word:find "^%-?%d+$" and (rawget(_G, "jit") or math.type)
  return is_integer and wide(word) or number or word
end

-- Each word as its parameter wants it. What does not fit stays text, and the call says what is
-- wrong with it.
local function convert(all, export, words)
  local parameters = export and all.types[export.type].members or {}
  local arguments = {}
  for i = 3, #words do
    local parameter = parameters[i - 2]
    local convert_word = variable
    if parameter then convert_word = CONVERSIONS[all.types[parameter.type].kind] or tostring end
    arguments[i - 2] = convert_word(words[i])
  end
  return arguments
end

-- A result as C would print it; a struct as it is given.
local function text_of(result)
  if type(result) == "number" then return json.number(result) end
  if type(result) == "table" then return show.value(result) end
  return (tostring(result):gsub("^(%-?%d+)U?LL$", "%1"))
end

return {
  usage = "call [--json] [--timeout SECONDS] [--grant NAME]... [--guard NAME]" ..
    "\n  IMAGE EXPORT [ARG...]",
  words = 2, more = true,
  options = { json = true, timeout = "seconds", grant = { "a name" },
              guard = "pages, keys or open" },
  summary = "Maps an image, calls one export, and prints what it returned.",
  help = [[
  --json             the result as JSON
  --timeout SECONDS  end the call when it takes longer
  --grant NAME       what the image may do with the outside world, like `output`;
                     `read=FOLDER` and `write=FOLDER` grant what lies beneath it
  --guard NAME       `pages`, `keys` or `open`

Arguments are read as the prototype wants them: numbers, `true` and `false`, the names of
an enum's constants, text as it is, `null` for a null pointer, `{ x = 1 }` for a struct.
Where it says `...`, integers pass as `long`, other numbers as `double`, the rest as text.
Behind the export nothing is an option, so negative numbers need no `--`.

examples:
  matchmaker call math.mmi add 1 -2
  matchmaker call --timeout 0.5 hu.mmi spell kutya]],
  run = function(words, options)
    local image, why, status = shell.map(words[1], options)
    if not image then return shell.complain(status, why) end
    local all, err = facts.of(image)
    if not all then return shell.complain(shell.FAILED, err) end
    local arguments = convert(all, facts.export(all, words[2]), words)
    local results = { pcall(require("matchmaker").request_call, image, words[2],
                            (table.unpack or unpack)(arguments, 1, #words - 2)) }
    if not results[1] then return shell.complain(shell.FAILED, results[2]) end
    if options.json then
      print(json.encode(results[2]))
    elseif results[2] ~= nil then
      print(text_of(results[2]))
    end
    return shell.DONE
  end,
}
