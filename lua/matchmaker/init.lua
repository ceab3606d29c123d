-- Maps images of native programs into this process and calls their exports.
-- Requiring this module connects: the Matchmaker is mapped until mm.finalize() or the end of the state.
local core = require "matchmaker.core"

---@class mm.error what failing operations return and failing calls raise; prints as its message
---@field kind string one word: "type", "range", "fault", "unmapped" and so on
---@field message string one line, complete by itself
---@field status integer the negative number that the C interface has for the kind
---@field where string the place in the Lua program ("script.lua:3: "), when it is known
---@field image? string the path of the image
---@field export? string the export that was called
---@field prototype? string of the export that was called, or of the callback
---@field argument? integer which argument was wrong, from 1
---@field call? integer which call of a batch failed, from 1
---@field text? string of the kind "prototype": the C text around the place
---@field column? integer of the place, from 1
---@field excerpt? string the text, and a caret under the place
---@field cause? any what was raised in a callback
---@field traceback? string the stack where that happened, and of the calls around it
---@field errno? integer of the system call that failed
---@field signal? string "SIGSEGV"
---@field access? string "reading", "writing" or "executing"
---@field address? integer what was accessed
---@field instruction? integer where in the code
---@field symbol? string the function that holds the instruction
---@field offset? integer of the instruction in the symbol
---@field module? string the library or program that holds the instruction
---@field exit_status? integer what the image gave to exit
---@field was_reset? boolean whether the image is back at its snapshot
---@field refused? string[] system calls that were refused during the call

---@class mm.info
---@field path string of its file, as it was given
---@field slot integer its place in the arena
---@field guard "pages"|"open"|"keys" the one in force
---@field generation integer 1 after mapping, one more after every reset
---@field exports integer how many
---@field segments integer how many
---@field base integer the first address of the slot
---@field mapped_bytes integer address space of its segments
---@field file_bytes integer of its file
---@field calls integer how many were made since it was mapped
---@field faults integer how many of them ended in one
---@field guard_changes integer how often the guard `pages` called mprotect(2)
---@field dead boolean after a fault, until it is reset
---@field sealed boolean as it was mapped; so `strict` and `stateless`
---@field strict boolean
---@field locked_down boolean the process is, for good
---@field closes_client boolean in calls of this thread the image cannot write to the client's memory
---@field stateless boolean
---@field refused? { call: string, path?: string, count: integer }[] of image:info(): the system calls
--- that were refused since it was mapped

---@class mm.client
---@field pid integer
---@field user integer
---@field started integer when it connected, in seconds since the epoch
---@field command string the beginning of its command line
---@field is_self? boolean this process
---@field is_foreign? boolean in another pid namespace: nobody here can tell whether it still runs
---@field images { path: string, slot: integer, guard: string, mapped_bytes: integer }[]

---@class mm.function: userdata an export; call it like a function, print it for its prototype
---@field name string
---@field prototype string
---@field doc? string
---@field image mm.image
---@operator call: any

---@class mm.pointer: userdata a pointer into an image: its fields and elements (from 0) are read and
--- written in place, within the bounds that are known; `#` tells how many elements there are; adding
--- a number goes so many elements further; it prints what it points to, and equals another with the
--- same address

---@class mm.buffer: mm.pointer bytes inside an image, for `void *` and pointers to `char` of any kind
---@field size integer
---@field get fun(self: mm.buffer, offset?: integer, count?: integer): string to the end without a count
---@field set fun(self: mm.buffer, offset: integer, bytes: string)
---@field fill fun(self: mm.buffer, byte: integer)
---@field free fun(self: mm.buffer) now; else when nothing points to it any more

