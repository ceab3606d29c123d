-- Calls an export until its guard has learned what it needs, then once more, behind a line that says
-- so: run with MM_TRACE=guard.
--
--     one_call.lua IMAGE EXPORT [ARG...]
local mm = require "matchmaker"
local image = mm.assert(mm.map(arg[1], { guard = "pages" }))
local arguments = {}
for i = 3, #arg do arguments[i - 2] = tonumber(arg[i]) or arg[i] end
local function call() return image:call { arg[2], (table.unpack or unpack)(arguments) } end
for _ = 1, 200 do call() end
io.stderr:write "once more\n"
call()
io.stderr:write "done\n"
