-- Durations of very different size as bars on one logarithmic axis, written as SVG.
local measure = require "bench.measure"

local WIDTH, LABELS, RIGHT, ROW, HEAD = 960, 330, 90, 22, 40
local FONT = 'font-family="sans-serif"'
local INK, FAINT, LINE, OTHER, OURS = "#1f2933", "#52606d", "#d9e2ec", "#9fb3c8", "#2f6fde"

local function escape(text)
  return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

local function log10(x) return math.log(x) / math.log(10) end

-- sections: { { title =, rows = { { name =, ns =, ours = } } } }
return function(title, sections)
  local low, high, rows = math.huge, 0, 0
  for _, section in ipairs(sections) do
    for _, row in ipairs(section.rows) do
      low, high, rows = math.min(low, row.ns), math.max(high, row.ns), rows + 1
    end
  end
  local first, last = math.floor(log10(low)), math.ceil(log10(high))
  if first == last then last = first + 1 end
  local top, height = 64, 64 + rows * ROW + #sections * HEAD + 16
  local function x(ns)
    return LABELS + (log10(ns) - first) / (last - first) * (WIDTH - LABELS - RIGHT)
  end

  local out = {}
  local function add(format, ...) out[#out + 1] = format:format(...) end
  add('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">',
    WIDTH, height, WIDTH, height)
  add('<rect width="100%%" height="100%%" fill="#ffffff"/>')
  add('<text x="16" y="26" %s font-size="16" font-weight="bold" fill="%s">%s</text>', FONT, INK,
    escape(title))
  for power = first, last do
    local at = x(10 ^ power)
    add('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>', at, top - 8, at, height - 12,
      LINE)
    add('<text x="%.1f" y="%d" %s font-size="11" text-anchor="middle" fill="%s">%s</text>', at,
      top - 13, FONT, FAINT, measure.text(10 ^ power * (1 + 1e-9)))
  end
  local y = top
  for _, section in ipairs(sections) do
    add('<text x="16" y="%d" %s font-size="13" font-weight="bold" fill="%s">%s</text>', y + 24,
      FONT, INK, escape(section.title))
    y = y + HEAD
    for _, row in ipairs(section.rows) do
      local zero = x(10 ^ first)
      local length = math.max(2, x(row.ns) - zero)
      add('<text x="%d" y="%d" %s font-size="12" text-anchor="end" fill="%s">%s</text>', LABELS - 8,
        y + 12, FONT, row.ours and INK or FAINT, escape(row.name))
      add('<rect x="%.1f" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/>', zero, y, length,
        ROW - 6, row.ours and OURS or OTHER)
      add('<text x="%.1f" y="%d" %s font-size="12" fill="%s">%s</text>', zero + length + 6, y + 12,
        FONT, INK, measure.text(row.ns))
      y = y + ROW
    end
  end
  add "</svg>"
  return table.concat(out, "\n") .. "\n"
end
