-- Fills the tables of docs/reference.md that say what <matchmaker.h> says, between
-- `<!-- NAME -->` and `<!-- end -->`: `errors`, the table of errors, and `functions`, what the header declares.
-- With --check it only tells, by its exit status, whether they are as they should be.
--     luajit tools/reference.lua [--check]
local HEADER, PAGE = "csrc/include/matchmaker.h", "docs/reference.md"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

local ROW = 'ROW%((MM_ERROR_[%u_]+), (%-%d+), "([%l_]+)", "([^"]*)"%)'

local function errors(header)
  local lines = { "| kind | in C | code | |", "|---|---|---|---|" }
  for name, code, kind, text in header:gmatch(ROW) do
    lines[#lines + 1] = ("| `%s` | `%s` | %s | %s |"):format(kind, name, code, text)
  end
  return lines
end

local function first_sentence(comment)
  local text = comment:gsub("%s*\n%s*%*%s*", " "):gsub("^%s+", ""):gsub("%s+$", "")
  return text:match "^(.-%.)%s" or text
end

-- Functions that follow upon one comment share a row.
local function functions(header)
  local rows, place = {}, header:find("struct mm_callback;", 1, true)
  while true do
    local comment_at, comment_end, comment = header:find("/%*(.-)%*/", place)
    local at, last, name = header:find("\nMM_API [^;]-(mm_[%w_]+)%([^;]*;", place)
    if not at then break end
    if comment_at and comment_at < at then
      rows[#rows + 1] = { text = first_sentence(comment) }
      place = comment_end
    else
      table.insert(rows[#rows], "`" .. name .. "`")
      place = last
    end
  end
  local lines = { "| | |", "|---|---|" }
  for _, row in ipairs(rows) do
    if row[1] then
      lines[#lines + 1] = ("| %s | %s |"):format(table.concat(row, ", "), row.text)
    end
  end
  return lines
end

local function fill(page, name, lines)
  local first, last = "<!-- " .. name .. " -->\n", "<!-- end -->"
  local at = select(2, page:find(first, 1, true))
  local stop = at and page:find(last, at, true)
  if not stop then error(("%s has no place for `%s`"):format(PAGE, name), 0) end
  return page:sub(1, at) .. table.concat(lines, "\n") .. "\n" .. page:sub(stop)
end

local header, page = read(HEADER), read(PAGE)
local filled = fill(fill(page, "errors", errors(header)), "functions", functions(header))
if filled == page then os.exit(0) end
if arg[1] == "--check" then
  io.stderr:write(PAGE, " is not what ", HEADER, " says: luajit tools/reference.lua\n")
  os.exit(1)
end
local file = assert(io.open(PAGE, "w"))
file:write(filled)
file:close()
