-- Makes images of shared libraries and of Lua states, with no C written. For scripts that run under
-- `matchmaker snapshot -o x.mmi script.lua [ARG...]`.
local core = require "matchmaker.server.core"

local server = {}

local has_ffi, ffi = pcall(require, "ffi")
local keeps_compiler = false

local function check(value, kind, name, place, wanted)
  local got = type(value)
  if got == kind then return end
  error(("%s: argument %d is %s, got %s"):format(name, place, wanted,
    got == "nil" and got or "a " .. got), 3)
end

-- The declarations of a piece of C, without their semicolons.
local function declarations(cdef)
  local list, depth, start, at = {}, 0, 1, 1
  cdef = cdef:gsub("/%*.-%*/", " "):gsub("//[^\n]*", " ")
  while true do
    at = cdef:find("[{};]", at)
    if not at then break end
    local sign = cdef:sub(at, at)
    depth = depth + (sign == "{" and 1 or sign == "}" and -1 or 0)
    if sign == ";" and depth == 0 then
      list[#list + 1] = cdef:sub(start, at - 1):match("^%s*(.-)%s*$")
      start = at + 1
    end
    at = at + 1
  end
  local rest = cdef:sub(start):match("%S.*")
  if rest then error("`;` is missing behind `" .. rest:sub(1, 60) .. "`", 3) end
  return list
end

-- The name of the function that is declared; nil: it is a type.
local function function_name(declaration)
  local outside = declaration:gsub("%b{}", " ")
  if outside:find "^typedef%W" then return nil end
  return outside:match "^[^(]*%(%s*%*[%s%*]*([%a_][%w_]*)%s*%(" -- it returns a function pointer
    or outside:match "([%a_][%w_]*)%s*%("
end

-- `z` is libz.so, as for the linker; a name with a dot or a slash is itself.
local function files_of(library)
  if not library then return end
  if library:find "[./]" then return library end
  return ("lib%s.so"):format(library), library
end

local function raised(ok, ...)
  if not ok then error((...), 3) end
  return ...
end

---Loads a library and exports the functions that the C text declares, after its types.
---@param library? string "z", "libz.so.1" or a path; nil: what is loaded already
---@param cdef string C declarations of types and functions
---@return table<string, lightuserdata> functions their addresses
function server.load(library, cdef)
  if library ~= nil then check(library, "string", "load", 1, "a library's name or path, or nil") end
  check(cdef, "string", "load", 2, "the functions in C")
  local functions = {}
  local handle = raised(pcall(core.open, files_of(library)))
  for _, declaration in ipairs(declarations(cdef)) do
    local name = function_name(declaration)
    if name then
      local address = core.symbol(handle, name)
      if not address then
        error(("%s has no function `%s`"):format(library or "what is loaded", name), 2)
      end
      raised(pcall(core.export, address, declaration))
      functions[name] = address
    elseif declaration ~= "" then
      raised(pcall(core.declare, declaration .. ";"))
    end
  end
  return functions
end

---Exports a C function.
---@param cfunction ffi.cdata*|lightuserdata|integer a function pointer of the FFI, or an address
---@param prototype? string with its name; nil: from the debug information
---@param doc? string
function server.export(cfunction, prototype, doc)
  if has_ffi and type(cfunction) == "cdata" then
    cfunction = tonumber(ffi.cast("uintptr_t", ffi.cast("void *", cfunction)))
  end
  raised(pcall(core.export, cfunction, prototype, doc))
end

---Exports a Lua function, called in this state as it is at the snapshot. Numbers, booleans, strings
---(`const char *`) and pointers (light userdata, nil for null) go in and out. An error in it ends
---the call as an error of kind "server", with its message; the image is reset then.
---@param name string
---@param prototype string "int (const char *word)"; a name in it has to be the same
---@param f function
---@param doc? string
function server.export_lua(name, prototype, f, doc)
  check(name, "string", "export_lua", 1, "the name of the export")
  check(prototype, "string", "export_lua", 2, "a prototype")
  check(f, "function", "export_lua", 3, "a function")
  local result, given, parameters = prototype:match "^(.-)([%a_]?[%w_]*)%s*(%b())%s*$"
  if not result then error(("`%s` is not a prototype"):format(prototype), 2) end
  if given ~= name then result = result .. given end
  raised(pcall(core.export_lua, ("%s %s%s"):format(result, name, parameters), doc, f))
end

---Says what the clients have to grant: "output", "files", "sockets", "jit" or "everything".
---With "jit", LuaJIT goes on compiling in the image; else it runs the traces that it has.
---@param kind string
---@param detail? string
function server.need(kind, detail)
  check(kind, "string", "need", 1, "what has to be granted")
  keeps_compiler = keeps_compiler or kind == "jit" or kind == "everything"
  core.need(kind, detail)
end

---The bytes behind a pointer argument, up to a NUL if no count is given.
---@type fun(pointer: lightuserdata, bytes?: integer): string
server.string = core.string

---Writes the image, and ends the process. Returns only by an error.
---@param path? string nil: where -o says
function server.snapshot(path)
  local jit = rawget(_G, "jit")
  if jit and not keeps_compiler then jit.off() end
  collectgarbage()
  raised(pcall(core.snapshot, path))
end

return server
