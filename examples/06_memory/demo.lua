-- Buffers, arrays and structs in an image's memory: made, read and written in place, within bounds.
local mm = require "matchmaker"

local image = mm.assert(mm.map(arg[1] or "measure.mmi"))
local exports = image.exports

local text = image:buffer "the cat sat on the mat"
local counts = image:new "unsigned[256]"
exports.histogram(text, #text, counts)
print("t", counts[("t"):byte()], "z", counts[("z"):byte()])

-- A struct that points to an array. The array lives as long as something in Lua holds it.
local values = image:new("double[4]", { 2.5, -1.25, 8, 0 })
local cloud = image:new("struct cloud", { count = #values, values = values })
local extent = exports.measure(cloud)
print(("%g to %g"):format(extent.low, extent.high))
assert(extent == exports.measure(cloud))

-- Nested structs are views of the same memory; so is what the image returned.
values[0] = -7
exports.measure(cloud)
print(("%g %g"):format(cloud.extent.low, extent.low))

-- Bounds and types are checked, and a pointer from before a reset says that it is one.
print(pcall(function() values[4] = 1 end))
print(pcall(function() cloud.count = -1 end))
mm.assert(image:reset())
print(pcall(function() return cloud.count end))
