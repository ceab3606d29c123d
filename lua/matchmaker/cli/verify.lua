-- `matchmaker verify`: whether every byte of an image is as it was written.
local core = require "matchmaker.core"
local plain = require "matchmaker.plain"
local shell = require "matchmaker.cli.shell"

return {
  usage = "verify [--quiet] IMAGE...", words = 1, more = true, options = { quiet = true },
  summary = "Checks whole files: shape, registry, digests; nothing is mapped.",
  help = [[
  --quiet   say nothing of what is intact

What is damaged is named on standard error, with what is wrong and where. That an image is
intact does not mean that it can be mapped here: `matchmaker inspect` says what it wants.

examples:
  matchmaker verify hu.mmi
  matchmaker verify --quiet /srv/images/*.mmi && echo all well]],
  run = function(words, options)
    local status = shell.DONE
    for _, path in ipairs(words) do
      local found, err = core.inspect(path, true)
      if not found then status = shell.complain(shell.FAILED, err) end
      if found and not options.quiet then
        print(("%s: intact, %.0f bytes"):format(plain(path), found.file_bytes))
      end
    end
    return status
  end,
}
