-- A callback that yields, tried at every level that this machine has, as unit/attack.h has it for C. Without the
-- gate's refusal the coroutine would be resumed with the image in the middle of a call.
local mm = require "matchmaker"

local LEVELS = {
  { "none", { guard = "open" } }, { "pages", { guard = "pages" } }, { "keys", { guard = "keys" } },
  { "strict", { guard = "pages", strict = true } },
  { "lockdown", { guard = "pages" }, true }, { "keys and lockdown", { guard = "keys" }, true },
}

local function is_contained(exports)
  local thread = coroutine.create(function()
    return exports.apply(function(x) return coroutine.yield(x) end, 5)
  end)
  local fine, err = coroutine.resume(thread)
  return not fine and err.kind == "callback" and tostring(err):find "yield" and err.was_reset and
    coroutine.status(thread) == "dead" and exports.apply(function(x) return x end, 5) == 6
end

local failed = false
for _, level in ipairs(LEVELS) do
  local name, options, lockdown = level[1], level[2], level[3]
  if lockdown then mm.assert(mm.lockdown()) end -- the last ones: it is for good
  local image, why = mm.map(arg[1] .. "/image/callback.mmi", options)
  if image then
    local right = is_contained(image.exports)
    failed = failed or not right
    print(("%s attack a callback that yields, %s: contained"):format(right and "ok" or "not ok",
      name))
    image:unmap()
  elseif why.kind ~= "unsupported" then
    error(why)
  end
end
os.exit(failed and 1 or 0)
