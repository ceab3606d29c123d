-- A policy file takes away: exports, grants, limits.
local mm = require "matchmaker"

local function tell(fine, err)
  print(fine and "allowed" or err.kind .. ": " .. tostring(err):gsub("/%S*/", ""))
end

mm.assert(mm.init { policy = (arg[0]:match "^(.*/)" or "./") .. "policy.yaml" })
local path = arg[1] or "counter.mmi"

-- More than the policy lets a client grant is refused when the image is mapped.
tell(mm.map(path, { grant = "everything" }))
tell(mm.map(path, { memory = 2 ^ 30 }))

local image = mm.assert(mm.map(path, { grant = "output" }))
tell(pcall(image.exports.counter_next))
tell(pcall(image.exports.counter_set, 7))
io.stdout:flush()
print(image.exports.print())
