-- `matchmaker inspect`: what an image is, for people or as JSON.
local declare = require "matchmaker.declare"
local dirty = require "matchmaker.dirty"
local facts = require "matchmaker.facts"
local json = require "matchmaker.json"
local plain = require "matchmaker.plain"
local rights = require "matchmaker.rights"
local shell = require "matchmaker.cli.shell"

local function line(out, name, text)
  out[#out + 1] = (("%-12s %s"):format(name, plain(text)):gsub(" +$", ""))
end

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
  line(out, "size", ("%s of address space, %s in the file"):format(facts.size(all.memory_bytes),
    facts.size(all.file_bytes)))
  line(out, "needs", needs_of(all))
  line(out, "CPU", cpu_of(all))
  if all.hooks > 0 then line(out, "hooks", ("%d that run at each map"):format(all.hooks)) end
end

local function put_segments(out, all)
  out[#out + 1] = ("\nsegments (%d)"):format(#all.segments)
  for _, segment in ipairs(all.segments) do
    out[#out + 1] = ("  %s %s %9s  %-9s %s"):format(range(segment), segment.protection,
      facts.size(segment.high - segment.low), segment.kind, plain(segment.owner))
  end
end

local function put_modules(out, all)
  out[#out + 1] = ("\nmodules (%d)"):format(#all.modules)
  for _, module in ipairs(all.modules) do
    out[#out + 1] = ("  %s %s"):format(range(module), plain(module.path or "?"))
    if module.build_id then out[#out + 1] = ("  %31s build id %s"):format("", module.build_id) end
  end
end

local function put_rights(out, all)
  out[#out + 1] = ("\nbytes that change key rights (%d)"):format(#all.rights)
  for _, place in ipairs(all.rights) do
    out[#out + 1] = ("  0x%x %s %s"):format(place.address, place.instruction, plain(place.owner))
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

-- `spell "kutya"`, `add 1, 2` and `add(1, 2)` as a function of the exports.
local function compile(text, exports)
  local name, arguments = text:match("^%s*([%a_][%w_]*)%s*(.-)%s*$")
  if not name then
    return nil, ("--call wants an export and its arguments, not `%s`"):format(text)
  end
  if not arguments:find("^%b()$") then arguments = "(" .. arguments .. ")" end
  local source = "local exports = ... return exports." .. name .. arguments
  local chunk, why = (loadstring or load)(source, "=--call")
  if not chunk then return nil, "--call: " .. why end
  return function() return chunk(exports) end
end

-- The pages that one call changes in an image that was just mapped.
local function changes(path, options)
  local image, why, status = shell.map(path, options)
  if not image then return nil, why, status end
  local f, misused = compile(options.call, image.exports)
  if not f then return nil, misused, shell.MISUSED end
  local base = facts.of(image).base
  local fine, list = pcall(dirty.by, base, base + 2 ^ 36, f)
  if not fine then return nil, list, shell.FAILED end
  return list
end

local function draw(all, options)
  local changed, why, status
  if options.call then
    changed, why, status = changes(all.path, options)
    if not changed then return shell.complain(status, why) end
  end
  print((require "matchmaker.svg"(all, options.call, changed):gsub("\n$", "")))
  return shell.DONE
end

return {
  usage = "inspect [--json | --names | --svg [--call CALL [--grant NAME]...]] IMAGE", words = 1,
  options = { json = true, names = true, svg = true, call = "a call", grant = { "a name" } },
  summary = "Says what an image is, without mapping it: also one that this CPU cannot run.",
  help = [[
  --json         everything, as one object; types refer to each other by place, from 1
  --names        only the names of the exports
  --svg          a drawing: modules, segments, their sizes and kinds
  --call CALL    map the image, make this call, and mark the pages that it changed
  --grant NAME   what the image may do with the outside world in that call

Shows size and place, what it needs of a client and of a CPU, segments, modules with their
build ids, bytes that would open protection keys, types, and exports with their docs.

examples:
  matchmaker inspect hu.mmi
  matchmaker inspect --json hu.mmi | jq '.exports[].prototype'
  matchmaker inspect --svg --call 'spell "kutya"' hu.mmi >hu.svg]],
  run = function(words, options)
    local all, err = facts.of(words[1])
    if not all then return shell.complain(shell.FAILED, err) end
    if options.call and not options.svg then
      return shell.complain(shell.MISUSED, "--call goes with --svg")
    end
    if options.svg then return draw(all, options) end
    if options.names then
      for _, export in ipairs(all.exports) do print(export.name) end
      return shell.DONE
    end
    local unreadable
    all.rights, unreadable = rights(all)
    if not all.rights then return shell.complain(shell.FAILED, unreadable) end
    if options.json then print(json.encode(all)) return shell.DONE end
    local out = {}
    put_summary(out, all)
    put_segments(out, all)
    put_modules(out, all)
    put_rights(out, all)
    put_types(out, all)
    put_exports(out, all)
    print(table.concat(out, "\n"))
    return shell.DONE
  end,
}
