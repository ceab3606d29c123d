-- An image as a drawing: a row for each module and area, in it the segments at their places, and the
-- pages that a call changed.
local facts = require "matchmaker.facts"
local plain = require "matchmaker.plain"

local WIDTH, LEFT, RIGHT, ROW, BAR = 960, 210, 210, 42, 22
local SPAN = WIDTH - LEFT - RIGHT

local COLORS = { text = "#4c78a8", constants = "#a9bcd0", data = "#72b27c", jit = "#b279a2",
                 nothing = "#e0e0e0" }
local KINDS = { "text", "constants", "data", "jit", "nothing" }
local CHANGED = "#d62f2f"

local STYLE = [[
  text { font: 12px sans-serif; fill: #222 }
  .title { font-size: 18px; font-weight: bold }
  .small { font-size: 11px; fill: #666 }
  .size { font-size: 11px; text-anchor: end; fill: #444 }
]]

local function escape(text)
  return (plain(text):gsub("[<>&\"]", { ["<"] = "&lt;", [">"] = "&gt;", ["&"] = "&amp;",
    ['"'] = "&quot;" }))
end

local function short(text, limit)
  return #text <= limit and text or text:sub(1, limit - 3) .. "..."
end

-- Neighbours of one owner make a row.
local function rows_of(all)
  local rows = {}
  for _, segment in ipairs(all.segments) do
    local row = rows[#rows]
    if not row or row.owner ~= segment.owner then
      row = { owner = segment.owner, low = segment.low, segments = {}, bytes = 0, changed = {} }
      rows[#rows + 1] = row
    end
    row.segments[#row.segments + 1] = segment
    row.high = segment.high
    row.bytes = row.bytes + segment.high - segment.low
  end
  return rows
end

-- Segments share a row by the root of their sizes: a page still is to be seen beside a gigabyte.
local function lay(row)
  local total, at = 0, LEFT
  for _, segment in ipairs(row.segments) do
    total = total + math.sqrt(segment.high - segment.low)
  end
  for _, segment in ipairs(row.segments) do
    segment.x = at
    segment.width = math.sqrt(segment.high - segment.low) / total * row.width
    at = at + segment.width
  end
end

local function place(rows, changed)
  local largest = 0
  for _, row in ipairs(rows) do largest = math.max(largest, math.sqrt(row.bytes)) end
  for _, row in ipairs(rows) do
    row.width = math.max(24, math.sqrt(row.bytes) / largest * SPAN)
    lay(row)
  end
  for _, page in ipairs(changed or {}) do
    for _, row in ipairs(rows) do
      if page >= row.low and page < row.high then row.changed[#row.changed + 1] = page end
    end
  end
end

local function put_segment(put, segment, y)
  put('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" stroke="#fff" ' ..
    'stroke-width="0.8"><title>0x%x-0x%x %s, %s, %s</title></rect>', segment.x, y, segment.width,
    BAR, COLORS[segment.kind], segment.low, segment.high, segment.protection, segment.kind,
    facts.size(segment.high - segment.low))
  if segment.width > 62 then
    put('<text x="%.1f" y="%d" style="fill:#fff;font-size:11px">%s</text>', segment.x + 5, y + 15,
      facts.size(segment.high - segment.low))
  end
end

-- A tick for each changed page, over its place in its segment.
local function put_changes(put, row, y)
  for _, page in ipairs(row.changed) do
    for _, segment in ipairs(row.segments) do
      if page >= segment.low and page < segment.high then
        local x = segment.x + (page - segment.low) / (segment.high - segment.low) * segment.width
        put('<rect x="%.1f" y="%d" width="2.5" height="%d" fill="%s"><title>0x%x</title></rect>',
          math.min(x, segment.x + segment.width - 2.5), y - 4, BAR + 8, CHANGED, page)
      end
    end
  end
  if #row.changed > 0 then
    put('<text class="small" x="%.1f" y="%d" style="fill:%s">%d page%s changed</text>',
      LEFT + row.width + 10, y + 15, CHANGED, #row.changed, #row.changed == 1 and "" or "s")
  end
end

local function put_row(put, row, y)
  put('<text x="24" y="%d">%s</text>', y + 10, escape(short(row.owner, 27)))
  put('<text class="small" x="24" y="%d">0x%x</text>', y + 24, row.low)
  for _, segment in ipairs(row.segments) do put_segment(put, segment, y) end
  put_changes(put, row, y)
  put('<text class="size" x="%d" y="%d">%s</text>', WIDTH - 24, y + 15, facts.size(row.bytes))
end

local function put_legend(put, all, y, call)
  local x, used = LEFT, {}
  for _, segment in ipairs(all.segments) do used[segment.kind] = true end
  local function entry(color, text)
    put('<rect x="%d" y="%d" width="12" height="12" fill="%s"/>', x, y - 10, color)
    put('<text class="small" x="%d" y="%d">%s</text>', x + 17, y, text)
    x = x + 24 + 7 * #text
  end
  for _, kind in ipairs(KINDS) do
    if used[kind] then entry(COLORS[kind], kind) end
  end
  if call then entry(CHANGED, "changed by the call") end
end

local function put_title(put, all, call, changed)
  put('<text class="title" x="24" y="36">%s</text>', escape(facts.name_of(all.path)))
  put('<text x="24" y="56">%s of address space, %s in the file; %d segments, %d modules, ' ..
    "%d exports; slot %d</text>", facts.size(all.memory_bytes), facts.size(all.file_bytes),
    #all.segments, #all.modules, #all.exports, all.slot)
  if call then
    put('<text x="24" y="76">%s changes <tspan style="fill:%s;font-weight:bold">%d page%s' ..
      "</tspan>, %s</text>", escape(short(call, 90)), CHANGED, #changed,
      #changed == 1 and "" or "s", facts.size(#changed * 4096))
  end
end

---@param all mm.facts
---@param call? string the call, as it was written
---@param changed? integer[] the pages that it changed
---@return string
return function(all, call, changed)
  local out, rows, top = {}, rows_of(all), call and 104 or 84
  local function put(format, ...) out[#out + 1] = format:format(...) end
  place(rows, changed)
  local height = top + #rows * ROW + 44
  put('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">', WIDTH,
    height, WIDTH, height)
  put("<style>\n%s</style>", STYLE)
  put('<rect width="%d" height="%d" fill="#fff"/>', WIDTH, height)
  put_title(put, all, call, changed)
  for i, row in ipairs(rows) do put_row(put, row, top + (i - 1) * ROW) end
  put_legend(put, all, height - 22, call)
  put("</svg>")
  return table.concat(out, "\n") .. "\n"
end
