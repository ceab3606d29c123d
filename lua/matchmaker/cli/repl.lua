-- `matchmaker repl`: a session with images.
local shell = require "matchmaker.cli.shell"

return {
  usage = "repl [--grant NAME]... [--guard NAME] [--timeout SECONDS] [IMAGE...]",
  words = 0, more = true,
  options = { timeout = "seconds", grant = { "a name" }, guard = "pages, keys or open" },
  summary = "A session: calls exports, explores images, with completion and history.",
  help = [[
  --grant NAME       what the images may do with the outside world, like `output`
  --guard NAME       `pages`, `keys` or `open`
  --timeout SECONDS  end a call that takes longer

Each image is a variable with its file's name. Lines are Lua; an expression shows its
value. `?X` explains X, `:help` lists commands, Tab completes, Ctrl-C ends what runs. From
a pipe there are no prompts, and the first error ends the session with status 1.

examples:
  matchmaker repl hu.mmi
  echo 'hu.exports.spell("kutya")' | matchmaker repl hu.mmi]],
  run = function(words, options)
    local settings, misused = shell.map_options(options)
    if not settings then return shell.complain(shell.MISUSED, misused) end
    local status, err, misuse = require "matchmaker.repl"(words, settings)
    return status or shell.complain(misuse and shell.MISUSED or shell.FAILED, err)
  end,
}