---@class mm.image: userdata a mapped image; unmapped when it is collected, or closed (Lua 5.4)
---@field exports table<string, mm.function> all exports; an unknown name raises
---@field reset fun(self: mm.image): true?, mm.error? puts its memory back to the snapshot
---@field unmap fun(self: mm.image): true?, mm.error?
---@field callback fun(self: mm.image, prototype: string, f: function): mm.callback f as a C function
--- pointer of this image's, until it is freed or collected
---@field info fun(self: mm.image): mm.info?, mm.error?
---@field bind fun(self: mm.image, name: string, prototype?: string): mm.function raises unless the
--- prototype is the registered one
---@field call fun(self: mm.image, call: table): any `image:call { "name", arguments..., timeout = seconds }`
---@field batch fun(self: mm.image, name: string, calls: table): any[] one call for each element, a
--- list of arguments or the only one, with one opening of the guard; the results in a list
---@field open fun(self: mm.image, f: function): any runs f, and leaves what its calls open open
--- until it ends: protection is off meanwhile, and other threads wait
---@field buffer fun(self: mm.image, content: integer|string): mm.buffer so many bytes, zero, or those of
--- a string
---@field new fun(self: mm.image, type: string, content?: any): any an object of a C type, an
--- mm.pointer, from a table of fields, a list of elements, a string for `char`, or whatever fits the type
---@field cast fun(self: mm.image, type: string, pointer: mm.pointer): any the same address as an
--- object of another type ("int[10]"), or as another pointer type: an mm.pointer
---@field string fun(self: mm.image, pointer: mm.pointer, count?: integer): string so many bytes, or
--- those before the first NUL

---@class mm.callback a Lua function that an image can call; prints as its type
---@field free fun(self: mm.callback) to call it from now on is a fault of the image
---@alias mm.complex { re: number, im: number }

---@class mm.facts what an image's head says
---@field path string of the file
---@field slot integer its place in the arena
---@field base integer the first address of the slot
---@field version integer of the format
---@field server string the command that it was made from
---@field created integer seconds since the epoch
---@field page_bytes integer of the pages that it was made for
---@field head_bytes integer of the file, what is checked at each map
---@field file_bytes integer of all of it
---@field memory_bytes integer address space of its segments
---@field hooks integer functions that run at each map
---@field needs { kind: string, detail?: string }[] what a client has to grant
---@field cpu string[] features that its code was selected for
---@field cpu_missing string[] those that this CPU lacks
---@field segments mm.segment[] by address
---@field modules { low: integer, high: integer, bias: integer, path: string, build_id?: string }[] by address
---@field exports mm.export[] by name
---@field types mm.type[] which refer to each other by their place in this list
---@field stack { low: integer, high: integer } where it was
---@field heap { low: integer, high: integer } that of brk(2)
---@field mailbox { low: integer, high: integer } where arguments are put

---@class mm.segment
---@field low integer
---@field high integer
---@field offset integer in the file
---@field file_bytes integer
---@field protection string "r-x"
---@field kind "text"|"constants"|"data"|"jit"|"nothing"
---@field owner string the module's name, or "heap", "stack", "mailbox", "mapped"

---@class mm.export
---@field name string
---@field prototype string
---@field doc? string
---@field type integer
---@field address integer

---@class mm.type
---@field kind string "void", "bool", "signed", "unsigned", "float", "complex", "enum", "string",
--- "pointer", "array", "struct", "union" or "function"
---@field text string as C spells it
---@field name? string the spelling of a scalar, the tag of a struct, union or enum
---@field alias? string the typedef that it was reached by
---@field size integer
---@field align integer
---@field target? integer of a pointer, array, enum; the result of a function
---@field length? integer of an array
---@field packed? boolean has to be said of a struct or union, for its fields to lie where they do
---@field aligned? integer likewise, in bytes
---@field filling? integer likewise: bits without a name behind the last field
---@field unusual? boolean no declaration in C puts the fields there
---@field members? mm.member[]

---@class mm.member a field, a constant, or a parameter
---@field name? string
---@field type? integer
---@field value? integer a field's offset, a constant's value
---@field shift? integer from which bit of that byte a bit-field is
---@field width? integer how many bits wide
---@field aligned? integer has to be said of the field, in bytes
---@field filling? integer likewise: bits without a name before it
---@class mm.config
---@field images? integer mapped images at once (256)
---@field image_bytes? integer address space of the largest image (16 GiB)
---@field exports? integer exports per image (4096)
---@field signals? "defer"|"mask" how asynchronous signals are kept away from a call
---@field look? "often"|"always" when handlers are looked for that the client installed since
---@field interrupt? "deliver"|"error"|"wait" what SIGINT does to a call
---@field list? boolean false: not in the list that mm.clients() gives
---@field policy? string a policy file that has to allow what is mapped
---@field without? string|string[] "fsgsbase", "inclusive", "keys": do without what the machine has

