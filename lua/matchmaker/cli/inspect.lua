-- `matchmaker inspect`: what an image is, for people or as JSON.
local declare = require "matchmaker.declare"
local facts = require "matchmaker.facts"
local json = require "matchmaker.json"
local shell = require "matchmaker.cli.shell"

local function line(out, ...) out[#out + 1] = (("%-12s %s"):format(...):gsub(" +$", "")) end

local function range(part) return ("0x%x-0x%x"):format(part.low, part.high) end

local function needs_of(all)
  local list = {}
  for _, need in ipairs(all.needs) do
    list[#list + 1] = need.kind .. (need.detail and " (" .. need.detail .. ")" or "")
  end
  return #list > 0 and table.concat(list, ", ") or "nothing"
end

local function cpu_of(all)
  if #all.cpu_missing == 0 then return ("%d features, all here"):format(#all.cpu) end
  return ("%d features, not here: %s"):format(#all.cpu, table.concat(all.cpu_missing, ", "))
end

local function put_summary(out, all)
  line(out, "image", all.path)
  line(out, "made", ("%s from %s"):format(os.date("%Y-%m-%d %H:%M", all.created), all.server))
  line(out, "slot", ("%d at 0x%x"):format(all.slot, all.base))
  line(out, "size", ("%s in memory, %s in the file"):format(facts.size(all.memory_bytes),
    facts.size(all.file_bytes)))
  line(out, "needs", needs_of(all))
  line(out, "CPU", cpu_of(all))
  if all.hooks > 0 then line(out, "hooks", ("%d that run at each map"):format(all.hooks)) end
end

local function put_segments(out, all)
  out[#out + 1] = ("\nsegments (%d)"):format(#all.segments)
  for _, segment in ipairs(all.segments) do
    out[#out + 1] = ("  %s %s %9s  %-9s %s"):format(range(segment), segment.protection,
      facts.size(segment.high - segment.low), segment.kind, segment.owner)
  end
end

local function put_modules(out, all)
  out[#out + 1] = ("\nmodules (%d)"):format(#all.modules)
  for _, module in ipairs(all.modules) do
    out[#out + 1] = ("  %s %s"):format(range(module), module.path or "?")
    if module.build_id then out[#out + 1] = ("  %31s build id %s"):format("", module.build_id) end
  end
end

local function put_types(out, all)
  local list = declare.types(all)
  if #list == 0 then return end
  out[#out + 1] = ("\ntypes (%d)"):format(#list)
  for _, text in ipairs(list) do out[#out + 1] = "  " .. text:gsub("\n", "\n  ") end
end

local function put_exports(out, all)
  out[#out + 1] = ("\nexports (%d)"):format(#all.exports)
  for _, export in ipairs(all.exports) do
    out[#out + 1] = "  " .. export.prototype
    if export.doc then out[#out + 1] = "      " .. export.doc:gsub("\n", "\n      ") end
  end
end

return {
  usage = "inspect [--json] IMAGE", words = 1, options = { json = true },
  summary = "Says what an image is, without mapping it: also one that this CPU cannot run.",
  help = [[
  --json   everything, as one object; types refer to each other by place, from 1

Shows size and place, what it needs of a client and of a CPU, segments, modules with their
build ids, types, and exports with their docs.

examples:
  matchmaker inspect hu.mmi
  matchmaker inspect --json hu.mmi | jq '.exports[].prototype']],
  run = function(words, options)
    local all, err = facts.of(words[1])
    if not all then return shell.complain(shell.FAILED, err) end
    if options.json then print(json.encode(all)) return shell.DONE end
    local out = {}
    put_summary(out, all)
    put_segments(out, all)
    put_modules(out, all)
    put_types(out, all)
    put_exports(out, all)
    print(table.concat(out, "\n"))
    return shell.DONE
  end,
}
