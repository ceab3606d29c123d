-- What goes wrong in an image ends a call, and nothing else.
local mm = require "matchmaker"

local image = mm.assert(mm.map(arg[1] or "trouble.mmi"))
local exports = image.exports

local function try(call)
  local fine, err = pcall(image.call, image, call)
  assert(not fine and err.was_reset)
  print(("%s: %s %s"):format(call[1], err.kind, err.signal or err.exit_status or ""))
end

exports.count()
exports.count()
try { "crash" }
try { "divide", 1, 0 }
try { "give_up" }
try { "leave", 3 }
try { "deepen", 0 }
try { "wait", timeout = 0.1 }

-- Each of them put the image back to its snapshot.
print("count", exports.count())

-- It may not touch files, and whoever wants to know sees what it tried.
print("wipe", exports.wipe(arg[0]))
local refused = image:info().refused[1]
print("refused", refused.call, refused.count)
print("faults", image:info().faults)
