-- `matchmaker ps`: which processes of this user have which images mapped.
local json = require "matchmaker.json"
local plain = require "matchmaker.plain"
local shell = require "matchmaker.cli.shell"

local function print_clients(list)
  print(("%7s  %-19s  %s"):format("PID", "SINCE", "COMMAND"))
  for _, client in ipairs(list) do
    print(("%7.0f  %s  %s%s"):format(client.pid, os.date("%Y-%m-%d %H:%M:%S", client.started),
      plain(client.command), client.is_foreign and " (in another pid namespace)" or ""))
    for _, image in ipairs(client.images) do
      print(("%9sslot %-3.0f  %-5s  %7.1f MiB  %s"):format("", image.slot, image.guard,
        image.mapped_bytes / 2 ^ 20, plain(image.path)))
    end
  end
end

return {
  usage = "ps [--json]", words = 0, options = { json = true },
  summary = "Says which processes of this user have which images mapped.",
  help = [[
  --json   a list of objects

A process is listed from its connecting to its end. The list lies in $XDG_RUNTIME_DIR;
`matchmaker doctor` tells when there is none.

examples:
  matchmaker ps
  matchmaker ps --json | jq '.[].images[].path']],
  run = function(_, options)
    local matchmaker, why = shell.connect()
    if not matchmaker then return shell.complain(shell.FAILED, why) end
    local list, err = matchmaker.clients()
    if not list then return shell.complain(shell.FAILED, err) end
    local others = {}
    for _, client in ipairs(list) do
      if not client.is_self then others[#others + 1] = client end
    end
    table.sort(others, function(a, b) return a.pid < b.pid end)
    if options.json then print(json.encode(others)) else print_clients(others) end
    return shell.DONE
  end,
}
