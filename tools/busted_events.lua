-- An output handler for busted that tools/check.lua reads: `busted -o tools/busted_events.lua
-- -Xoutput FILE`. One line for each event, written before what it announces happens, so that the
-- last line tells what a process was doing when it died:
--   file PATH | test PATH:LINE NAME | passed | pending | failed NAME, then `|` and its message | end
local busted = require "busted"

return function(options)
  local handler = require "busted.outputHandlers.base"()
  local events = assert(io.open(options.arguments[1], "a"))

  local function write(...)
    events:write(table.concat({ ... }, " "):gsub("\n", " "), "\n")
    events:flush()
  end

  local function where(element)
    local trace = element.trace or {}
    return ("%s:%s"):format(trace.short_src or "?", trace.currentline or "?")
  end

  local function failed(element, _, message)
    if type(message) ~= "string" then message = require "pl.pretty".write(message) or "nil" end
    if element.descriptor == "file" then
      write("file", element.name)
      write("failed", element.name, "(loading the file)")
    else
      write("failed", where(element), handler.getFullName(element))
    end
    for line in (message .. "\n"):gmatch("(.-)\n") do write("|", line) end
    return nil, true
  end

  busted.subscribe({ "file", "start" }, function(file)
    write("file", file.name)
    return nil, true
  end)
  busted.subscribe({ "test", "start" }, function(element)
    write("test", where(element), handler.getFullName(element))
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function(_, _, status)
    if status == "success" then write("passed") end
    if status == "pending" then write("pending") end
    return nil, true
  end)
  busted.subscribe({ "failure" }, failed)
  busted.subscribe({ "error" }, failed)
  busted.subscribe({ "suite", "end" }, function()
    write("end")
    return nil, true
  end)
  return handler
end
