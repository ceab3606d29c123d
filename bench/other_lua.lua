-- One call of add in a Lua without an FFI of its own, for bench.lua: prints nanoseconds.
--
--     other_lua.lua BUILD image|function
local measure = require "bench.measure"
local build, what = arg[1], arg[2]
if what == "image" then
  local mm = require "matchmaker"
  local image = mm.assert(mm.map(build .. "/image/math.mmi", { guard = "open" }))
  print(measure.call(image.exports.add, "i % 1000, 1"))
else
  package.cpath = build .. "/bench/?.so;" .. package.cpath
  print(measure.call(require "add".add, "i % 1000, 1"))
end