---@class mm.options
---@field guard? "pages"|"open"|"keys"
---@field grant? string|table names in a list ("output", "sockets", "jit", "everything"), and folders
--- under `read` and `write`: { "output", read = "/usr/share", write = { "/tmp/a", "/tmp/b" } }
---@field memory? integer bytes of new memory beyond the snapshot (1 GiB)
---@field on_fault? "reset"|"dead"
---@field timeout? number seconds that a call may take
---@field verify? boolean check the digest of the whole file
---@field strict? boolean the client's code is not executable during a call
---@field sealed? boolean not readable at rest, and in no core dump
---@field stateless? boolean reset after every call

local mm = {}

---@type string
mm.version = core.version

---A null pointer, for parameters that are pointers or strings: nil is refused there.
---@type lightuserdata
mm.null = core.null

---Connects again after mm.finalize; with a table, changes the configuration.
---@type fun(config?: mm.config): true?, mm.error?
mm.init = core.init

---Unmaps this module's images and gives its connection back.
---@type fun(): true?, mm.error?
mm.finalize = core.finalize

---Locks the process down, for good: docs/guarantees.md.
---@type fun(): true?, mm.error?
mm.lockdown = core.lockdown

---Maps an image.
---@type fun(path: string, options?: mm.options): mm.image?, mm.error?
mm.request_map = core.request_map

---The same as mm.request_map.
---@type fun(path: string, options?: mm.options): mm.image?, mm.error?
mm.map = core.request_map

---Calls an export by its name; raises when the call fails.
---@type fun(image: mm.image, name: string, ...: any): any
mm.request_call = core.request_call

---The images that this process has mapped.
---@type fun(): mm.info[]?, mm.error?
mm.mapped = core.mapped

---All processes of this user that have the Matchmaker mapped, this one too. The list's field `lack`
---is the error that keeps this process from being seen by others, if there is one.
---@type fun(): mm.client[]?, mm.error?
mm.clients = core.clients

---`pairs` of a view of an image's memory: a struct's fields in their order, or an array's elements
---from 0. From Lua 5.2 on, `pairs` does it.
---@type fun(view: mm.pointer): function
mm.pairs = core.pairs

---All facts of an image, of its file (which is not mapped) or as it is mapped: segments, modules,
---types, exports, needs, CPU features.
---@param source string|mm.image
---@param whole? boolean check the digest of the whole file
---@return mm.facts?
---@return mm.error?
function mm.inspect(source, whole) return require("matchmaker.facts").of(source, whole) end

---Prints what an image, an export, a pointer, an error or the module is.
---@param value? any
function mm.help(value) print(require("matchmaker.help").text(value)) end

---Like `assert`, which in Lua 5.1 and 5.2 does not take error objects.
---@generic T
---@param value? T
---@param err? any
---@return T value
function mm.assert(value, err, ...)
  if not value then error(err == nil and "assertion failed!" or err, 0) end
  return value, err, ...
end

-- 64-bit integers of LuaJIT are cdata, which its C API does not know.
local has_ffi, ffi = pcall(require, "ffi")
if has_ffi and rawget(_G, "jit") then
  local signed, unsigned = ffi.typeof "int64_t", ffi.typeof "uint64_t"
  local signed_pointer, unsigned_pointer = ffi.typeof "int64_t *", ffi.typeof "uint64_t *"

  local function classify(value)
    return ffi.istype(signed, value) and 1 or ffi.istype(unsigned, value) and 2 or 0
  end

  local function box(address, is_unsigned)
    return ffi.cast(is_unsigned and unsigned_pointer or signed_pointer, address)[0]
  end

  core.use_cdata(classify, box)

  local types, views = {}, setmetatable({}, { __mode = "k" })

  ---What a view points to, as a pointer to const cdata, without a copy. It keeps the view alive, but
  ---what is taken from it does not; after a reset or an unmapping it points to nothing.
  ---@param view mm.pointer
  ---@return ffi.cdata*
  function mm.cdata(view)
    local text, address = core.layout(view)
    local ctype = types[text] or ffi.typeof(text)
    types[text] = ctype
    local seen = ffi.cast(ctype, address)
    views[seen] = view
    return seen
  end
  require "matchmaker.direct"
end

mm.assert(mm.init())

return mm
